"""What was spent from one day to another, by model, function, variant, language model, day or hour.

From rollups alone, in one or two queries: days from `mlops.cost_tracking`, hours from
`mlops.model_performance`, language models and reasons from `mlops.llm_model_costs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.llm_models import Billed, UnpricedCalls, billed, unpriced
from shared.costs.ratios import Moments, NoInterval, fieller_interval
from shared.evaluation.intervals import Interval, wilson
from shared.money import known_nanos

LONGEST_DAYS: Final = 3_660


class By(StrEnum):
    """What a line of the report is about."""

    MODEL = "model"
    FUNCTION = "function"
    VARIANT = "variant"
    LLM_MODEL = "llm_model"
    "The language model that was billed, as `provider/model`."
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True)
class Line:
    """The calls of one model, function, variant, day or hour; money in nano-dollars.

    What depends on an unknown cost is None: unknown is not zero.
    """

    name: str
    "Of a day its date, of an hour its beginning in UTC as `2026-11-20 13:00`; of all it is empty."
    known_nanos: int
    "The sum of the calls that have a price."
    llm_calls: int
    unpriced_calls: int
    "Of `llm_calls`; not in the sum."
    simulated_calls: int
    "Of `llm_calls`; in the sum, at a price that is stated as simulated."
    tasks: int
    "Those whose end says something of the agent."
    successes: int
    moments: Moments | None = None
    "Of the days or hours of the report; None where they are not told apart."
    unit: str = "day"
    "What the moments are of."

    @property
    def cost_nanos(self) -> int | None:
        """None where calls were made and none of them has a price."""
        return known_nanos(self.known_nanos, self.llm_calls, self.unpriced_calls)

    @property
    def nanos_per_request(self) -> float | None:
        """The mean of the calls that have a price; None where there is none."""
        priced = self.llm_calls - self.unpriced_calls
        return self.known_nanos / priced if priced else None

    @property
    def nanos_per_success(self) -> float | None:
        """Of all tasks, failed ones included, over the successes.

        None without a success, without a call, and where a call has no price: then the cost of a
        success is higher than what is known.
        """
        if self.unpriced_calls or not self.successes or not self.llm_calls:
            return None
        return self.known_nanos / self.successes

    @property
    def nanos_per_success_interval(self) -> Interval | NoInterval:
        """95 %, by how much the days, or hours, of the report differ; or why there is none."""
        if self.nanos_per_success is None:
            return NoInterval("the cost per success is not known")
        if self.moments is None:
            return NoInterval(f"a single {self.unit} does not show how much they differ")
        return fieller_interval(self.moments, self.unit)

    @property
    def success_rate(self) -> float | None:
        return self.successes / self.tasks if self.tasks else None

    @property
    def success_interval(self) -> Interval | None:
        """Wilson's, 95 %."""
        return wilson(self.successes, self.tasks)


@dataclass(frozen=True)
class CostReport:
    """From the day `start` up to the day `end_before` (UTC)."""

    start: date
    end_before: date
    by: By
    lines: tuple[Line, ...]
    "The dearest first; days and hours in their order."
    total: Line | None
    "None where nothing was summed for these days."
    unpriced: tuple[UnpricedCalls, ...]
    "Why calls have no price, the most frequent reason first."
    untold_calls: int
    """Calls of hours that were closed before language models and reasons were summed: they are in
    the total, and in no line of a language model and under no reason."""


