"""The cost report: sums of rollups, and unknown where something of them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import aggregate
from shared.costs.llm_models import UnpricedCalls
from shared.costs.ratios import NoInterval
from shared.costs.report import By, Line, days_until, report
from shared.costs.tables import LlmModelCost
from shared.database import TenantId, tenant_session
from shared.evaluation.intervals import Interval
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.gaps import Gap
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.rollups import roll_up_dirty_hours

TODAY = datetime.now(UTC).date()
Spend = Callable[..., None]


def line(**sums: int) -> Line:
    fields = dict.fromkeys(
        ("known_nanos", "llm_calls", "unpriced_calls", "simulated_calls", "tasks", "successes"), 0
    )
    return Line("x", **fields | sums)


def test_cost_per_request_is_of_the_calls_that_have_a_price() -> None:
    assert line(known_nanos=600, llm_calls=5, unpriced_calls=2).nanos_per_request == 200
    assert line(llm_calls=2, unpriced_calls=2).nanos_per_request is None
    assert line().nanos_per_request is None


def test_cost_per_success_is_that_of_all_tasks_and_unknown_if_a_call_is() -> None:
    known = line(known_nanos=600, llm_calls=5, tasks=4, successes=3)
    assert known.nanos_per_success == 200
    assert (
        line(known_nanos=600, llm_calls=5, unpriced_calls=1, successes=3).nanos_per_success is None
    )
    assert line(known_nanos=600, llm_calls=5, tasks=4).nanos_per_success is None
    assert line(tasks=4, successes=4).nanos_per_success is None


def test_calls_of_which_none_has_a_price_have_not_cost_nothing() -> None:
    assert line(llm_calls=2, unpriced_calls=2).cost_nanos is None
    assert line(known_nanos=7, llm_calls=2, unpriced_calls=1).cost_nanos == 7


def test_a_rate_comes_with_its_interval_and_without_tasks_there_is_none() -> None:
    found = line(tasks=10, successes=5)
    assert found.success_rate == 0.5
    assert found.success_interval is not None
    assert found.success_interval.low < 0.5 < found.success_interval.high
    assert (line().success_rate, line().success_interval) == (None, None)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (By.MODEL, ["buyer@2", "buyer@1"]),
        (By.FUNCTION, ["checkout", "search"]),
        (By.VARIANT, ["", "b"]),
        (By.DAY, [str(TODAY - timedelta(days=1)), str(TODAY)]),
    ],
)
def test_lines_are_sums_and_sum_up_to_the_total(
    tenant: TenantId, spend: Spend, by: By, names: list[str]
) -> None:
    spend(100, tasks=2, successes=1)
    spend(200, model="buyer@2", calls=3, unpriced=1, variant="b", on=TODAY - timedelta(days=1))
    spend(250, model="buyer@2", function="search", simulated=1)
    spend(999, on=TODAY - timedelta(days=8))
    with tenant_session(tenant) as session:
        found = report(session, *days_until(TODAY, 8), by)
    assert [one.name for one in found.lines] == names
    assert found.total is not None
    assert replace(found.total, moments=None) == Line("", 550, 5, 1, 1, 2, 1)
    # No reason is kept with sums that are written by hand.
    assert (found.unpriced, found.untold_calls) == ((), 1)
    assert sum(one.known_nanos for one in found.lines) == 550
    assert sum(one.llm_calls for one in found.lines) == 5


def test_hours_are_those_of_the_rollups_and_agree_with_the_days(tenant: TenantId) -> None:
    at = datetime(2026, 9, 9, 10, 30, tzinfo=UTC)
    calls = [
        LlmCallEvent(event_id=uuid4(), occurred_at=at + timedelta(hours=n), model="m", function="f")
        for n in (0, 0, 3)
    ]
    with tenant_session(tenant) as session:
        store(session, calls, lambda _: CallCost(7, "a price"))
    with tenant_session(tenant) as session:
        aggregate(session, roll_up_dirty_hours(session))
    with tenant_session(tenant) as session:
        days = (date(2026, 9, 9), date(2026, 9, 10))
        hours = report(session, *days, By.HOUR)
        by_day = report(session, *days, By.DAY)
        assert by_day.total == hours.total
        assert [one.llm_calls for one in by_day.lines] == [3]
        assert report(session, days[1], date(2026, 9, 11), By.HOUR).total is None
    assert [(one.name, one.known_nanos) for one in hours.lines] == [
        ("2026-09-09 10:00", 14),
        ("2026-09-09 13:00", 7),
    ]


def test_language_models_sum_up_to_the_total_and_what_is_not_told_is_counted(
    tenant: TenantId,
) -> None:
    at = datetime(2026, 9, 9, 10, 30, tzinfo=UTC)

    def calls(provider: str | None, number: int, **fields: Any) -> list[LlmCallEvent]:
        return [
            LlmCallEvent(
                event_id=uuid4(), occurred_at=at, provider=provider, llm_model="m", **fields
            )
            for _ in range(number)
        ]

    with tenant_session(tenant) as session:
        store(session, calls("p", 2) + calls("q", 1), lambda _: CallCost(7, "a price"))
        store(session, calls("p", 3), lambda _: CallCost(None, "no price is known for p/m"))
        store(session, calls(None, 1), lambda _: CallCost(None, "no provider was named"))
    with tenant_session(tenant) as session:
        aggregate(session, roll_up_dirty_hours(session))
    days = (date(2026, 9, 1), date(2026, 9, 30))
    with tenant_session(tenant) as session:
        found = report(session, *days, By.LLM_MODEL)
        assert [
            (one.name, one.known_nanos, one.llm_calls, one.unpriced_calls) for one in found.lines
        ] == [("p/m", 14, 5, 3), ("q/m", 7, 1, 0), ("m", 0, 1, 1)]
        assert found.unpriced == (
            UnpricedCalls(Gap.NO_PRICE, 3, (("p/m", 3),)),
            UnpricedCalls(Gap.NO_PROVIDER, 1, (("m", 1),)),
        )
        assert (found.total, found.untold_calls) == (report(session, *days, By.MODEL).total, 0)
        # As of an hour that was closed before there were such sums.
        session.execute(sa.delete(LlmModelCost).where(LlmModelCost.provider == "p"))
        assert report(session, *days, By.LLM_MODEL).untold_calls == 5
        assert report(session, *days, By.MODEL).untold_calls == 3


def test_the_interval_is_of_days_or_of_hours_where_there_are_few_days(
    tenant: TenantId, spend: Spend
) -> None:
    for day in range(8):
        spend(1_000 + 100 * day, tasks=10, successes=5 + day % 3, on=TODAY - timedelta(days=day))
    with tenant_session(tenant) as session:
        month = report(session, *days_until(TODAY, 30), By.FUNCTION)
        by_day = report(session, *days_until(TODAY, 30), By.DAY)
    assert month.total is not None
    for line in (month.total, *month.lines):
        interval = line.nanos_per_success_interval
        assert isinstance(interval, Interval)
        assert line.nanos_per_success is not None
        assert interval.low < line.nanos_per_success < interval.high
    assert by_day.total == month.total
    assert by_day.lines[0].nanos_per_success_interval == NoInterval(
        "a single day does not show how much they differ"
    )


def test_days_without_rollups_are_no_data_and_not_zero(session: Session) -> None:
    found = report(session, *days_until(TODAY, 30), By.MODEL)
    assert (found.lines, found.total) == ((), None)


def test_days_end_with_today_and_there_is_at_least_one(session: Session) -> None:
    assert days_until(date(2026, 3, 1), 2) == (date(2026, 2, 28), date(2026, 3, 2))
    for days in (0, 3661):
        with pytest.raises(ValueError, match="expected 1 to 3660"):
            days_until(TODAY, days)
    with pytest.raises(ValueError, match="expected a day after"):
        report(session, TODAY, TODAY, By.DAY)
