"""Data quality of one function from counts alone: is what arrives what used to arrive?

A check is broken if its share is certainly too large, by the 95 % interval, and a warning if only
the share itself is. Too large is measured against the baseline where there is one: a field that was
always missing in every third event is as it was, and no news. A check without data is `no_data`.
The interval takes events as independent; `quality_by_hour` says what is still broken without that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest
from typing import Final

from shared.drift.cut_names import LARGEST_CUT, OTHER_NAMES
from shared.evaluation.intervals import Interval, score_interval, wilson


class QualityCheck(StrEnum):
    MISSING = "missing"
    OUT_OF_RANGE = "out_of_range"
    NEW_CATEGORIES = "new_categories"
    CONSTANT = "constant"
    DUPLICATES = "duplicates"
    LATE = "late"


class QualityState(StrEnum):
    """What is known of a check. Only the first three are findings."""

    GOOD = "good"
    WARNING = "warning"
    BROKEN = "broken"
    NO_DATA = "no_data"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True)
class Limit:
    """How large a share may be: `at_most` if no baseline is known, else `rise` above it."""

    at_most: float
    rise: float

    def __post_init__(self) -> None:
        if not (0 <= self.at_most < 1 and 0 <= self.rise < 1):
            raise ValueError(f"limits {self.at_most} and {self.rise}; expected 0 to below 1")


LIMITS: Final[Mapping[QualityCheck, Limit]] = {
    QualityCheck.MISSING: Limit(at_most=0.5, rise=0.05),
    QualityCheck.OUT_OF_RANGE: Limit(at_most=0.01, rise=0.01),
    # What is new was never in the baseline, so both are the same.
    QualityCheck.NEW_CATEGORIES: Limit(at_most=0.01, rise=0.01),
    QualityCheck.DUPLICATES: Limit(at_most=0.01, rise=0.01),
    QualityCheck.LATE: Limit(at_most=0.05, rise=0.05),
}
"""All thresholds. A constant column has none: it is constant or not."""

LEAST_VALUES: Final = 30
"Values that the current window needs before a share of them is called anything."


@dataclass(frozen=True)
class ColumnCounts:
    """One field of a function's events in one window. None is what was not counted."""

    events: int
    "Events that have this field or should have it, and those that were refused for its value."
    missing: int | None
    out_of_range: int | None = None
    "Of the values that came."
    distinct: int | None = None
    "Different values; what is above 1 need not be exact."
    commonest: int | None = None
    "How often the most frequent value came."
    categories: Mapping[str, int] | None = None
    "How often each came, for a field of names."

    def __post_init__(self) -> None:
        if self.events < 0 or not 0 <= (self.missing or 0) <= self.events:
            raise ValueError(f"{self.missing} missing of {self.events} events")
        there = self.values
        if self.out_of_range is not None and not 0 <= self.out_of_range <= there:
            raise ValueError(f"{self.out_of_range} out of range of {there} values")
        if self.distinct is not None and (
            self.distinct < 0 or (self.distinct == 0) != (self.accepted == 0)
        ):
            raise ValueError(f"{self.distinct} distinct of {self.accepted} values")
        if self.categories is not None and min(self.categories.values(), default=0) < 0:
            raise ValueError("a category with a count below 0")

    @property
    def values(self) -> int:
        return self.events - (self.missing or 0)

    @property
    def accepted(self) -> int:
        """Values that are not out of range."""
        return self.values - (self.out_of_range or 0)


@dataclass(frozen=True)
class FunctionCounts:
    """The events of one function in one window. None is what was not counted."""

    events: int
    "Accepted ones, without duplicates."
    columns: Mapping[str, ColumnCounts]
    duplicates: int | None = None
    "Events that came again and were dropped, beside `events`."
    late: int | None = None
    "Of those that `came`."
    came: int | None = None
    "Accepted in the window, whenever they happened; `events` if left out."

    def __post_init__(self) -> None:
        if self.events < 0 or (self.duplicates or 0) < 0:
            raise ValueError(
                f"{self.events} events and {self.duplicates} duplicates; expected 0 up"
            )
        came = self.events if self.came is None else self.came
        if self.late is not None and not 0 <= self.late <= came:
            raise ValueError(f"{self.late} late of {came} events")