def days_until(today: date, days: int) -> tuple[date, date]:
    """The last so many days, `today` included, as the first and the one after the last.

    ValueError unless 1 <= days <= 3660.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise ValueError(f"{days} days; expected 1 to {LONGEST_DAYS}")
    return today - timedelta(days=days - 1), today + timedelta(days=1)


def report(session: Session, start: date, end_before: date, by: By) -> CostReport:
    """What the tenant spent in these days (UTC). ValueError if there can be none."""
    if end_before <= start:
        raise ValueError(f"days that end before {end_before}; expected a day after {start}")
    lines, total = _lines(session, start, end_before, by)
    # Reasons are looked for only where there are some.
    asked = by is By.LLM_MODEL or (total is not None and total.unpriced_calls > 0)
    found = billed(session, start, end_before) if asked else ()
    if by is By.LLM_MODEL:
        lines = _of_llm_models(found)
        untold = (total.llm_calls if total else 0) - sum(line.llm_calls for line in lines)
    else:
        told = sum(one.llm_calls for one in found if one.gap is not None)
        untold = (total.unpriced_calls if total else 0) - told
    if by not in (By.DAY, By.HOUR):
        lines.sort(key=lambda line: (-line.known_nanos, -line.llm_calls, line.name))
    # An hour that is summed between the queries is in one of them only.
    return CostReport(start, end_before, by, tuple(lines), total, unpriced(found), max(0, untold))


_DAYS_OF_HOURS: Final = 8
"A report of fewer days tells the hours apart, because so few days do not show how they differ."


def _lines(
    session: Session, start: date, end_before: date, by: By
) -> tuple[list[Line], Line | None]:
    """A line for each, and that of all; there is none for a language model."""
    by_hour = by is By.HOUR or (end_before - start).days < _DAYS_OF_HOURS
    rows = session.execute(_query(by, by_hour=by_hour), {"start": start, "end_before": end_before})
    unit = "hour" if by_hour else "day"
    # A line of one day in days, or of one hour, is a single sum.
    single = by is By.HOUR or (by is By.DAY and not by_hour)
    lines: list[Line] = []
    total = None
    for whole, name, *values in rows:
        cost, calls, unpriced_calls, simulated, tasks, successes, units, cc, ss, cs = map(
            int, values
        )
        moments = Moments(units, cost, successes, cc, ss, cs)
        sums = (cost, calls, unpriced_calls, simulated, tasks, successes)
        if whole:
            total = Line("", *sums, moments, unit)
        else:
            lines.append(Line(_name(name), *sums, None if single else moments, unit))
    return lines, total


def _of_llm_models(found: Sequence[Billed]) -> list[Line]:
    """Without tasks: one may ask several language models."""
    lines: dict[str, Line] = {}
    for one in found:
        before = lines.get(one.llm_model, Line(one.llm_model, 0, 0, 0, 0, 0, 0))
        lines[one.llm_model] = replace(
            before,
            known_nanos=before.known_nanos + one.cost_nanos,
            llm_calls=before.llm_calls + one.llm_calls,
            unpriced_calls=before.unpriced_calls + (one.llm_calls if one.gap else 0),
            simulated_calls=before.simulated_calls + one.simulated_calls,
        )
    return list(lines.values())


# Every session's time zone is UTC, so a date is its midnight in UTC. Sums of sums are numeric, and
# so their products: neither can overflow.
_HOURS: Final = """
    mlops.model_performance WHERE hour >= CAST(CAST(:start AS date) AS timestamptz)
        AND hour < CAST(CAST(:end_before AS date) AS timestamptz)
"""
_DAYS: Final = f"""
    mlops.cost_tracking WHERE period = '{Period.DAY}'
        AND starts_on >= :start AND starts_on < :end_before
"""
_NAMES: Final = {By.HOUR: "hour", By.LLM_MODEL: "CAST(NULL AS text)"}


def _query(by: By, *, by_hour: bool) -> sa.TextClause:
    """The sums by name, and of all, with the moments over the units, in days or hours."""
    unit, source = ("hour", _HOURS) if by_hour else ("starts_on", _DAYS)
    name = f"CAST({unit} AS date)" if by is By.DAY else _NAMES.get(by, by.value)
    return sa.text(
        f"""
        WITH units AS (
            SELECT GROUPING(name) = 1 AS whole, name, unit, sum(cost_nanos) AS cost_nanos,
                sum(llm_calls) AS llm_calls, sum(unpriced_calls) AS unpriced_calls,
                sum(simulated_calls) AS simulated_calls, sum(tasks) AS tasks,
                sum(successes) AS successes
            FROM (
                SELECT {name} AS name, {unit} AS unit, cost_nanos, llm_calls, unpriced_calls,
                    simulated_calls, tasks, successes
                FROM {source}
            ) AS sums
            GROUP BY GROUPING SETS ((name, unit), (unit))
        )
        SELECT whole, name, sum(cost_nanos), sum(llm_calls), sum(unpriced_calls),
            sum(simulated_calls), sum(tasks), sum(successes), count(*),
            sum(cost_nanos * cost_nanos), sum(successes * successes), sum(cost_nanos * successes)
        FROM units GROUP BY whole, name ORDER BY name
        """  # noqa: S608 (column names)
    )


def _name(value: str | date | datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return str(value)
