"""Which broken shares are certain though the events of an hour, and of a day, hang together.

One task that goes wrong sends twenty events that do, and what is wrong in one hour mostly is in the
next. Twenty such events say less than twenty of different days, so shares of them are no interval
of independent events: a function of few tasks would be broken and good again every other day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.drift.quality import (
    LIMITS,
    ColumnCounts,
    FunctionCounts,
    Limit,
    QualityCheck,
    QualityFinding,
    QualityState,
    by_chance,
    certain_rise,
    check_quality,
    known_names,
    share_of,
)
from shared.drift.quantities import minute
from shared.evaluation.intervals import score_interval

Floats = npt.NDArray[np.float64]
Hours = Mapping[datetime, FunctionCounts]
"By the beginning of the hour, UTC; hours without events may be missing."

Share = tuple[int, int]
"How many, of how many."

QUANTILE: Final = 3.7
"Of the standard normal distribution: 1 in 10,000. Every field of every function is asked hourly."

_CHANCE: Final = 1e-4
_LEAST_DAYS: Final = 3
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(weeks=1)
_MOST_WEEKS: Final = 4
_TIMES: Final = 2
"So much longer than ever before: what comes in bursts has been away before."


def confirmed(
    findings: Iterable[QualityFinding],
    totals: tuple[FunctionCounts | None, FunctionCounts],
    hours: tuple[Hours, Hours],
    limits: Mapping[QualityCheck, Limit] = LIMITS,
) -> tuple[QualityFinding, ...]:
    """The findings, with those that are broken made a warning where that is not certain.

    `totals` are what they were made from, baseline and current, and `hours` the same by the hour.

    A share of n values is worth n / d of them, but never less than the hours that hold them, which
    are sum(n_k)^2 / sum(n_k^2) of equal size (L. Kish, "Survey Sampling", 1965). The design effect
    d is the variance of a ratio of K clusters (W. G. Cochran, "Sampling Techniques", 3rd ed. 1977,
    eq. 6.13) over the binomial one:

        d = K / (K - 1) sum((x_k - p n_k)^2) / (p (1 - p) sum(n_k))

    is the larger of that of the hours of both windows, p being the share of both, and that of the
    baseline's own days; at least 1. Without its worst hour the share must still be too large: what
    is wrong in one hour alone is one mistake, however many events it had. Where the hours of the
    baseline hold nothing of it, while the baseline does, nothing is certain.

    A constant column is broken if as many values as there are hours would hardly ever be alike.
    """
    return tuple(
        finding
        if finding.state is not QualityState.BROKEN
        or (doubt := _doubt(finding, totals, hours, limits)) is None
        else replace(
            finding, state=QualityState.WARNING, reason=f"{finding.reason}; may be chance, {doubt}"
        )
        for finding in findings
    )


def found_late(column: str, hours: tuple[Hours, Hours]) -> QualityFinding | None:
    """That a field is missing altogether since before the current window, as a broken finding.

    `hours` are those of the baseline and of the current window. A loss that nobody looked at when
    it began is in the baseline as well, of which it is no part: what was usual is what came before
    it, and what is lost is all that came since. None where the current window holds a value, where
    the baseline's last hours do, where less than a day is left of it, where the field was not there
    at these hours of the week either, where it was away before for more than half as many hours
    with events, and where the rest is not certain (see `confirmed`).
    """
    old, new = (
        {
            hour: share
            for hour, counts in window.items()
            if (share := share_of(counts, column, QualityCheck.MISSING)) is not None and share[1]
        }
        for window in hours
    )
    there = [hour for hour, (missing, n) in old.items() if missing < n]
    if not new or not there or any(missing < n for missing, n in new.values()):
        return None
    last = max(there)
    since = min((hour for hour in old if hour > last), default=None)
    if since is None or last - min(old) < _DAY or _was_season(old, new, last):
        return None
    away = sum(1 for hour in old if hour > last) + len(new)
    if away < _TIMES * _longest_away(old, last):
        return None
    before = {hour: counts for hour, counts in hours[0].items() if hour <= last}
    lost = {hour: counts for hour, counts in hours[0].items() if hour > last} | dict(hours[1])
    usual = _together(column, (share for hour, share in old.items() if hour <= last))
    now = _together(column, new.values())
    found = confirmed(check_quality(usual, now), (usual, now), (before, lost))
    return next(
        (
            replace(finding, reason=f"{finding.reason}; none since {minute(since)} UTC")
            for finding in found
            if finding.state is QualityState.BROKEN
        ),
        None,
    )


def _was_season(
    old: Mapping[datetime, Share], new: Mapping[datetime, Share], last: datetime
) -> bool:
    """Whether the newest of these hours of the week that had events by `last` had no value."""
    for weeks in range(1, _MOST_WEEKS + 1):
        earlier = [hour - weeks * _WEEK for hour in new if hour - weeks * _WEEK <= last]
        known = [old[hour] for hour in earlier if hour in old]
        if known:
            return all(missing == n for missing, n in known)
    return False


def _longest_away(old: Mapping[datetime, Share], last: datetime) -> int:
    """In how many hours with events up to `last`, one after another, no value was there at most.

    Nights and weekends without events are no part of it, in which nothing can be missing.
    """
    longest = run = 0
    for hour in sorted(hour for hour in old if hour <= last):
        missing, n = old[hour]
        run = run + 1 if missing == n else 0
        longest = max(longest, run)
    return longest


def _together(column: str, shares: Iterable[Share]) -> FunctionCounts:
    missing, n = map(sum, zip(*shares, strict=True))
    return FunctionCounts(n, {column: ColumnCounts(n, missing)})


_HOURS_DIFFER: Final = "as its hours differ"
_HOURS_UNKNOWN: Final = "as the baseline's last hours hold none to compare with"


def _doubt(
    finding: QualityFinding,
    totals: tuple[FunctionCounts | None, FunctionCounts],
    hours: tuple[Hours, Hours],
    limits: Mapping[QualityCheck, Limit],
) -> str | None:
    """Why it is not certain, or None."""
    before, now = totals
    column, check = finding.column, finding.check
    if check is QualityCheck.CONSTANT:
        usual = None if before is None else before.columns.get(str(column))
        held = sum(1 for one in hours[1].values() if _values(one, column))
        return None if by_chance(usual, held) <= _CHANCE else _HOURS_DIFFER
    known: Collection[str] = ()
    if check is QualityCheck.NEW_CATEGORIES and before is not None:
        old, new = (one.columns[str(column)].categories or {} for one in (before, now))
        known = known_names(old, new)
    baseline, current = (_Clusters.of(each, column, check, known) for each in hours)
    limit = limits[check]
    if finding.baseline is None:
        rise = limit.at_most
        baseline = _Clusters.none()
    elif not baseline.n.size:
        # The baseline is longer than what is looked at of it: what is usual was long before.
        return _HOURS_UNKNOWN
    else:
        rise = limit.rise
    if certain_excess(baseline, current) <= rise:
        return _HOURS_DIFFER
    rest = current.without_the_worst_hour()
    usual_share = baseline.share if baseline.n.size else 0.0
    return None if rest.n.size and rest.share - usual_share > rise else _HOURS_DIFFER


def _values(counts: FunctionCounts, column: str | None) -> int:
    found = counts.columns.get(str(column))
    return 0 if found is None else found.accepted


@dataclass(frozen=True, eq=False)
class _Clusters:
    """x of n by the hour, where there are any, and the days they lie in."""

    x: Floats
    n: Floats
    days: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, hours: Hours, column: str | None, check: QualityCheck, known: Collection[str]
    ) -> _Clusters:
        found = [
            (*share, hour.toordinal())
            for hour, counts in hours.items()
            if (share := share_of(counts, column, check, known)) is not None and share[1]
        ]
        x, n, days = zip(*found, strict=True) if found else ((), (), ())
        return cls(np.array(x, float), np.array(n, float), np.array(days, np.int64))

    @classmethod
    def none(cls) -> _Clusters:
        nothing = np.zeros(0)
        return cls(nothing, nothing, nothing.astype(np.int64))

    @property
    def share(self) -> float:
        return float(self.x.sum() / self.n.sum())

    def without_the_worst_hour(self) -> _Clusters:
        rest = np.arange(self.n.size) != (self.x - self.share * self.n).argmax()
        return _Clusters(self.x[rest], self.n[rest], self.days[rest])

    def by_day(self) -> tuple[Floats, Floats]:
        days = np.unique(self.days, return_inverse=True)[1]
        x, n = (np.bincount(days, values) for values in (self.x, self.n))
        return x.astype(np.float64), n.astype(np.float64)

    def worth(self, design_effect: float) -> float:
        hours = float(self.n.sum() ** 2 / (self.n**2).sum())
        return max(float(self.n.sum()) / design_effect, hours)


def certain_excess(baseline: _Clusters, current: _Clusters) -> float:
    """By how much the current share is certainly above the baseline's; above 0 without one."""
    if not current.n.size:
        return -1.0
    effect = _design_effect(
        np.concatenate((baseline.x, current.x)), np.concatenate((baseline.n, current.n))
    )
    if not baseline.n.size:
        return score_interval(current.share, current.worth(effect), QUANTILE).low
    x, n = baseline.by_day()
    if n.size >= _LEAST_DAYS:
        effect = max(effect, _design_effect(x, n))
    return certain_rise(
        (baseline.share, baseline.worth(effect)), (current.share, current.worth(effect)), QUANTILE
    )


def _design_effect(x: Floats, n: Floats) -> float:
    p, clusters = float(x.sum() / n.sum()), n.size
    if clusters < 2 or not 0 < p < 1:
        return 1.0
    spread = float(((x - p * n) ** 2).sum()) * clusters / (clusters - 1)
    return max(spread / (p * (1 - p) * float(n.sum())), 1.0)