@dataclass(frozen=True)
class QualityFinding:
    """One check of one column (None: of the events themselves).

    `value` is a share, but for `CONSTANT`, where it is the number of different values.
    """

    column: str | None
    check: QualityCheck
    value: float | None
    interval: Interval | None
    baseline: float | None
    state: QualityState
    reason: str
    "The numbers in words, or why there is no finding."
    allowed: float | None = None
    "Shares up to this one are good."


def check_quality(
    baseline: FunctionCounts | None,
    current: FunctionCounts,
    limits: Mapping[QualityCheck, Limit] = LIMITS,
) -> tuple[QualityFinding, ...]:
    """Every check that was counted for, the events' own first, then columns in order of name.

    Shares have Wilson's 95 % interval. Columns that only the baseline has are missing altogether:
    `broken`. Never raises.
    """
    return tuple(_findings(baseline, current, limits))


def _findings(
    baseline: FunctionCounts | None,
    current: FunctionCounts,
    limits: Mapping[QualityCheck, Limit],
) -> Iterator[QualityFinding]:
    before = baseline if baseline is not None and baseline.events else None
    for check in (QualityCheck.DUPLICATES, QualityCheck.LATE):
        if (new := share_of(current, None, check)) is not None:
            old = None if before is None else share_of(before, None, check)
            yield _share(None, check, old, new, limits)
    names = sorted(current.columns.keys() | (before.columns.keys() if before else set()))
    for name in names:
        column = current.columns.get(name)
        known = before.columns.get(name) if before else None
        if column is None:
            # The baseline's field is in no event of now: all of it is missing.
            column = ColumnCounts(current.events, current.events)
        yield from _column(name, known, column, limits)


def share_of(
    counts: FunctionCounts,
    column: str | None,
    check: QualityCheck,
    known: Collection[str] = (),
) -> tuple[int, int] | None:
    """What a check is of: how many, of how many. None if that was not counted.

    `known` are the categories that are not new. A constant column has no share.
    """
    if column is not None:
        return _share_of_column(counts.columns.get(column), check, known)
    if check is QualityCheck.DUPLICATES and counts.duplicates is not None:
        return counts.duplicates, counts.events + counts.duplicates
    if check is QualityCheck.LATE and counts.late is not None:
        return counts.late, counts.events if counts.came is None else counts.came
    return None


def _share_of_column(
    column: ColumnCounts | None, check: QualityCheck, known: Collection[str]
) -> tuple[int, int] | None:
    if column is None:
        return None
    if check is QualityCheck.MISSING and column.missing is not None:
        return column.missing, column.events
    if check is QualityCheck.OUT_OF_RANGE and column.out_of_range is not None:
        return column.out_of_range, column.values
    if check is QualityCheck.NEW_CATEGORIES and column.categories is not None:
        new = sum(n for name, n in column.categories.items() if name not in known)
        return new, sum(column.categories.values())
    return None


def _column(
    name: str,
    before: ColumnCounts | None,
    current: ColumnCounts,
    limits: Mapping[QualityCheck, Limit],
) -> Iterator[QualityFinding]:
    for check in (QualityCheck.MISSING, QualityCheck.OUT_OF_RANGE):
        if (new := _share_of_column(current, check, ())) is not None:
            yield _share(name, check, _share_of_column(before, check, ()), new, limits)
    if current.categories is not None:
        yield _new_categories(name, before, current.categories, limits)
    if current.distinct is not None:
        yield _constant(name, before, current)


def _share(
    column: str | None,
    check: QualityCheck,
    before: tuple[int, int] | None,
    current: tuple[int, int],
    limits: Mapping[QualityCheck, Limit],
) -> QualityFinding:
    """(how many, of how many) of both windows."""
    count, n = current
    usual = before[0] / before[1] if before is not None and before[1] else None
    if n == 0:
        return QualityFinding(
            column, check, None, None, usual, QualityState.NO_DATA, "the current window is empty"
        )
    value, interval = count / n, wilson(count, n)
    said = f"{count} of {n} ({value:.2%})"
    if n < LEAST_VALUES:
        reason = f"{said}; at least {LEAST_VALUES} are needed to tell"
        return QualityFinding(
            column, check, value, interval, usual, QualityState.INSUFFICIENT, reason
        )
    limit = limits[check]
    if before is None or usual is None:
        allowed, reason = limit.at_most, f"{said}; allowed {limit.at_most:.2%}"
        certain = interval is not None and interval.low > allowed
    else:
        allowed = usual + limit.rise
        reason = f"{said}; usual {usual:.2%}, allowed {limit.rise:.2%} more"
        certain = _certain_rise(before, current) > limit.rise
    if value <= allowed:
        state = QualityState.GOOD
    else:
        state = QualityState.BROKEN if certain else QualityState.WARNING
    return QualityFinding(column, check, value, interval, usual, state, reason, allowed)


