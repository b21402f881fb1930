"""A hard stop holds for all workers together, on a real Redis and a real PostgreSQL."""

from __future__ import annotations

import logging
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from shared.costs import reserving
from shared.costs.aggregation import Period
from shared.costs.allowances import Allowance, Cost
from shared.costs.budgeting import remove_budget, set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.reserving import (
    Refused,
    Reservation,
    count_spent,
    go_on,
    hard_stops,
    reserve,
    settle,
)
from shared.database import TenantId, tenant_session
from shared.redis_client import budget_leases_key, budget_sums_key, redis_client

MODEL, FUNCTION = "buyer@1", "checkout"
LIMIT = 1_000
Spend = Callable[..., None]


@pytest.fixture(autouse=True)
def _knows_nothing(clean_redis: redis.Redis) -> Iterator[None]:
    """What one test's process has learned is not the next one's."""
    reserving._limits.forget()
    yield
    reserving._redis._away_until = 0.0


@pytest.fixture
def limit(tenant: TenantId) -> Callable[..., Budget]:
    def put(nanos: int = LIMIT, period: Period = Period.DAY, **fields: object) -> Budget:
        made = Budget(period, nanos, **{"hard_stop": True} | fields)  # type: ignore[arg-type]
        with tenant_session(tenant) as session:
            set_budget(session, made)
        reserving._limits.forget()
        return made

    return put


def ask(tenant: TenantId, estimate: int, **fields: object) -> Reservation | Refused:
    return reserve(tenant, MODEL, FUNCTION, estimate, **fields)  # type: ignore[arg-type]


def given(tenant: TenantId, estimate: int, **fields: object) -> Reservation:
    answer = ask(tenant, estimate, **fields)
    assert isinstance(answer, Reservation), answer.reason
    return answer


def refused(answer: Reservation | Refused) -> tuple[int, int]:
    """What was spent and what was reserved."""
    assert isinstance(answer, Refused)
    return answer.spent_nanos, answer.reserved_nanos


def lease_ends(reservation: Reservation) -> None:
    """As if its time had passed."""
    for hold in reservation.holds:
        key = budget_leases_key(reservation.tenant_id, hold.key)
        redis_client().zadd(key, {reservation.id: 0}, xx=True)


def sums_are_old(reservation: Reservation) -> None:
    """As if PostgreSQL's had been looked up long ago."""
    for hold in reservation.holds:
        redis_client().hset(budget_sums_key(reservation.tenant_id, hold.key), "at", "0")


