"""Cost by day, week and month, from the hourly rollups, and by language model, from the events.

A period is replaced and never added to, so summing it twice gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.tables import LlmModelCost
from shared.hours import HOUR, hour_of
from shared.telemetry.gaps import GAP_IN_SQL


class Period(StrEnum):
    """A stretch of the UTC calendar; weeks start on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start(self, day: date) -> date:
        """The first day of the period that holds `day`."""
        match self:
            case Period.DAY:
                return day
            case Period.WEEK:
                return day - timedelta(days=day.weekday())
            case Period.MONTH:
                return day.replace(day=1)

    def end(self, day: date) -> date:
        """The first day after the period that holds `day`."""
        start = self.start(day)
        match self:
            case Period.DAY:
                return start + timedelta(days=1)
            case Period.WEEK:
                return start + timedelta(days=7)
            case Period.MONTH:
                return (start + timedelta(days=31)).replace(day=1)


def aggregate(session: Session, hours: Iterable[datetime]) -> None:
    """Sum these `hours` (aware) again by language model, and the days, weeks and months of them.

    To be called in the transaction in which the hours were rolled up: nobody changes them then,
    and their events are there.
    """
    hours = {hour_of(hour) for hour in hours}
    for hour in sorted(hours):
        session.execute(sa.delete(LlmModelCost).where(LlmModelCost.hour == hour))
        session.execute(_BILL, {"start": hour, "end": hour + HOUR})
    days = {hour.date() for hour in hours}
    if not days:
        return
    # Two transactions that each changed an hour of the same day do not see each other's: the
    # second waits here for the first to commit, and then sums both.
    session.execute(_ONE_AT_A_TIME)
    _sum(session, _FROM_HOURS, (Period.DAY,), days)
    # Of the days, which are there for every hour that was ever summed: a month has 30 of them, and
    # 720 hours.
    _sum(session, _FROM_DAYS, (Period.WEEK, Period.MONTH), days)


def _sum(
    session: Session, statement: sa.TextClause, periods: Iterable[Period], days: Iterable[date]
) -> None:
    """Replace the sums of the `periods` that hold one of the `days`."""
    spans = sorted({(period, period.start(day)) for period in periods for day in days})
    values = {
        "periods": [period.value for period, _ in spans],
        "starts": [start for _, start in spans],
        "ends": [period.end(start) for period, start in spans],
    }
    session.execute(_CLEAR, values)
    session.execute(statement, values)


_BILL: Final = sa.text(
    f"""
    INSERT INTO mlops.llm_model_costs
        (tenant_id, hour, provider, llm_model, gap, llm_calls, simulated_calls, cost_nanos)
    SELECT CAST(current_setting('app.tenant') AS uuid), :start, coalesce(provider, ''),
        coalesce(llm_model, ''), {GAP_IN_SQL} AS gap, count(*),
        count(*) FILTER (WHERE price_simulated), coalesce(sum(cost_nanos), 0)
    FROM mlops.events
    WHERE occurred_at >= :start AND occurred_at < :end AND kind = 'llm_call'
    GROUP BY provider, llm_model, gap
    """  # noqa: S608 (texts of ours)
)
_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.cost_tracking ' || current_setting('app.tenant'), 0))"
)
_CLEAR: Final = sa.text(
    "DELETE FROM mlops.cost_tracking"
    " USING unnest(CAST(:periods AS text[]), CAST(:starts AS date[])) AS span (period, starts_on)"
    " WHERE cost_tracking.period = span.period AND cost_tracking.starts_on = span.starts_on"
)


def _summing(source: str) -> sa.TextClause:
    return sa.text(
        f"""
        INSERT INTO mlops.cost_tracking (tenant_id, period, starts_on, model, function, variant,
            llm_calls, unpriced_calls, simulated_calls, cost_nanos, tasks, successes)
        SELECT CAST(current_setting('app.tenant') AS uuid), span.period, span.starts_on,
            model, function, variant, sum(llm_calls), sum(unpriced_calls), sum(simulated_calls),
            sum(cost_nanos), sum(tasks), sum(successes)
        FROM unnest(CAST(:periods AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]))
            AS span (period, starts_on, ends_before)
        JOIN {source}
        GROUP BY span.period, span.starts_on, model, function, variant
        """  # noqa: S608 (the texts below)
    )


# Every session's time zone is UTC, so a date is its midnight in UTC.
_FROM_HOURS: Final = _summing(
    "mlops.model_performance ON hour >= CAST(span.starts_on AS timestamptz)"
    " AND hour < CAST(span.ends_before AS timestamptz)"
)
_FROM_DAYS: Final = _summing(
    f"mlops.cost_tracking AS day ON day.period = '{Period.DAY}'"
    " AND day.starts_on >= span.starts_on AND day.starts_on < span.ends_before"
)
