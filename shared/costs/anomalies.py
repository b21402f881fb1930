"""Which hours cost more than they should: three rules, each with a verdict of its own.

- `FIVE_TIMES`, the literal rule of the product description: an hour above 500 % of its baseline,
  the mean of the known hours among the 168 before it. At least 24 of them must be known.
- `HOUR_OF_WEEK`: an hour, or the 6 hours that end with it, above what these hours of the week cost
  (see `baselines`) by more than their variance explains, which grows with the level (see `spread`).
  The limit follows from how many false alarms a series may raise in a week. At least 168 hours
  must be known.
- `PER_REQUEST`: the cost per request of the hour, or of the 24 hours that end with it, above that
  of the fourteen days before. The variance falls with the number of requests, so a thousand calls
  show a small shift within the hour, and a few calls a large one within the day.

The last two never call an excess below `minimum_excess_nanos` an anomaly: nobody is woken for a
cent. What they expect of an hour comes from whole days (UTC) before it, so that a verdict does not
depend on when it is asked for, and a spike does not hide the next hour of itself.

Only what is above is looked for. An hour of which a part is not known is an anomaly if the known
part alone is one; else it is `unknown`, and never `normal`. Such hours are in no baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from shared.costs.baselines import (
    HISTORY_HOURS,
    LEAST_HOURS,
    LEAST_PER_SQUARE,
    SPAN_HOURS,
    fit_baseline,
    over_span,
)
from shared.costs.hourly import (
    HOURS_PER_DAY,
    HOURS_PER_WEEK,
    Bools,
    Floats,
    HourlySeries,
    Ints,
)
from shared.costs.spread import Spread, gamma_limits, gamma_scores
from shared.money import dollars

FIVE_TIMES = 5.0
FIVE_TIMES_HOURS = HOURS_PER_WEEK
FIVE_TIMES_LEAST_HOURS = HOURS_PER_DAY

PER_REQUEST_DAYS = 14
PER_REQUEST_LEAST_DAYS = 5
PER_REQUEST_LEAST_REQUESTS = 100
_LEAST_DIFFERENCE = 0.25
"The standard deviation of requests, at least, in relation to what one costs."
_STRAY = 4.0
"Standard deviations above which a day has no say in the variance."
_USUAL = 1.0
"The score up to which an hour by itself is as usual."
_CLIP = 0.975
"Of the requests of the fourteen days: dearer ones count as dear as this."


class CostRule(StrEnum):
    FIVE_TIMES = "five_times"
    HOUR_OF_WEEK = "hour_of_week"
    PER_REQUEST = "per_request"


class CostState(StrEnum):
    """What is known of an hour. Only the first two are findings."""

    NORMAL = "normal"
    ANOMALY = "anomaly"
    UNKNOWN = "unknown"
    "What the hour cost is not known, or not all of it."
    INSUFFICIENT = "insufficient"
    "Too little is known of the time before."
    NO_DATA = "no_data"
    "There was no request whose cost could be looked at."


@dataclass(frozen=True)
class Sensitivity:
    """What may wake somebody."""

    false_alarms_per_week: float = 0.1
    "Of one series and one rule, were its hours independent: one in ten weeks."
    minimum_excess_nanos: int = 100_000_000
    "What an anomaly costs beyond what was expected, at least: a tenth of the default day's budget."

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms_per_week < HOURS_PER_WEEK / 2:
            raise ValueError(
                f"{self.false_alarms_per_week} false alarms per week; expected above 0 and below "
                f"{HOURS_PER_WEEK // 2}"
            )
        if self.minimum_excess_nanos < 0:
            raise ValueError(f"minimum excess {self.minimum_excess_nanos}; expected 0 or more")

    def score(self, looks: int) -> float:
        """The score that is exceeded as rarely as allowed, with so many looks in each hour."""
        share = self.false_alarms_per_week / HOURS_PER_WEEK / looks
        return NormalDist().inv_cdf(1 - share)


DEFAULT_SENSITIVITY = Sensitivity()


@dataclass(frozen=True)
class CostVerdict:
    """The verdict of one rule on one hour, in nano-dollars: of the hour, or per request.

    `score` is the multiple of the baseline for `FIVE_TIMES`, else standard deviations of a normal
    variable that would be as unlikely, the tail of the series' own history allowed for. It is None
    where nothing was expected. `span_hours` is what `observed` was summed over. `observed` is None
    if it is not known, `expected` and `limit` if there is no baseline. `reason` says why there is
    no finding; None where there is one.
    """

    rule: CostRule
    state: CostState
    starts_at: datetime
    observed_nanos: int | None
    expected_nanos: int | None
    limit_nanos: int | None
    score: float | None
    span_hours: int = 1
    reason: str | None = None
    unpriced_beside: bool = False
    "Whether calls without a price came on top of what was observed."

    @property
    def anomalous(self) -> bool:
        return self.state is CostState.ANOMALY

    @property
    def explanation(self) -> str:
        """One line for the user."""
        when = f"{self.starts_at:%Y-%m-%d %H:%M} UTC"
        if self.reason is not None:
            return f"{when}: {self.state.value.replace('_', ' ')}: {self.reason}"
        each = " per request" if self.rule is CostRule.PER_REQUEST else ""
        span = f" in the {self.span_hours} hours to its end" if self.span_hours > 1 else ""
        found = "above" if self.anomalous else "within"
        least = " or more" if self.unpriced_beside else ""
        return (
            f"{when}: {dollars(self.observed_nanos)}{least}{each}{span}, {found} the limit of "
            f"{dollars(self.limit_nanos)}; {_EXPECTED[self.rule]} {dollars(self.expected_nanos)}"
        )


_EXPECTED = {
    CostRule.FIVE_TIMES: "the mean of the week before is",
    CostRule.HOUR_OF_WEEK: "what this time of the week usually costs is",
    CostRule.PER_REQUEST: "in the fourteen days before it was",
}


@dataclass(frozen=True)
class HourVerdicts:
    """All three verdicts on one hour."""

    starts_at: datetime
    five_times: CostVerdict
    hour_of_week: CostVerdict
    per_request: CostVerdict

    @property
    def all(self) -> tuple[CostVerdict, ...]:
        return (self.five_times, self.hour_of_week, self.per_request)


def judge(
    series: HourlySeries,
    since: datetime | None = None,
    sensitivity: Sensitivity = DEFAULT_SENSITIVITY,
) -> tuple[HourVerdicts, ...]:
    """The verdicts on every hour of `series` from `since` on (None: all), oldest first.

    What lies before an hour in `series` is its history: give nine weeks before `since`. One pass
    over the days, so a year costs little more than its 365 baselines. ValueError if `since` lies
    outside the series.
    """
    first = 0 if since is None else series.index_of(since)
    if not 0 <= first <= series.size:
        raise ValueError(
            f"since {since and since.isoformat()}; expected {series.starts_at.isoformat()} to "
            f"{series.ends_at.isoformat()}"
        )
    columns = (
        _five_times(series, first),
        _hour_of_week(series, first, sensitivity),
        _per_request(series, first, sensitivity),
    )
    return tuple(
        HourVerdicts(series.hour_at(first + offset), *verdicts)
        for offset, verdicts in enumerate(
            zip(*(column.verdicts(series, first) for column in columns), strict=True)
        )
    )


@dataclass(frozen=True, eq=False)
class _Column:
    """One rule's findings for consecutive hours; NaN where there is no such number."""

    rule: CostRule
    observed: Floats
    "What is known of it."
    expected: Floats
    limit: Floats
    score: Floats
    anomalous: Bools
    unknown: Bools
    reason: str
    "Where nothing is expected."
    span: Ints
    no_requests: Bools | None = None

    def verdicts(self, series: HourlySeries, first: int) -> Iterator[CostVerdict]:
        beside = (series.unpriced[first:] > 0).tolist()
        empty = [False] * len(beside) if self.no_requests is None else self.no_requests.tolist()
        rows = zip(
            self.observed.tolist(),
            self.expected.tolist(),
            self.limit.tolist(),
            self.score.tolist(),
            self.anomalous.tolist(),
            self.unknown.tolist(),
            self.span.tolist(),
            empty,
            beside,
            strict=True,
        )
        for index, row in enumerate(rows):
            observed, expected, limit, score, anomalous, unknown, span, none, unpriced = row
            reason = None
            if anomalous:
                state = CostState.ANOMALY
            elif none:
                state, reason = CostState.NO_DATA, "there was no request"
            elif unknown:
                state, reason = CostState.UNKNOWN, _UNPRICED if unpriced else _UNKNOWN
            elif math.isnan(expected):
                state, reason = CostState.INSUFFICIENT, self.reason
            else:
                state = CostState.NORMAL
            yield CostVerdict(
                rule=self.rule,
                state=state,
                starts_at=series.hour_at(first + index),
                observed_nanos=_nanos(observed),
                expected_nanos=_nanos(expected),
                limit_nanos=_nanos(limit),
                score=score if math.isfinite(score) else None,
                span_hours=span,
                reason=reason,
                unpriced_beside=unpriced,
            )