def _certain_rise(before: tuple[int, int], current: tuple[int, int]) -> float:
    """The lower bound of the difference of two shares: the baseline is a sample as well."""
    return certain_rise(
        (before[0] / before[1], before[1]), (current[0] / current[1], current[1]), _QUANTILE
    )


def certain_rise(
    before: tuple[float, float], current: tuple[float, float], quantile: float
) -> float:
    """The lower bound of the difference of two shares, each with what it is worth in values.

    R. G. Newcombe's hybrid of Wilson's intervals (Statistics in Medicine 17, 1998, method 10), one
    sided at the `quantile` of the standard normal distribution.
    """
    (was, n_was), (now, n_now) = before, current
    old, new = score_interval(was, n_was, quantile), score_interval(now, n_now, quantile)
    return now - was - math.hypot(now - new.low, old.high - was)


_QUANTILE: Final = 1.959964
"Of the 95 % interval."


def _new_categories(
    name: str,
    before: ColumnCounts | None,
    current: Mapping[str, int],
    limits: Mapping[QualityCheck, Limit],
) -> QualityFinding:
    if before is None or not before.categories:
        return QualityFinding(
            name, QualityCheck.NEW_CATEGORIES, None, None, None, QualityState.NO_DATA,
            "no category of the baseline is known",
        )  # fmt: skip
    known = known_names(before.categories, current)
    new = {category: n for category, n in current.items() if n and category not in known}
    share = (sum(new.values()), sum(current.values()))
    found = _share(name, QualityCheck.NEW_CATEGORIES, None, share, limits)
    if not new:
        return found
    largest = nsmallest(_NAMED, new, key=lambda category: (-new[category], category))
    more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
    # Names come from senders: what is shown of them is short and without line breaks.
    names = ", ".join(repr(category[:_NAME_LENGTH]) for category in largest)
    return QualityFinding(
        name, found.check, found.value, found.interval, found.baseline, found.state,
        f"{found.reason}: {names}{more}", found.allowed,
    )  # fmt: skip


def known_names(before: Mapping[str, int], current: Mapping[str, int]) -> frozenset[str]:
    """The names of `current` that are not new.

    Where the baseline counted its rare names together, a rare name may be one of those.
    """
    known = {name for name in current if before.get(name)}
    if before.get(OTHER_NAMES):
        most = LARGEST_CUT * sum(current.values())
        known |= {name for name, n in current.items() if n <= most} | {OTHER_NAMES}
    return frozenset(known)


_NAMED: Final = 3
_NAME_LENGTH: Final = 60


def _constant(name: str, before: ColumnCounts | None, current: ColumnCounts) -> QualityFinding:
    n = current.accepted
    usual = float(before.distinct) if before is not None and before.distinct else None
    value = float(current.distinct) if current.distinct else None
    if value is None:
        state, reason = QualityState.NO_DATA, "no value in the current window"
    elif n < LEAST_VALUES:
        state = QualityState.INSUFFICIENT
        reason = f"{n} values; at least {LEAST_VALUES} are needed to tell"
    elif value > 1:
        state, reason = QualityState.GOOD, f"{n} values, not all equal"
    elif usual is None:
        state, reason = QualityState.WARNING, f"all {n} values are equal; the baseline is not known"
    elif usual > 1 and by_chance(before, n) > _CHANCE:
        state = QualityState.WARNING
        reason = f"all {n} values are equal, which may be chance: one value was as common before"
    elif usual > 1:
        state = QualityState.BROKEN
        reason = f"all {n} values are equal; in the baseline they were not"
    else:
        state, reason = QualityState.GOOD, f"all {n} values are equal, as in the baseline"
    return QualityFinding(name, QualityCheck.CONSTANT, value, None, usual, state, reason)


def by_chance(before: ColumnCounts | None, n: int) -> float:
    """How likely `n` values are all equal where they are as the baseline's; 0 if that is unknown.

    At most: as if all of them were the most frequent one.
    """
    if before is None or before.commonest is None or not before.accepted:
        return 0.0
    return float((before.commonest / before.accepted) ** n)


_CHANCE: Final = 0.05