def test_what_is_reserved_is_gone_until_it_is_settled(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    first = given(tenant, 600)
    assert refused(ask(tenant, 500)) == (0, 600)
    settle(first, 100)
    second = given(tenant, 900)
    assert refused(ask(tenant, 0)) == (100, 900)
    settle(second, 800)
    assert refused(ask(tenant, 101)) == (900, 0)
    given(tenant, 100)


def test_a_refusal_names_the_budget_in_one_line(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    made = limit(2_500_000_000, scope=Scope.MODEL, name=MODEL)
    settle(given(tenant, 0), 2_400_000_000)
    given(tenant, 50_000_000)
    answer = ask(tenant, 100_000_000)
    assert isinstance(answer, Refused)
    assert (answer.budget, answer.limit_nanos) == (made, 2_500_000_000)
    today = datetime.now(UTC).date()
    assert answer.reason == (
        "the budget of $2.50 a day for model buyer@1 has no room for $0.10 more: $2.40 spent and"
        f" $0.05 reserved since {today}"
    )
    settle(given(tenant, 0), 50_000_000)
    answer = ask(tenant, 0)
    assert isinstance(answer, Refused)
    assert "for model buyer@1 is used up: $2.45 spent and $0.05 reserved since" in answer.reason


def test_a_call_is_let_in_by_every_budget_that_covers_it_or_by_none(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit(scope=Scope.FUNCTION, name=FUNCTION)
    limit(200, Period.MONTH, scope=Scope.MODEL, name=MODEL)
    limit(5, scope=Scope.MODEL, name="other@1")
    assert len(hard_stops(tenant, MODEL, FUNCTION)) == 2
    assert refused(ask(tenant, 300)) == (0, 0)
    # The refused call holds nothing of the budget that would have let it in.
    other = reserve(tenant, "third@1", FUNCTION, LIMIT)
    assert isinstance(other, Reservation)


def test_without_a_hard_stop_nothing_is_asked_of_redis(
    tenant: TenantId, limit: Callable[..., Budget], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(hard_stop=False)
    limit(scope=Scope.MODEL, name="other@1")
    monkeypatch.setattr(reserving, "redis_client", None)
    answer = given(tenant, 10**9)
    assert answer.holds == ()
    following = go_on(answer, 10**9, 5)
    assert isinstance(following, Reservation)
    settle(following, None)


def test_a_hard_stop_that_is_removed_stops_nobody(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    settle(given(tenant, 0), LIMIT)
    refused(ask(tenant, 0))
    with tenant_session(tenant) as session:
        remove_budget(session, Scope.TENANT, "", Period.DAY)
    reserving._limits.forget()
    given(tenant, 0)


def test_an_unknown_actual_cost_is_the_estimate(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    settle(given(tenant, 700), None)
    assert refused(ask(tenant, 301)) == (700, 0)


def test_going_on_settles_and_reserves_at_once(
    tenant: TenantId, limit: Callable[..., Budget], clean_redis: redis.Redis
) -> None:
    limit()
    held = given(tenant, 300)
    before = clean_redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    following = go_on(held, 250, 700)
    assert clean_redis.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    assert isinstance(following, Reservation)
    assert refused(ask(tenant, 51)) == (250, 700)
    # What is refused has been settled, and holds nothing.
    assert refused(go_on(following, 700, 100)) == (950, 0)
    given(tenant, 50)


def test_the_reservation_of_a_dead_holder_is_free_when_its_lease_ends(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    dead = given(tenant, LIMIT)
    refused(ask(tenant, 1))
    lease_ends(dead)
    alive = given(tenant, 400)
    # It was only slow: what it has cost is counted all the same, and frees nobody else's.
    settle(dead, 700)
    assert refused(ask(tenant, 0)) == (700, 400)
    settle(alive, 100)
    assert refused(ask(tenant, 201)) == (800, 0)


def test_sums_that_redis_has_lost_are_those_of_postgresql(
    tenant: TenantId, limit: Callable[..., Budget], spend: Spend, clean_redis: redis.Redis
) -> None:
    limit()
    spend(300)
    held = given(tenant, 100)
    assert refused(ask(tenant, 601)) == (300, 100)
    settle(held, 100)
    in_flight = given(tenant, 50)
    spend(100)
    clean_redis.flushall()
    # Settled since, so in no roll-up yet: it comes on top.
    settle(in_flight, 60)
    assert refused(ask(tenant, 541)) == (460, 0)
    given(tenant, 540)


def test_what_others_spend_counts_once_it_is_rolled_up(
    tenant: TenantId, limit: Callable[..., Budget], spend: Spend
) -> None:
    limit()
    held = given(tenant, 100)
    spend(900)
    # It was looked up less than a minute ago.
    other = given(tenant, 500)
    settle(other, 50)
    sums_are_old(held)
    assert refused(ask(tenant, 1)) == (900, 100)
    # What is settled here and rolled up later is not counted twice.
    settle(held, 50)
    spend(50)
    sums_are_old(held)
    assert refused(ask(tenant, 51)) == (950, 0)
    given(tenant, 50)


def test_what_was_spent_without_leave_is_counted(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    count_spent(tenant, "judge:m", FUNCTION, 999)
    assert refused(ask(tenant, 2)) == (999, 0)
    count_spent(tenant, MODEL, FUNCTION, 1)
    assert refused(ask(tenant, 0)) == (1000, 0)


def test_tenants_do_not_spend_each_others_money(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    settle(given(tenant, 0), LIMIT)
    given(TenantId(UUID(int=7)), LIMIT)


def test_without_redis_what_is_rolled_up_decides(
    tenant: TenantId,
    limit: Callable[..., Budget],
    spend: Spend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit()
    held = given(tenant, 100)
    asked = []

    def gone() -> redis.Redis:
        asked.append(1)
        raise redis.ConnectionError("nobody listens")

    monkeypatch.setattr(reserving, "redis_client", gone)
    spend(LIMIT - 1)
    with caplog.at_level(logging.WARNING):
        settle(held, 100)
        given(tenant, 500)
    assert [record.message for record in caplog.records] == [
        "Redis does not answer (ConnectionError): until it does, hard stops are kept by what has"
        " been rolled up"
    ]
    spend(1)
    assert refused(ask(tenant, 0)) == (LIMIT, 0)
    # It is not asked again at once: everybody would wait for it.
    assert len(asked) == 1


def test_without_postgresql_what_is_under_way_goes_on_and_what_is_unknown_does_not_begin(
    tenant: TenantId,
    limit: Callable[..., Budget],
    monkeypatch: pytest.MonkeyPatch,
    clean_redis: redis.Redis,
) -> None:
    limit()
    held = given(tenant, 100)

    def gone(tenant_id: TenantId) -> Any:
        raise sa.exc.OperationalError("SELECT", {}, ConnectionError("nobody listens"))

    monkeypatch.setattr(reserving, "tenant_session", gone)
    sums_are_old(held)
    monkeypatch.setattr(reserving._limits, "_known", {tenant: (0.0, hard_stops(tenant, "", ""))})
    following = go_on(held, 100, 900)
    assert isinstance(following, Reservation)
    assert refused(ask(tenant, 1)) == (100, 900)
    clean_redis.flushall()
    settle(following, 900)
    with pytest.raises(sa.exc.OperationalError):
        ask(tenant, 0)
    reserving._limits.forget()
    with pytest.raises(sa.exc.OperationalError):
        ask(tenant, 0)


@pytest.mark.parametrize("nanos", [-1, 2**53])
def test_an_amount_that_cannot_be_is_refused(
    tenant: TenantId, limit: Callable[..., Budget], nanos: int
) -> None:
    limit()
    with pytest.raises(ValueError, match="expected 0 to"):
        ask(tenant, nanos)
    held = given(tenant, 1)
    with pytest.raises(ValueError, match="expected 0 to"):
        settle(held, nanos)


def test_the_largest_amounts_are_counted_to_the_nano_dollar(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    most = 9_000_000 * 10**9
    limit(most)
    settle(given(tenant, 0), most - 3)
    assert refused(ask(tenant, 4)) == (most - 3, 0)
    given(tenant, 3)


def test_what_is_kept_in_redis_ends_after_the_period(
    tenant: TenantId, limit: Callable[..., Budget], clean_redis: redis.Redis
) -> None:
    limit()
    given(tenant, 1)
    keys = clean_redis.keys("mlops:budget:*")
    assert len(keys) == 2
    day = 24 * 3600
    assert all(0 < clean_redis.ttl(key) <= day + 3600 + 120 for key in keys)


def spend_what_is_there(tenant: TenantId, estimate: int, dearest: int, seed: int) -> list[int]:
    """Call until refused; what each call cost."""
    chance, costs = random.Random(seed), []
    while True:
        answer = reserve(tenant, MODEL, FUNCTION, estimate)
        if isinstance(answer, Refused):
            return costs
        actual = chance.randint(max(0, 2 * estimate - dearest), dearest)
        time.sleep(chance.random() / 1000)
        settle(answer, actual)
        costs.append(actual)


@pytest.mark.parametrize(("estimate", "dearest"), [(10, 10), (10, 17), (0, 12)])
def test_threads_in_a_race_overspend_by_one_calls_error_each_at_most(
    tenant: TenantId, limit: Callable[..., Budget], estimate: int, dearest: int
) -> None:
    """With exact estimates: by nothing, and nothing is left over either."""
    limit()
    racers = 8
    with ThreadPoolExecutor(racers) as pool:
        runs = pool.map(
            lambda seed: spend_what_is_there(tenant, estimate, dearest, seed), range(racers)
        )
        total = sum(map(sum, runs))
    assert total <= LIMIT + racers * (dearest - estimate)
    assert total > LIMIT - max(estimate, 1)
    if estimate == dearest:
        assert total == LIMIT


def race(tenant: TenantId, seed: int, costs: multiprocessing.Queue[int]) -> None:
    costs.put(sum(spend_what_is_there(tenant, 10, 10, seed)))


def test_processes_in_a_race_with_exact_estimates_spend_the_budget_exactly(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    context = multiprocessing.get_context("fork")
    costs: multiprocessing.Queue[int] = context.Queue()
    racers = [context.Process(target=race, args=(tenant, seed, costs)) for seed in range(4)]
    for racer in racers:
        racer.start()
    total = sum(costs.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join(60)
    assert total == LIMIT


def allowed(tenant: TenantId) -> Allowance:
    return Allowance(tenant, MODEL, FUNCTION, lease_seconds=60)


def test_an_episode_reserves_for_the_next_step_what_its_dearest_cost(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    episode = allowed(tenant)
    assert episode.begin() is None
    assert episode.step(Cost(300, 0)) is None
    assert refused(ask(tenant, 401)) == (300, 300)
    assert episode.step(Cost(400, 0)) is None
    assert refused(ask(tenant, 301)) == (400, 300)
    # Other 300 would still fit, and the 301st nano-dollar would not.
    given(tenant, 300, lease_seconds=60)
    stopped = episode.step(Cost(700, 0))
    assert stopped is not None
    assert (stopped.spent_nanos, stopped.reserved_nanos) == (700, 300)
    episode.end(Cost(700, 0))
    assert refused(ask(tenant, 1)) == (700, 300)


def test_a_step_without_a_price_counts_as_the_dearest_before(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    episode = allowed(tenant)
    episode.begin()
    episode.step(Cost(300, 0))
    assert episode.step(Cost(310, 1)) is None
    episode.end(None)
    # 300, 300 for the step of which only 10 are known, and 300 for the one nobody knows of.
    assert refused(ask(tenant, 101)) == (900, 0)


def test_an_episode_is_settled_once(tenant: TenantId, limit: Callable[..., Budget]) -> None:
    limit()
    episode = allowed(tenant)
    episode.begin()
    episode.step(Cost(100, 0))
    for _ in range(3):
        episode.end(Cost(250, 0))
    assert refused(ask(tenant, 751)) == (250, 0)


def test_an_episode_does_not_begin_when_nothing_is_left(
    tenant: TenantId, limit: Callable[..., Budget]
) -> None:
    limit()
    settle(given(tenant, 0), LIMIT)
    episode = allowed(tenant)
    assert episode.begin() is not None
    episode.end(Cost(0, 0))
    assert episode.step(Cost(5, 0)) is None
