"""Sums over hours hold whatever they come to; an hour that holds too much is refused with a reason.

A bigint ends at 9.2 billion dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import redis

from shared.alerts.spending import tell_of_spending
from shared.costs import reserving
from shared.costs.aggregation import Period, aggregate
from shared.costs.budgeting import budgets, set_budget, standings
from shared.costs.budgets import MOST_DOLLARS, NANOS, Budget, BudgetState
from shared.costs.reading import totals
from shared.costs.report import By, report
from shared.costs.reserving import Refused, reserve
from shared.costs.series import series_of_all
from shared.database import TenantId, tenant_session
from shared.telemetry.days import sum_past_days
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.reading import Window, sums
from shared.telemetry.rollups import roll_up_dirty_hours, unsummed

MOST = 2**63 - 1
DAY = datetime(2026, 3, 4, tzinfo=UTC)


def call(at: datetime) -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid4(),
        occurred_at=at,
        model="buyer@1",
        function="checkout",
        provider="p",
        llm_model="m",
        latency_ms=1,
    )


def spend(tenant: TenantId, times: Sequence[datetime]) -> tuple[datetime, ...]:
    """The most that an event can hold, at each of these times; the hours that were summed."""
    with tenant_session(tenant) as session:
        store(session, [call(at) for at in times], lambda _: CallCost(MOST, "a price"))
        hours = roll_up_dirty_hours(session)
        aggregate(session, hours)
        return hours


def test_days_weeks_and_months_hold_what_their_hours_come_to(tenant: TenantId) -> None:
    times = [DAY + timedelta(hours=hours) for hours in (0, 1, 30)]
    assert len(spend(tenant, times)) == 3
    with tenant_session(tenant) as session:
        found = totals(session, DAY.date())
        assert (found.day.cost_nanos, found.month.cost_nanos) == (2 * MOST, 3 * MOST)
        window = Window(DAY, DAY + timedelta(days=2))
        assert sums(session, window)["buyer@1"].cost_nanos == 3 * MOST
        sum_past_days(session, date(2026, 3, 6))
        assert sums(session, window)["buyer@1"].cost_nanos == 3 * MOST
        month = report(session, date(2026, 3, 1), date(2026, 4, 1), By.MODEL)
        assert month.total is not None
        assert month.total.known_nanos == 3 * MOST
        assert series_of_all(session, DAY, DAY + timedelta(hours=2)).known.all()


def test_budgets_are_judged_by_such_sums(tenant: TenantId, clean_redis: redis.Redis) -> None:
    now = datetime.now(UTC)
    largest = Budget(Period.MONTH, MOST_DOLLARS * NANOS, hard_stop=True)
    with tenant_session(tenant) as session:
        set_budget(session, largest)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spend(tenant, [first, first + timedelta(hours=1)])
    with tenant_session(tenant) as session:
        (month,) = standings(session, [largest], now.date())
        assert (month.state, month.spent.nanos) == (BudgetState.EXCEEDED, 2 * MOST)
        assert tell_of_spending(session, [], now).raised >= 1
        assert largest in budgets(session)
    reserving._limits.forget()
    for _ in range(2):
        assert isinstance(reserve(tenant, "buyer@1", "checkout", 1), Refused)


def test_an_hour_that_holds_more_than_can_be_stored_says_so(tenant: TenantId) -> None:
    assert spend(tenant, [DAY, DAY + timedelta(minutes=1), DAY + timedelta(hours=1)]) == (
        DAY + timedelta(hours=1),
    )
    with tenant_session(tenant) as session:
        assert totals(session, DAY.date()).day.cost_nanos == MOST
        # It was tried once; that says nothing yet.
        assert unsummed(session) is None
