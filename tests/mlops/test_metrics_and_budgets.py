"""A collector that obeys budgets makes no call that a hard stop has no room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from mlops import MetricsCollector
from mlops.metrics import BudgetExceededError
from shared.costs.aggregation import Period
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.reserving import _limits
from shared.database import TenantId, tenant_session
from shared.tenancy.tables import Tenant

NANOS = 10**9


@pytest.fixture
def tenant(
    tenant: TenantId, with_environment: Callable[..., None], clean_redis: redis.Redis
) -> TenantId:
    """The test's tenant, which is that of this process too."""
    with tenant_session(tenant) as session:
        with_environment(MLOPS_TENANT=session.scalar(sa.select(Tenant.name)))
    return tenant


@pytest.fixture
def stop_at(tenant: TenantId) -> Callable[..., None]:
    """Give the tenant a hard stop, in dollars a day."""

    def put(dollars: float, **fields: Any) -> None:
        with tenant_session(tenant) as session:
            set_budget(
                session, Budget(Period.DAY, round(dollars * NANOS), hard_stop=True, **fields)
            )
        _limits.forget()

    return put


@pytest.fixture
def metrics(tenant: TenantId, collector: Callable[..., MetricsCollector]) -> MetricsCollector:
    return collector(obey_budgets=True)


def stated(metrics: MetricsCollector, dollars: float, **fields: Any) -> None:
    with metrics.track(cost=dollars, **fields):
        pass


def test_a_call_that_may_exceed_a_hard_stop_is_not_made(
    metrics: MetricsCollector, stop_at: Callable[..., None], receiver: Any
) -> None:
    stop_at(1)
    made = []

    @metrics.track(cost=0.4)
    def ask() -> None:
        made.append(True)

    ask()
    ask()
    with pytest.raises(BudgetExceededError, match=r"budget of \$1\.00 a day"):
        ask()
    assert len(made) == 2
    assert metrics.flush()
    assert [event["cost_dollars"] for event in receiver.events()] == ["0.400000000"] * 2


def test_what_a_response_used_is_settled_by_its_price(
    metrics: MetricsCollector, stop_at: Callable[..., None]
) -> None:
    stop_at(1)
    response = {
        "model": "gpt-4.1-mini",
        "usage": {
            "prompt_tokens": 10**6,  # $0.40 by the embedded table
            "completion_tokens": 0,
            "total_tokens": 10**6,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
    ask = metrics.track(lambda: response)
    assert ask() is response
    assert ask() is response
    with pytest.raises(BudgetExceededError):
        ask()


def test_a_hard_stop_holds_for_what_it_covers(
    metrics: MetricsCollector, stop_at: Callable[..., None]
) -> None:
    stop_at(0.5, scope=Scope.FUNCTION, name="checkout")
    stated(metrics, 1, function="checkout")
    stated(metrics, 1, function="search")
    with pytest.raises(BudgetExceededError, match="checkout"):
        stated(metrics, 0, function="checkout")
    metrics.start_task("checkout")
    with pytest.raises(BudgetExceededError, match="checkout"):
        stated(metrics, 0)
    metrics.end_task(success=None)
    stated(metrics, 1)


def test_a_collector_that_was_not_told_to_obey_does_not_ask(
    collector: Callable[..., MetricsCollector], stop_at: Callable[..., None]
) -> None:
    stop_at(0.5)
    metrics = collector()
    for _ in range(3):
        stated(metrics, 1)
    assert metrics.counts.recorded == 3


def test_while_nobody_can_be_asked_calls_are_made_and_the_log_says_so_once(
    metrics: MetricsCollector,
    with_environment: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_environment(DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:1/nowhere")
    for _ in range(2):
        stated(metrics, 1)
    assert caplog.text.count("hard stops of budgets cannot be asked for") == 1
    assert metrics.counts.recorded == 2
