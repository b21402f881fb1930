"""The script in Redis against its specification: any order of calls, and Redis emptied at any time.

Nothing is rolled up here, so PostgreSQL's sum is 0: what is counted is what was settled since Redis
was emptied last.
"""

from __future__ import annotations

import uuid

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.costs import reserving
from shared.costs.aggregation import Period
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.reserving import Refused, Reservation, count_spent, go_on, reserve, settle
from shared.database import TenantId, tenant_session
from shared.redis_client import budget_sums_key

MODEL = "buyer@1"
NANOS = st.integers(0, 60)
ANY = st.integers(0, 99)


class Worker(RuleBasedStateMachine):
    """Reserves and settles for one function, under a hard stop of its own."""

    def __init__(self, tenant: TenantId, client: redis.Redis) -> None:
        super().__init__()
        self.tenant, self.client = tenant, client
        self.function = f"f-{uuid.uuid4()}"
        self.limit = self.spent = 0
        self.open: list[Reservation] = []
        self.held: dict[str, int] = {}

    @initialize(limit=st.integers(1, 200))
    def limited(self, limit: int) -> None:
        self.limit = limit
        budget = Budget(Period.DAY, limit, Scope.FUNCTION, self.function, hard_stop=True)
        with tenant_session(self.tenant) as session:
            set_budget(session, budget)
        reserving._limits.forget()

    def answered(self, answer: Reservation | Refused, estimate: int) -> None:
        used = self.spent + sum(self.held.values())
        if used < self.limit and used + estimate <= self.limit:
            assert isinstance(answer, Reservation)
            self.open.append(answer)
            self.held[answer.id] = estimate
        else:
            assert isinstance(answer, Refused)
            assert answer.spent_nanos == self.spent
            assert answer.reserved_nanos == sum(self.held.values())

    @rule(estimate=NANOS)
    def reserves(self, estimate: int) -> None:
        self.answered(reserve(self.tenant, MODEL, self.function, estimate), estimate)

    @precondition(lambda self: self.open)
    @rule(which=ANY, actual=NANOS | st.none())
    def settles(self, which: int, actual: int | None) -> None:
        one = self.open.pop(which % len(self.open))
        settle(one, actual)
        self.held.pop(one.id, None)
        self.spent += one.estimate_nanos if actual is None else actual

    @precondition(lambda self: self.open)
    @rule(which=ANY, actual=NANOS | st.none(), estimate=NANOS)
    def goes_on(self, which: int, actual: int | None, estimate: int) -> None:
        one = self.open.pop(which % len(self.open))
        answer = go_on(one, actual, estimate)
        self.held.pop(one.id, None)
        self.spent += one.estimate_nanos if actual is None else actual
        self.answered(answer, estimate)

    @rule(nanos=NANOS)
    def counts(self, nanos: int) -> None:
        count_spent(self.tenant, MODEL, self.function, nanos)
        self.spent += nanos

    @rule()
    def redis_is_emptied(self) -> None:
        self.client.flushall()
        self.spent, self.held = 0, {}

    @invariant()
    def redis_counts_what_is_true(self) -> None:
        keys = list(self.client.scan_iter(f"*:function:{self.function}:sums"))
        if not keys:
            assert (self.spent, self.held) == (0, {})
            return
        day = str(keys[0]).split(":")[4]
        assert keys == [budget_sums_key(self.tenant, f"day:{day}:function:{self.function}")]
        sums = self.client.hgetall(keys[0])
        assert int(sums.get("spent", 0)) == self.spent  # type: ignore[union-attr]
        assert int(sums.get("reserved", 0)) == sum(self.held.values())  # type: ignore[union-attr]
        leases = self.client.zrange(str(keys[0]).removesuffix("sums") + "leases", 0, -1)
        assert set(leases) == set(self.held)  # type: ignore[arg-type]


def test_any_order_of_calls_is_counted_as_specified(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    run_state_machine_as_test(
        lambda: Worker(tenant, clean_redis),
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None),
    )
