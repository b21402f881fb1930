"""What a week or a month will have cost at its end: a figure and the interval that it will lie in.

The hours that are left are given the level of the days before, times the share that their hour of
the day and day of the week usually have. The level follows the days by exponential smoothing with
drift (R. J. Hyndman and B. Billah, International Journal of Forecasting 19, 2003, section 2, where
half of the straight trend as drift is the theta method).

How fast it follows, how much of the trend goes on, and how wrong the figure may be is tried out:
the same forecast is made at the end of every day of the history, for as many days as are to be
forecast now, and held against what came. So days that stray together, as the days of a busy week
do, make the interval wide, which errors taken one by one would not. Where the history is too short
for horizons that long, the error of the longest that fits is taken to grow with the root of the
time, as that of a random walk does. The errors of a few disjoint horizons are few, hence Student's
distribution instead of the normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from shared.costs.hourly import HOURS_PER_DAY, Bools, Floats, HourlySeries
from shared.money import call_count, dollars

LEAST_DAYS = 14
"Known days without which nothing is forecast: every day of the week twice."
HISTORY_DAYS = 91
LEAST_HOURS_OF_DAY = 12
"Known hours without which a day is not known."

_DAYS = 7
_GAINS, _TRENDS = (
    tried.ravel() for tried in np.meshgrid([0.05, 0.1, 0.2, 0.3, 0.5, 0.8], [0.0, 0.5, 1.0])
)
"What is tried out: how fast the level follows, and how much of the straight trend goes on."
_FIRST_ORIGIN = 7
"Days before the first forecast that is tried out."


class ForecastState(StrEnum):
    """What the figures are worth. Only the first is a forecast of all that will be spent."""

    FORECAST = "forecast"
    AT_LEAST = "at_least"
    "Calls without a price, or hours whose cost is not known, come on top of every figure."
    COMPLETE = "complete"
    "The period is over: the figures are what was spent."
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True)
class Forecast:
    """The cost of a period, in nano-dollars.

    `spent_nanos` is what is known to have been spent up to `known_to`. `total_nanos` is the
    forecast, between `low_nanos` and `high_nanos` in `confidence` of all cases; all three are None
    if nothing can be forecast, and `reason` says why. `unknown_hours` of the period are those
    whose cost is not known or only in part, and `unpriced_calls` the calls in them that have no
    price.
    """

    state: ForecastState
    starts_at: datetime
    ends_at: datetime
    known_to: datetime
    spent_nanos: int
    total_nanos: int | None
    low_nanos: int | None
    high_nanos: int | None
    confidence: float
    unknown_hours: int
    unpriced_calls: int
    days: int
    "Known days that the forecast rests on."
    reason: str | None = None

    @property
    def explanation(self) -> str:
        """One line for the user."""
        spent = f"{dollars(self.spent_nanos)} spent up to {self.known_to:%Y-%m-%d %H:%M} UTC"
        if self.unknown_hours:
            hours = "hour" if self.unknown_hours == 1 else "hours"
            spent += (
                f", not counting what is unknown of {self.unknown_hours} {hours} "
                f"({call_count(self.unpriced_calls)} without a price)"
            )
        if self.reason is not None:
            return f"{spent}; no forecast: {self.reason}"
        if self.state is ForecastState.COMPLETE:
            return f"{spent}, which was the end"
        least = "at least " if self.state is ForecastState.AT_LEAST else ""
        return (
            f"{spent}; {least}{dollars(self.total_nanos)} by {self.ends_at:%Y-%m-%d %H:%M} UTC "
            f"({dollars(self.low_nanos)} to {dollars(self.high_nanos)} in "
            f"{self.confidence:.0%} of all cases)"
        )


def forecast(
    series: HourlySeries, starts_at: datetime, ends_at: datetime, confidence: float = 0.9
) -> Forecast:
    """The cost from `starts_at` to `ends_at` as of the end of `series`, with its interval.

    `series` holds the hours of the period so far and, before them, its history: 13 weeks are
    looked back at. Cost that is known only in part counts as far as it is known. ValueError unless
    the series begins at or before the period and ends in it or at its end, and 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; expected between 0 and 1, such as 0.9")
    first, end = series.index_of(starts_at), series.index_of(ends_at)
    if not 0 <= first <= series.size <= end or first == end:
        raise ValueError(
            f"hours from {series.starts_at.isoformat()} to {series.ends_at.isoformat()} of a period"
            f" from {starts_at.isoformat()} to {ends_at.isoformat()}; expected to begin at or"
            " before its beginning and to end within it"
        )
    spent = int(np.where(series.known, series.cost_nanos, 0)[first:].sum())
    unknown = int((~series.complete[first:]).sum())
    left = end - series.size
    days = _Days.of(series)
    state = ForecastState.AT_LEAST if unknown or days.partly else ForecastState.FORECAST
    reason = None
    low: int | None
    total: int | None
    high: int | None
    if not left:
        low = total = high = spent
        state = ForecastState.AT_LEAST if unknown else ForecastState.COMPLETE
    elif (reason := days.shortfall) is not None:
        low = total = high = None
        state = ForecastState.INSUFFICIENT
    elif not math.isfinite(max(outlook := _outlook(days, left, confidence))):
        low = total = high = None
        state = ForecastState.INSUFFICIENT
        reason = "it was begun too lately to spend anything: no earlier forecast can be looked at"
    else:
        low, total, high = (spent + round(nanos) for nanos in outlook)
    return Forecast(
        state=state,
        starts_at=starts_at.astimezone(UTC),
        ends_at=ends_at.astimezone(UTC),
        known_to=series.ends_at,
        spent_nanos=spent,
        total_nanos=total,
        low_nanos=low,
        high_nanos=high,
        confidence=confidence,
        unknown_hours=unknown,
        unpriced_calls=int(series.unpriced[first:].sum()),
        days=int(days.known.sum()),
        reason=reason,
    )


