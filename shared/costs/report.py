"""What was spent from one day to another, by model, function, variant, day or hour.

From rollups alone: days from `mlops.cost_tracking`, hours from `mlops.model_performance`, one query
each.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.evaluation.intervals import Interval, wilson
from shared.money import known_nanos

LONGEST_DAYS: Final = 3_660


class By(StrEnum):
    """What a line of the report is about."""

    MODEL = "model"
    FUNCTION = "function"
    VARIANT = "variant"
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
        success is higher than what is known. There is no interval: rollups hold sums, and how much
        one task's cost differs from another's is not in them.
        """
        if self.unpriced_calls or not self.successes or not self.llm_calls:
            return None
        return self.known_nanos / self.successes

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
    rows = session.execute(_HOURS if by is By.HOUR else _days(by), _window(start, end_before))
    lines = [Line(_name(name), *map(int, sums)) for name, *sums in rows]
    if by not in (By.DAY, By.HOUR):
        lines.sort(key=lambda line: (-line.known_nanos, -line.llm_calls, line.name))
    return CostReport(start, end_before, by, tuple(lines), _total(lines))


def _total(lines: list[Line]) -> Line | None:
    if not lines:
        return None
    return Line(
        "",
        known_nanos=sum(line.known_nanos for line in lines),
        llm_calls=sum(line.llm_calls for line in lines),
        unpriced_calls=sum(line.unpriced_calls for line in lines),
        simulated_calls=sum(line.simulated_calls for line in lines),
        tasks=sum(line.tasks for line in lines),
        successes=sum(line.successes for line in lines),
    )


_SUMS: Final = ", ".join(
    f"sum({column})"
    for column in (
        "cost_nanos",
        "llm_calls",
        "unpriced_calls",
        "simulated_calls",
        "tasks",
        "successes",
    )
)

# Every session's time zone is UTC, so a date is its midnight in UTC.
_HOURS: Final = sa.text(
    f"""
    SELECT hour, {_SUMS} FROM mlops.model_performance
    WHERE hour >= CAST(CAST(:start AS date) AS timestamptz)
        AND hour < CAST(CAST(:end_before AS date) AS timestamptz)
    GROUP BY hour ORDER BY hour
    """  # noqa: S608 (column names)
)


def _days(by: By) -> sa.TextClause:
    column = "starts_on" if by is By.DAY else by.value
    return sa.text(
        f"""
        SELECT {column}, {_SUMS} FROM mlops.cost_tracking
        WHERE period = :period AND starts_on >= :start AND starts_on < :end_before
        GROUP BY {column} ORDER BY {column}
        """  # noqa: S608 (column names)
    )


def _window(start: date, end_before: date) -> dict[str, object]:
    return {"period": Period.DAY.value, "start": start, "end_before": end_before}


def _name(value: str | date | datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return str(value)
