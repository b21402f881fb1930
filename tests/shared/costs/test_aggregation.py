"""Days, weeks and months are the sums of their hours, and unknown cost is not zero."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period, aggregate
from shared.costs.reading import PeriodCost, totals
from shared.costs.tables import CostTracking
from shared.database import TenantId, system_session, tenant_session
from shared.telemetry.events import Event, LlmCallEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.tenancy.tenants import create_tenant

# The last microseconds of a Sunday, of a month, and of a year, each beside the first after it.
BORDERS = tuple(
    first - before
    for first in (
        datetime(2026, 8, 31, tzinfo=UTC),
        datetime(2026, 9, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    for before in (timedelta(microseconds=1), timedelta(0))
)


def call(at: datetime, model: str = "buyer@1", provider: str = "known") -> Event:
    return LlmCallEvent(
        event_id=uuid4(),
        occurred_at=at,
        model=model,
        function="checkout",
        provider=provider,
        llm_model="m",
        latency_ms=1,
    )


def priced(event: LlmCallEvent) -> CallCost:
    if event.provider == "unknown":
        return CallCost(None, "no price is known")
    return CallCost(100, "a price", simulated=event.provider == "stand-in")


def record(tenant: TenantId, events: Sequence[Event]) -> None:
    with tenant_session(tenant) as session:
        store(session, events, priced)
    with tenant_session(tenant) as session:
        aggregate(session, roll_up_dirty_hours(session))


def cost_rows(session: Session) -> dict[tuple[str, date], int]:
    found = session.execute(
        sa.select(CostTracking.period, CostTracking.starts_on, CostTracking.cost_nanos)
    )
    return {(period, starts_on): nanos for period, starts_on, nanos in found}


@pytest.mark.parametrize(
    ("period", "day", "start", "end"),
    [
        (Period.DAY, date(2026, 2, 28), date(2026, 2, 28), date(2026, 3, 1)),
        (Period.WEEK, date(2026, 8, 30), date(2026, 8, 24), date(2026, 8, 31)),
        (Period.WEEK, date(2026, 8, 31), date(2026, 8, 31), date(2026, 9, 7)),
        (Period.WEEK, date(2027, 1, 1), date(2026, 12, 28), date(2027, 1, 4)),
        (Period.MONTH, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        (Period.MONTH, date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_a_period_starts_and_ends_with_the_calendar(
    period: Period, day: date, start: date, end: date
) -> None:
    assert (period.start(day), period.end(day)) == (start, end)


def test_borders_of_weeks_months_and_years_fall_where_the_calendar_has_them(
    tenant: TenantId,
) -> None:
    record(tenant, [call(at) for at in BORDERS])
    with tenant_session(tenant) as session:
        assert cost_rows(session) == {
            ("day", date(2026, 8, 30)): 100,
            ("day", date(2026, 8, 31)): 200,
            ("day", date(2026, 9, 1)): 100,
            ("day", date(2026, 12, 31)): 100,
            ("day", date(2027, 1, 1)): 100,
            ("week", date(2026, 8, 24)): 100,
            ("week", date(2026, 8, 31)): 300,
            ("week", date(2026, 12, 28)): 200,
            ("month", date(2026, 8, 1)): 300,
            ("month", date(2026, 9, 1)): 100,
            ("month", date(2026, 12, 1)): 100,
            ("month", date(2027, 1, 1)): 100,
        }


def test_an_hour_is_of_the_utc_day_whatever_zone_it_is_told_in(tenant: TenantId) -> None:
    record(tenant, [call(datetime.fromisoformat("2026-09-01T01:00:00+05:30"))])
    with tenant_session(tenant) as session:
        before = cost_rows(session)
        aggregate(session, [datetime.fromisoformat("2026-09-01T01:00:00+05:30")])
        assert cost_rows(session) == before
    assert ("day", date(2026, 8, 31)) in before


def test_aggregating_again_replaces_and_a_model_that_vanished_leaves_no_row(
    tenant: TenantId,
) -> None:
    at = datetime(2026, 9, 9, 10, tzinfo=UTC)
    record(tenant, [call(at), call(at, model="mistake@1")])
    with tenant_session(tenant) as session:
        for _ in range(2):
            aggregate(session, [at, at + timedelta(hours=1)])
        assert totals(session, at.date()).day.llm_calls == 2
        session.execute(
            sa.text("DELETE FROM mlops.model_performance WHERE model = 'mistake@1'"),
        )
        aggregate(session, [at])
        assert set(session.scalars(sa.select(CostTracking.model))) == {"buyer@1"}


def test_unpriced_and_simulated_calls_are_told_apart(tenant: TenantId) -> None:
    at = datetime(2026, 9, 9, 10, tzinfo=UTC)
    done = TaskEndEvent(
        event_id=uuid4(), occurred_at=at, model="buyer@1", function="checkout", success=True
    )
    failed = done.model_copy(update={"event_id": uuid4(), "success": False})
    providers = ("known", "unknown", "stand-in", "unknown")
    record(tenant, [*(call(at, provider=name) for name in providers), done, failed])
    with tenant_session(tenant) as session:
        found = totals(session, date(2026, 9, 12))
        on_the_day = totals(session, at.date()).day
    assert found.day == PeriodCost(Period.DAY, date(2026, 9, 12), None, 0, 0, 0, 0, 0)
    assert on_the_day == PeriodCost(Period.DAY, date(2026, 9, 9), 200, 4, 2, 1, 2, 1)
    assert found.week == PeriodCost(Period.WEEK, date(2026, 9, 7), 200, 4, 2, 1, 2, 1)
    assert found.month == PeriodCost(Period.MONTH, date(2026, 9, 1), 200, 4, 2, 1, 2, 1)


def test_the_cost_of_calls_of_which_none_has_a_price_is_unknown_and_not_zero(
    tenant: TenantId,
) -> None:
    at = datetime(2026, 9, 9, 10, tzinfo=UTC)
    record(tenant, [call(at, provider="unknown"), call(at, model="other@1")])
    with tenant_session(tenant) as session:
        unknown = totals(session, at.date(), model="buyer@1").month
        everything = totals(session, at.date(), function="checkout").month
    assert (unknown.cost_nanos, unknown.unpriced_calls) == (None, 1)
    assert (everything.cost_nanos, everything.unpriced_calls) == (100, 1)


def test_tenants_do_not_see_each_others_costs(tenant: TenantId) -> None:
    at = datetime(2026, 9, 9, 10, tzinfo=UTC)
    other = create_tenant(f"other-{uuid4()}")
    record(tenant, [call(at)])
    record(other, [call(at), call(at)])
    with tenant_session(tenant) as session:
        assert totals(session, at.date()).month.llm_calls == 1


def test_two_hours_of_a_day_summed_at_once_are_both_in_its_total(tenant: TenantId) -> None:
    first, second = (datetime(2026, 9, 9, hour, tzinfo=UTC) for hour in (10, 11))
    with tenant_session(tenant) as session:
        store(session, [call(first)], priced)

    def roll_up_the_second() -> None:
        record(tenant, [call(second)])

    with ThreadPoolExecutor(1) as pool:
        with tenant_session(tenant) as session:
            aggregate(session, roll_up_dirty_hours(session))
            other = pool.submit(roll_up_the_second)
            _until_somebody_waits()
        other.result()
    with tenant_session(tenant) as session:
        found = totals(session, first.date())
    assert (found.day.llm_calls, found.week.llm_calls, found.month.llm_calls) == (2, 2, 2)


def _until_somebody_waits() -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with system_session() as session:
            if session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited for a lock within 20 s")