@dataclass(frozen=True, eq=False)
class _Days:
    """The whole days (UTC) of the history, oldest first, and how days and hours usually differ."""

    spent: Floats
    "Nano-dollars of each day, made up to 24 hours; 0 where not `known`."
    known: Bools
    factors: Floats
    "Of each day: its day of the week's cost in relation to the mean day's."
    next_factors: Floats
    "The same of the 168 hours that follow the last whole day, times the hour's share of its day."
    hours_since: int
    "Hours of the series after the last whole day."
    partly: bool
    "Whether calls without a price were made in the last week."

    @classmethod
    def of(cls, series: HourlySeries) -> _Days:
        since = min(series.ends_at.hour, series.size)
        days = min((series.size - since) // HOURS_PER_DAY, HISTORY_DAYS)
        end = series.size - since
        history = slice(end - days * HOURS_PER_DAY, end)
        there = series.known[history].reshape(days, HOURS_PER_DAY)
        cost = np.where(series.known, series.cost_nanos, 0)[history].astype(np.float64)
        cost = cost.reshape(days, HOURS_PER_DAY)
        counts = there.sum(axis=0)
        by_hour = cost.sum(axis=0) / np.maximum(counts, 1)
        by_hour = by_hour / by_hour.sum() if by_hour.sum() else np.full(24, 1 / 24)
        share = there @ by_hour
        known = (there.sum(axis=1) >= LEAST_HOURS_OF_DAY) & (share > 0)
        spent = np.where(known, cost.sum(axis=1) / np.where(share > 0, share, 1.0), 0.0)
        by_day = _by_day(spent, known)
        weekdays = np.arange(-days, _DAYS) % _DAYS  # counted from the first day to be forecast
        last_week = slice(max(end - _DAYS * HOURS_PER_DAY, 0), series.size)
        return cls(
            spent=spent,
            known=known,
            factors=by_day[weekdays[:days]],
            next_factors=np.outer(by_day, by_hour).ravel(),
            hours_since=since,
            partly=bool((series.unpriced[last_week] > 0).any()),
        )

    @property
    def shortfall(self) -> str | None:
        """Why nothing can be forecast, or None."""
        known = int(self.known.sum())
        if known < LEAST_DAYS:
            return f"{known} known days; expected at least {LEAST_DAYS}"
        if not self.known[-_DAYS:].any():
            return f"nothing is known of the last {_DAYS} days"
        if not self.spent.any():
            return f"nothing was spent in {known} days"
        return None


def _by_day(spent: Floats, known: Bools) -> Floats:
    """The cost of each day of the week in relation to the seven days around it, mean 1.

    Index 0 is the day of the week of the day after the last.
    """
    if spent.size < _DAYS:
        return np.ones(_DAYS)
    sums, counts = (np.concatenate(([0.0], np.cumsum(values))) for values in (spent, known))
    start = np.clip(np.arange(spent.size) - _DAYS // 2, 0, spent.size - _DAYS)
    below = counts[start + _DAYS] - counts[start]
    around = known * (sums[start + _DAYS] - sums[start]) / np.maximum(below, 1)
    weekday = np.arange(-spent.size, 0) % _DAYS
    own = np.bincount(weekday, spent, _DAYS)
    usual = np.bincount(weekday, around, _DAYS)
    factors = np.where(usual > 0, own / np.where(usual > 0, usual, 1.0), 1.0)
    return factors / factors.mean() if factors.any() else np.ones(_DAYS)


def _outlook(days: _Days, left: int, confidence: float) -> tuple[float, float, float]:
    """Low end, figure and high end of what the next `left` hours will cost, in nano-dollars."""
    hours = np.arange(days.hours_since, days.hours_since + left)
    weights = days.next_factors[hours % days.next_factors.size]
    ahead = hours // HOURS_PER_DAY + 1.0
    horizon = max(1, round(left / HOURS_PER_DAY))
    tried = min(horizon, max((days.spent.size - _FIRST_ORIGIN) // 2, 1))
    drifts = _drifts(days)
    levels = _levels(days, drifts)
    errors = _errors(days, levels, drifts, tried)
    best = int(np.argmin(errors))
    level, drift = float(levels[best, -1]), float(_TRENDS[best] * drifts[-1])
    base = level * float(weights.sum())
    figure = max(base + drift * float(weights @ ahead), 0.0)
    # Shorter than a day the parts stray against each other: the error falls with the root only.
    stretch = math.sqrt(max(horizon / tried, HOURS_PER_DAY / left))
    disjoint = (days.spent.size - _FIRST_ORIGIN) / tried
    # What is tried out best on some days is not as good on the next.
    error = float(errors[best]) * math.sqrt(1 + 1 / disjoint) * stretch
    half = student_quantile((1 + confidence) / 2, disjoint) * error * base
    return max(figure - half, 0.0), figure, figure + half


def _levels(days: _Days, drifts: Floats) -> Floats:
    """The smoothed cost of a mean day after each day, a row for each of what is tried."""
    found = np.empty((_GAINS.size, days.spent.size))
    begun = slice(0, _FIRST_ORIGIN)
    weight = float(days.factors[begun] @ days.known[begun])
    level = np.full(_GAINS.size, float(days.spent[begun].sum()) / weight if weight else 0.0)
    rows = zip(*(a.tolist() for a in (days.spent, days.factors, days.known, drifts)), strict=True)
    for day, (spent, factor, known, drift) in enumerate(rows):
        level = level + _TRENDS * drift
        if known:
            # Days on which little is usual say little of the level.
            level = level + _GAINS * (spent - factor * level) / max(factor, 1.0)
        found[:, day] = level = np.maximum(level, 0.0)
    return found


def _drifts(days: _Days) -> Floats:
    """The slope of the straight line through the mean day's cost up to each day, per day."""
    weights = days.factors * days.known
    t = np.arange(days.spent.size, dtype=np.float64)
    n, nt, ntt, ny, nty = (
        np.cumsum(values)
        for values in (weights, weights * t, weights * t * t, days.spent, days.spent * t)
    )
    spread = n * ntt - nt * nt
    slope = np.where(spread > 0, (n * nty - nt * ny) / np.where(spread > 0, spread, 1.0), 0.0)
    slope[: LEAST_DAYS - 1] = 0.0
    return slope


def _errors(days: _Days, levels: Floats, drifts: Floats, horizon: int) -> Floats:
    """The root mean square error of forecasts so many days ahead, in relation to what was forecast
    without drift; one for each of what is tried. Infinite where the level was 0 throughout."""
    origins = np.arange(_FIRST_ORIGIN - 1, days.spent.size - horizon)
    weights = days.factors * days.known
    t = np.arange(days.spent.size, dtype=np.float64)
    spent, weight, weighted_t = (
        np.cumsum(values)[origins + horizon] - np.cumsum(values)[origins]
        for values in (days.spent, weights, weights * t)
    )
    base = levels[:, origins] * weight
    trend = _TRENDS[:, None] * (drifts[origins] * (weighted_t - origins * weight))
    errors = spent - base - trend
    squared, scale = (errors**2).sum(axis=1), (base**2).sum(axis=1)
    return np.sqrt(np.where(scale > 0, squared / np.where(scale > 0, scale, 1.0), np.inf))


def student_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's distribution, within 2 % from 2 degrees of freedom on.

    The expansion of R. A. Fisher and E. A. Cornish (Abramowitz and Stegun, "Handbook of
    Mathematical Functions", eq. 26.7.5) with four terms, for 0.5 <= probability <= 0.975.
    """
    z = NormalDist().inv_cdf(probability)
    return z + sum(
        polynomial / degrees**power
        for power, polynomial in enumerate(
            (
                (z**3 + z) / 4,
                (5 * z**5 + 16 * z**3 + 3 * z) / 96,
                (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
                (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
            ),
            start=1,
        )
    )
