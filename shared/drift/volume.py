"""Request volume, which has seasons: hours against the same hours of the week of earlier weeks.

What a Monday morning brings varies from week to week by more than chance would make it, and all its
hours together. So a week's sum over the compared hours is one observation, however many requests it
holds, and a handful of weeks is a handful of observations: the price is that a small change needs
many weeks, and the gain that a busy tenant is not woken every second Monday.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from shared.drift.comparison import Comparison
from shared.drift.effects import Effect, Floats
from shared.drift.statistics import TestResult
from shared.drift.verdicts import MetricRule
from shared.hours import HOUR, hour_of

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOURS_PER_WEEK: Final = 168
LEAST_WEEKS: Final = 3
"Earlier weeks without which nothing is said: two have no variance to speak of."
MOST_WEEKS: Final = 8
"Older ones are not looked at."
VOLUME_RULE: Final = MetricRule(minimum_effect=0.5, minimum_values=6, effect=Effect.VOLUME_RATIO)
"Half as much again, or a third less, matters; at least six hours on both sides."

_LEAST_OF_A_WEEK: Final = 0.5
_ROUNDS: Final = 50


@dataclass(frozen=True, eq=False)
class HourlyRequests:
    """Consecutive hours from `starts_at` (UTC, on the hour) on; one value per hour.

    `requests` is 0 where `known` is False and must not be read there.
    """

    starts_at: datetime
    requests: Ints
    known: Bools

    def __post_init__(self) -> None:
        _require_hour(self.starts_at)
        if self.requests.shape != self.known.shape or self.requests.ndim != 1:
            raise ValueError(
                f"{self.requests.shape} requests and {self.known.shape} known; expected one per"
                " hour"
            )
        if self.requests.size and self.requests.min() < 0:
            raise ValueError(f"{self.requests.min()} requests of an hour; expected 0 or more")

    @classmethod
    def from_hours(
        cls,
        requests: Mapping[datetime, int],
        starts_at: datetime,
        ends_at: datetime,
        alive: Iterable[datetime],
    ) -> Self:
        """The hours from `starts_at` up to `ends_at`, by their beginnings.

        An hour that is not in `requests` had none if it is in `alive`, the hours in which something
        was collected for this tenant; else nobody knows. Hours outside are left out. ValueError
        unless times are UTC, begin an hour, and rise.
        """
        _require_hour(starts_at)
        _require_hour(ends_at)
        size = (ends_at - starts_at) // HOUR
        if size < 0:
            raise ValueError(f"hours from {starts_at.isoformat()} to {ends_at.isoformat()}")
        counts, known = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
        for hour in alive:
            _require_hour(hour)
            if starts_at <= hour < ends_at:
                known[(hour - starts_at) // HOUR] = True
        for hour, count in requests.items():
            _require_hour(hour)
            if starts_at <= hour < ends_at:
                counts[(hour - starts_at) // HOUR] = count
                known[(hour - starts_at) // HOUR] = True
        return cls(starts_at, counts, known)

    def at_level(self, level: float, before: datetime) -> Self:
        """As if the hours before `before` had brought `level` times as much."""
        first = min(max((before - self.starts_at) // HOUR, 0), self.requests.size)
        requests = self.requests.copy()
        requests[:first] = np.rint(requests[:first] * level).astype(np.int64)
        return type(self)(self.starts_at, requests, self.known)

    def until(self, end: datetime) -> Self:
        """The hours up to `end`."""
        size = min(max((end - self.starts_at) // HOUR, 0), self.requests.size)
        return type(self)(self.starts_at, self.requests[:size], self.known[:size])


@dataclass(frozen=True)
class VolumeComparison:
    """What came in the hours that can be compared. Numbers are None where nothing is known.

    `comparison` is what `verdicts.judge` takes, with `VOLUME_RULE`; its sizes are hours, because
    no request at all is a finding and not a lack of data.
    """

    comparison: Comparison
    observed: int | None
    expected: float | None
    low: float | None
    high: float | None
    "Between `low` and `high` a week like the earlier ones lies 19 times of 20."
    weeks: int
    "Earlier weeks that were compared with."
    dispersion: float | None
    "Variance of a week's sum over what chance alone makes it: 1 is Poisson."
    degrees: float | None
    "Degrees of freedom of that variance."


def compare_volume(series: HourlyRequests, hours: int = 24) -> VolumeComparison:
    """The last `hours` of `series` against the same hours of up to eight weeks before them.

    Hour h of week w is expected r_w p_h, fitted to what is known of the earlier weeks. A week's sum
    B_w with the mean m has the variance m + kappa m**2, that is dispersion 1 + kappa m (negative
    binomial: P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd ed. 1989, section
    6.2). kappa is found by moments, from the relative residuals of this window and of as many
    windows of the same length as a week holds, at least 0. The statistic is the signed root of the
    deviance of the current sum given the total, over the root of the dispersion; p is Student's.
    The days of a week rise and fall together, so J windows of W weeks are worth

        J (W - 1) / (1 + (J - 1) rho**2)

    degrees of freedom (F. E. Satterthwaite, Biometrics Bulletin 2, 1946), with rho halfway from
    what the windows' correlation within weeks seems to be to 1, which so few weeks hardly show.
    The effect is (observed + 1/2) / (expected + 1/2).

    The share of false alarms in 2,000 simulated histories of 3 to 8 weeks, at 0.05: 0.03 to 0.065
    where the level of a week varies by 10 to 40 %; 0.01 to 0.02 where a fifth or two of the hours
    are unknown as well; below 0.02 for Poisson volumes. At 0.001 it is up to 0.0025. Found at 0.05,
    and at 0.001, of 50 requests an hour over 24 hours whose weeks vary by 10 % and hours by 20 %:

        earlier weeks    1.5 times     2 times      half         none
        3                48, 0 %       87, 2 %      57, 0 %      100, 9 %
        4                63, 0 %       97, 7 %      89, 1 %      100, 52 %
        8                87, 23 %      100, 83 %    99, 35 %     100, 100 %

    So in a large sweep three or four weeks hardly show an outage. A trend of the volume is a change
    of the volume.

    An hour counts if it is known now and in at least three earlier weeks, a week if at least half
    of those hours are. Less than that is a reason, not an error. ValueError unless `hours` is 1 to
    168.
    """
    if not 1 <= hours <= HOURS_PER_WEEK:
        raise ValueError(f"{hours} hours; expected 1 to {HOURS_PER_WEEK}")
    now = slice(max(series.requests.size - hours, 0), series.requests.size)
    current, current_known = series.requests[now], series.known[now]
    earlier, known = _same_hours(series, now)
    if not current_known.any():
        return _nothing((int(known.sum()), 0), 0, "no current hour is known")
    if not known.any():
        return _nothing((0, int(current_known.sum())), 0, "no earlier week is known")
    known = known & current_known
    weeks = _Weeks.fit(earlier, known)
    if weeks is None:
        most = min(int(known.sum(axis=0).max()), LEAST_WEEKS - 1)
        reason = f"{most} earlier weeks are known; expected at least {LEAST_WEEKS}"
        return _nothing((int(known.sum()), int(current_known.sum())), most, reason)
    sizes = (weeks.cells, int(weeks.used.sum()))
    observed, before = int(current[weeks.used].sum()), float(weeks.sums.sum())
    if before + observed == 0:
        return _nothing(sizes, weeks.size, "there was no request in any of these hours")
    share = weeks.exposure / (weeks.exposure + float(weeks.exposures.sum()))
    expected = before * share / (1 - share)
    kappa, degrees = _dispersion(series, now, weeks)
    dispersion = 1 + kappa * expected
    statistic = _signed_root(observed, before, share) / math.sqrt(dispersion)
    from scipy.special import stdtr, stdtrit

    p = min(2 * float(stdtr(degrees, -abs(statistic))), 1.0)
    spread = math.sqrt(dispersion * max(expected, 1.0) / (1 - share))
    reach = float(stdtrit(degrees, 0.975)) * spread
    ratio = (observed + 0.5) / (expected + 0.5)
    test = TestResult(_NAME, statistic, p, Effect.VOLUME_RATIO, ratio, *sizes)
    return VolumeComparison(
        comparison=Comparison((test,), {Effect.VOLUME_RATIO: ratio}, *sizes, None),
        observed=observed,
        expected=expected,
        low=max(expected - reach, 0.0),
        high=expected + reach,
        weeks=weeks.size,
        dispersion=dispersion,
        degrees=degrees,
    )


class ExpectedHour(NamedTuple):
    """One hour of the window. Numbers are None where they are not known.

    Between `low` and `high` lies what such an hour brings 19 times of 20.
    """

    at: datetime
    observed: int | None
    expected: float | None
    low: float | None
    high: float | None


def expected_hours(series: HourlyRequests, hours: int = 24) -> tuple[ExpectedHour, ...]:
    """Hour by hour what `compare_volume` compares: what came, beside r p_h of earlier weeks.

    A single hour varies more than a day does: its kappa is of all single hours of a week, and the
    band is m plus and minus t sqrt(m (1 + kappa m) (1 + 1 / W)) with Student's t, at least as wide
    as around one request. Simulated as there (50 requests an hour, weeks vary by 10 % and hours by
    20 %) it holds 98 % of the hours for 4 weeks and 97 % for 8; for 2 requests an hour 97 and 95 %.

    ValueError unless `hours` is 1 to 168.
    """
    if not 1 <= hours <= HOURS_PER_WEEK:
        raise ValueError(f"{hours} hours; expected 1 to {HOURS_PER_WEEK}")
    now = slice(max(series.requests.size - hours, 0), series.requests.size)
    current_known = series.known[now]
    earlier, known = _same_hours(series, now)
    weeks = _Weeks.fit(earlier, known & current_known) if current_known.any() else None
    means: Floats = np.zeros(current_known.size)
    reach: Floats = np.zeros(current_known.size)
    used = np.zeros(current_known.size, dtype=np.bool_)
    if weeks is not None:
        used = weeks.used
        means = weeks.profile * (weeks.sums.sum() / weeks.exposures.sum())
        last = now.start + int(np.flatnonzero(used)[-1])
        one = slice(last, last + 1)
        alone = _Weeks.fit(*_same_hours(series, one))
        kappa, degrees = _dispersion(series, one, weeks if alone is None else alone)
        from scipy.special import stdtrit

        variance = np.maximum(means, 1.0) * (1 + kappa * means) * (1 + 1 / weeks.size)
        reach = float(stdtrit(degrees, 0.975)) * np.sqrt(variance)
    return tuple(
        ExpectedHour(
            series.starts_at + (now.start + i) * HOUR,
            int(series.requests[now.start + i]) if current_known[i] else None,
            *(
                (float(mean), max(float(mean - half), 0.0), float(mean + half))
                if used[i]
                else (None, None, None)
            ),
        )
        for i, (mean, half) in enumerate(zip(means, reach, strict=True))
    )


_NAME: Final = "seasonal_volume"


def _nothing(sizes: tuple[int, int], weeks: int, reason: str) -> VolumeComparison:
    test = TestResult(_NAME, None, None, Effect.VOLUME_RATIO, None, *sizes, reason)
    comparison = Comparison((test,), {}, *sizes, reason)
    return VolumeComparison(comparison, None, None, None, None, weeks, None, None)


@dataclass(frozen=True, eq=False)
class _Weeks:
    """The earlier weeks of one window of hours, as far as they are compared."""

    index: Ints
    "Which of the eight weeks before, newest first."
    used: Bools
    "Hours of the window that are compared."
    cells: int
    sums: Floats
    "Requests of each week in the hours that are known of it."
    exposures: Floats
    "What those hours bring at rate 1."
    exposure: float
    "What the whole window brings."
    profile: Floats
    "What each of its hours does."

    @property
    def size(self) -> int:
        return self.index.size

    @property
    def means(self) -> Floats:
        """What each week is expected to bring if all have one rate."""
        return np.asarray(self.exposures * (self.sums.sum() / self.exposures.sum()))

    @classmethod
    def fit(cls, earlier: Ints, known: Bools) -> Self | None:
        """None if fewer than three weeks can be compared."""
        used = known.sum(axis=0) >= LEAST_WEEKS
        known = known & used
        whole = known.sum(axis=1) >= max(_LEAST_OF_A_WEEK * int(used.sum()), 1)
        if whole.sum() < LEAST_WEEKS:
            return None
        known, counts = known[whole], np.where(known, earlier, 0)[whole].astype(np.float64)
        # A week that is left out may have been the only one of an hour.
        used &= known.any(axis=0)
        profile = _profile(counts, known)
        return cls(
            np.flatnonzero(whole),
            used,
            int(known.sum()),
            counts.sum(axis=1),
            known @ profile,
            float(profile[used].sum()),
            profile,
        )


def _dispersion(series: HourlyRequests, now: slice, own: _Weeks) -> tuple[float, float]:
    """kappa, and the degrees of freedom behind it."""
    hours = now.stop - now.start
    squares, freedom, together = 0.0, 0, []
    for back in range(HOURS_PER_WEEK // hours):
        window = slice(now.start - back * hours, now.stop - back * hours)
        weeks = own if back == 0 else _Weeks.fit(*_same_hours(series, window))
        if weeks is None or not weeks.sums.any():
            continue
        residuals = weeks.sums / weeks.means - 1
        chance = (1 - 1 / weeks.size) / weeks.means
        squares += float((residuals**2 - chance).sum())
        freedom += weeks.size - 1
        if np.array_equal(weeks.index, own.index):
            together.append(residuals)
    if not freedom:
        return 0.0, float(own.size - 1)
    z = np.array(together)
    windows, variance = len(together), float((z**2).sum()) / max(z.size - len(together), 1)
    if windows < 2 or variance == 0:
        return max(squares / freedom, 0.0), float(own.size - 1)
    of_weeks = float((z.mean(axis=0) ** 2).sum()) / (own.size - 1)
    seen = min(max((windows * of_weeks / variance - 1) / (windows - 1), 0.0), 1.0)
    correlation = (1 + seen) / 2
    worth = windows / (1 + (windows - 1) * correlation**2)
    return max(squares / freedom, 0.0), worth * (own.size - 1)


def _same_hours(series: HourlyRequests, now: slice) -> tuple[Ints, Bools]:
    """(weeks, hours) of the same hours of the week before, newest first."""
    size = now.stop - now.start
    requests = np.zeros((MOST_WEEKS, size), dtype=np.int64)
    known = np.zeros((MOST_WEEKS, size), dtype=np.bool_)
    for week in range(MOST_WEEKS):
        back = (week + 1) * HOURS_PER_WEEK
        first, last = max(now.start - back, 0), max(now.stop - back, 0)
        if last > first:
            requests[week, size - (last - first) :] = series.requests[first:last]
            known[week, size - (last - first) :] = series.known[first:last]
    return requests, known


def _profile(counts: Floats, known: Bools) -> Floats:
    """What each hour brings at rate 1: the Poisson fit of r_w p_h to the known cells.

    By alternating the two equations of its maximum; where all is known the first round is exact.
    """
    rates = np.ones(counts.shape[0])
    by_hour, by_week = counts.sum(axis=0), counts.sum(axis=1)
    profile = np.zeros(counts.shape[1])
    for _ in range(_ROUNDS):
        there = rates @ known
        profile[:] = np.divide(by_hour, there, out=np.zeros_like(by_hour), where=there > 0)
        if known.all():
            break
        there = known @ profile
        rates = np.divide(by_week, there, out=np.ones_like(by_week), where=there > 0)
    # Where nothing ever came each hour is as good as the next.
    return profile if profile.any() else np.asarray(known.any(axis=0), dtype=np.float64)


def _signed_root(observed: int, before: float, share: float) -> float:
    """The root of the binomial deviance of `observed` in the total, given its expected `share`."""
    total = observed + before
    deviance = 0.0
    for count, mean in ((float(observed), share * total), (before, (1 - share) * total)):
        if count > 0:
            deviance += 2 * count * math.log(count / mean)
    return math.copysign(math.sqrt(max(deviance, 0.0)), observed - share * total)


def _require_hour(at: datetime) -> None:
    if at.tzinfo is None or at.utcoffset() != timedelta(0):
        raise ValueError(f"time {at.isoformat()}; expected UTC")
    if at != hour_of(at):
        raise ValueError(f"time {at.isoformat()}; expected the beginning of an hour")