_UNKNOWN = "what the hour cost is not known"
_UNPRICED = "some of the hour's calls have no price"


def _nanos(value: float) -> int | None:
    return None if math.isnan(value) else round(value)


def _five_times(series: HourlySeries, first: int) -> _Column:
    """The literal rule. Without a known part of the hour's own cost in any mean."""
    complete = series.complete
    sums = np.concatenate(([0], np.cumsum(np.where(complete, series.cost_nanos, 0))))
    counts = np.concatenate(([0], np.cumsum(complete)))
    at = np.arange(first, series.size)
    start = np.maximum(at - FIVE_TIMES_HOURS, 0)
    known = counts[at] - counts[start]
    spent = (sums[at] - sums[start]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where((known >= FIVE_TIMES_LEAST_HOURS) & (spent > 0), spent / known, np.nan)
        observed = _observed(series, first)
        score = observed / expected
    return _Column(
        rule=CostRule.FIVE_TIMES,
        observed=observed,
        expected=expected,
        limit=FIVE_TIMES * expected,
        score=score,
        anomalous=score > FIVE_TIMES,
        unknown=~complete[first:],
        reason=f"of the {FIVE_TIMES_HOURS} hours before, fewer than {FIVE_TIMES_LEAST_HOURS} are "
        "known, or they cost nothing, of which there is no 500 %",
        span=np.ones(at.size, dtype=np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """Sums over the same span at each hour, and what was expected of them. NaN: no baseline."""

    span: int
    observed: Floats
    expected: Floats
    variance: Floats
    tail: Floats


@dataclass(frozen=True, eq=False)
class _Further:
    """Of two looks at each hour, the one that strays further."""

    longer: Bools
    observed: Floats
    expected: Floats
    limit: Floats
    score: Floats
    anomalous: Bools
    span: Ints

    @classmethod
    def of(cls, short: _Look, long: _Look, allowed: Bools, sensitivity: Sensitivity) -> _Further:
        """`allowed` is where the longer look may be taken at all."""
        threshold = sensitivity.score(2)
        looks = []
        for look in (short, long):
            score = gamma_scores(look.observed, look.expected, look.variance) / look.tail
            limit = np.maximum(
                gamma_limits(look.expected, look.variance, threshold * look.tail),
                look.expected + sensitivity.minimum_excess_nanos,
            )
            looks.append((look.observed, look.expected, limit, score, look.observed > limit))
        score_short, above_short = looks[0][3:]
        score_long, above_long = looks[1][3:]
        further = (above_long > above_short) | (
            (above_long == above_short) & (score_long > score_short)
        )
        longer = allowed & further
        observed, expected, limit, score, above = (
            np.where(longer, of_long, of_short) for of_short, of_long in zip(*looks, strict=True)
        )
        span = np.where(longer, long.span, short.span)
        return cls(longer, observed, expected, limit, score, above.astype(np.bool_), span)


def _hour_of_week(series: HourlySeries, first: int, sensitivity: Sensitivity) -> _Column:
    """Each hour by itself and with the five before it."""
    size = series.size - first
    columns = np.full((7, size), np.nan)
    complete = series.complete
    cost = np.where(complete, series.cost_nanos, np.nan)
    for midnight, start, end in _days(series, first):
        history = slice(max(midnight - HISTORY_HOURS, 0), max(midnight, 0))
        baseline = fit_baseline(cost[history], series.requests[history])
        if baseline is None:
            continue
        # With the hours before the first one, which for midnight are those of the day before.
        begin = max(start - SPAN_HOURS + 1, 0)
        asked = slice(start - begin, None)
        hours = np.arange(begin - midnight, end - midnight) % HOURS_PER_WEEK
        expected, unsure = baseline.expected[hours], baseline.uncertainty[hours]
        there = complete[begin:end]
        summed, summed_expected, summed_unsure = (
            over_span(np.where(there, values, 0))[asked]
            for values in (series.cost_nanos[begin:end], expected, unsure)
        )
        columns[:, start - first : end - first] = np.broadcast_arrays(
            expected[asked],
            (baseline.hourly.spread.variance(expected) + unsure)[asked],
            baseline.hourly.tail,
            summed,
            summed_expected,
            baseline.summed.spread.variance(summed_expected) + summed_unsure,
            baseline.summed.tail,
        )
    expected, variance, tail, summed, summed_expected, summed_variance, summed_tail = columns
    short = _Look(1, _observed(series, first), expected, variance, tail)
    long = _Look(SPAN_HOURS, summed, summed_expected, summed_variance, summed_tail)
    # An hour that is itself as usual is not called an anomaly for those before it.
    own = gamma_scores(short.observed, short.expected, short.variance) / short.tail
    found = _Further.of(short, long, complete[first:] & (own > _USUAL), sensitivity)
    return _Column(
        rule=CostRule.HOUR_OF_WEEK,
        observed=found.observed,
        expected=found.expected,
        limit=found.limit,
        score=found.score,
        anomalous=found.anomalous,
        unknown=~complete[first:],
        reason=f"fewer than {LEAST_HOURS} hours before the day are known",
        span=found.span,
    )


@dataclass(frozen=True)
class _PerRequest:
    """What a request cost in the days before, and how sums of an hour and of a day vary."""

    nanos: float
    hourly: Spread
    daily: Spread

    @classmethod
    def of(cls, cost: Floats, requests: Ints) -> _PerRequest | None:
        """From whole days of hours; NaN where not known. None if they say too little."""
        used = ~np.isnan(cost) & (requests > 0)
        n = np.where(used, requests, 0).astype(np.float64)
        spent = np.where(used, cost, 0.0)
        days_used = (n.reshape(-1, HOURS_PER_DAY).sum(axis=1) > 0).sum()
        if days_used < PER_REQUEST_LEAST_DAYS or n.sum() < PER_REQUEST_LEAST_REQUESTS:
            return None
        each = spent[used] / n[used]
        order = np.argsort(each)
        share = np.cumsum(n[used][order])
        cap = each[order][min(int(np.searchsorted(share, _CLIP * share[-1])), order.size - 1)]
        nanos = float(np.minimum(each, cap) @ n[used] / n.sum())
        if nanos <= 0:
            return None
        expected = nanos * n
        hourly = Spread.fit(
            expected[used], (spent - expected)[used], _LEAST_DIFFERENCE**2 * nanos, LEAST_PER_SQUARE
        )
        # Of days there are too few for a fit: what single requests explain is known from the hours.
        by_day, expected = (a.reshape(-1, HOURS_PER_DAY).sum(axis=1) for a in (spent, expected))
        days = expected > 0
        by_day, expected = by_day[days], expected[days]
        usual = np.abs(by_day - expected) <= _STRAY * np.sqrt(hourly.variance(expected))
        excess = (by_day - expected) ** 2 - hourly.per_level * expected
        per_square = float((excess[usual] / expected[usual] ** 2).mean()) if usual.any() else 0.0
        daily = Spread(hourly.per_level, max(per_square, LEAST_PER_SQUARE))
        return cls(nanos, hourly, daily)


def _per_request(series: HourlySeries, first: int, sensitivity: Sensitivity) -> _Column:
    """Each hour by itself and with the 23 before it; the one that strays further is reported."""
    size = series.size - first
    complete = series.complete
    cost = np.where(complete, series.cost_nanos, np.nan)
    n_hour = np.where(complete, series.requests, 0)[first:].astype(np.float64)
    spent_hour = np.where(complete, series.cost_nanos, 0)[first:].astype(np.float64)
    n_day, spent_day = (
        _last_day(np.where(complete, values, 0), first)
        for values in (series.requests, series.cost_nanos)
    )
    names = ("nanos", "hour_variance", "day_variance")
    nanos, hour_variance, day_variance = (np.full(size, np.nan) for _ in names)
    for day, begin, end in _days(series, first):
        history = slice(
            max(day - PER_REQUEST_DAYS * HOURS_PER_DAY, day % HOURS_PER_DAY), max(day, 0)
        )
        usual = _PerRequest.of(cost[history], series.requests[history]) if day > 0 else None
        if usual is None:
            continue
        judged = slice(begin - first, end - first)
        nanos[judged] = usual.nanos
        hour_variance[judged] = usual.hourly.variance(usual.nanos * n_hour[judged])
        day_variance[judged] = usual.daily.variance(usual.nanos * n_day[judged])
    ones = np.ones(size)
    found = _Further.of(
        _Look(1, spent_hour, nanos * n_hour, hour_variance, ones),
        _Look(HOURS_PER_DAY, spent_day, nanos * n_day, day_variance, ones),
        (n_hour > 0) & (gamma_scores(spent_hour, nanos * n_hour, hour_variance) > _USUAL),
        sensitivity,
    )
    n = np.where(found.longer, n_day, n_hour)
    n[n == 0] = np.nan
    return _Column(
        rule=CostRule.PER_REQUEST,
        observed=found.observed / n,
        expected=nanos,
        limit=found.limit / n,
        score=found.score,
        anomalous=found.anomalous & (n_hour > 0),
        unknown=~complete[first:],
        reason=f"fewer than {PER_REQUEST_LEAST_REQUESTS} requests or {PER_REQUEST_LEAST_DAYS} days "
        f"of the {PER_REQUEST_DAYS} days before are known",
        span=found.span,
        no_requests=series.requests[first:] == 0,
    )


def _last_day(values: Ints, first: int) -> Floats:
    """Sums of each hour from `first` on and the 23 before it."""
    sums = np.concatenate(([0], np.cumsum(values)))
    ends = np.arange(first, values.size) + 1
    found: Floats = (sums[ends] - sums[np.maximum(ends - HOURS_PER_DAY, 0)]).astype(np.float64)
    return found


def _days(series: HourlySeries, first: int) -> Iterator[tuple[int, int, int]]:
    """For each UTC day from `first` on: the index of its midnight, and its first and last + 1
    index to be judged. A midnight before the series has a negative index."""
    at = first
    while at < series.size:
        midnight = at - series.hour_at(at).hour
        end = min(midnight + HOURS_PER_DAY, series.size)
        yield midnight, at, end
        at = end


def _observed(series: HourlySeries, first: int) -> Floats:
    return np.where(series.known, series.cost_nanos, np.nan)[first:]
