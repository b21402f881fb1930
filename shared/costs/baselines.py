"""What an hour of a series is expected to cost, from up to eight weeks before it.

The expectation is a level times a profile. The level is that of the seven days before. The profile
is the median of each hour of the week, drawn towards (hour of day) x (day of week) by as much as
the noise of so few values explains the difference between the two, and by one standard error at
most (empirical Bayes with limited translation: B. Efron and C. Morris, JASA 67, 1972). So a busy
series keeps all its 168 hours, and a sparse one, where the median of eight hours says little, is
given its 24 hours and 7 days.

Nothing here is raised by a few spikes in the history: the values of each hour of the day are
clipped at their 95th percentile wherever a mean is taken, and the rest are medians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.costs.hourly import HOURS_PER_DAY, HOURS_PER_WEEK, Bools, Floats, Ints
from shared.costs.spread import Spread, gamma_scores

HISTORY_HOURS = 8 * HOURS_PER_WEEK
"What is looked back at."
LEAST_HOURS = HOURS_PER_WEEK
"Known hours without which nothing is said."

SPAN_HOURS = 6
"What is looked at together, because many small hours show what one of them does not."

_CLIP = 0.95
_DAYS = 7
_LEVEL_DRIFT = 0.25
"Relative variance of the level from week to week against which its noise is weighed: +-50 %."
_LEAST_VOTES = 3
"Weeks from which on a median outvotes a spike."
_MOST_TRANSLATION = 1.0
"Standard errors that a median is drawn at most towards the rest, if it is one of enough weeks."
_MEDIAN_VARIANCE = math.pi / 2
"Of a median, in those of a mean of as many normal values."
LEAST_PER_SQUARE = 0.05**2
"No series is believed to be steadier than 5 % from hour to hour."
_TAIL = 0.975
_TAIL_SCORE = 1.96
"The normal score that this share of the hours stays below."


@dataclass(frozen=True)
class Strays:
    """How hours, or sums of a few, strayed from what was expected of them.

    `tail` is by how much their scores are wider than a normal variable's, at least 1: scores are
    divided by it.
    """

    spread: Spread
    tail: float


@dataclass(frozen=True, eq=False)
class Baseline:
    """What is expected of the 168 hours that follow the history, in nano-dollars.

    `uncertainty` is the variance of `expected` itself. `hourly` is how single hours stray, `summed`
    how sums of `SPAN_HOURS` do. `hours` is the number of known hours behind it all.
    """

    expected: Floats
    uncertainty: Floats
    hourly: Strays
    summed: Strays
    hours: int


def fit_baseline(cost: Floats, requests: Ints) -> Baseline | None:
    """The baseline of the hours after those of `cost` (nano-dollars; NaN where not known).

    `requests` are as many; they say what one costs. Only the last `HISTORY_HOURS` count, and they
    must end with the end of a UTC day. None with fewer than `LEAST_HOURS` known ones.
    """
    if cost.size != requests.size:
        raise ValueError(f"{cost.size} costs of {requests.size} hours; expected equal lengths")
    cost, requests = cost[-HISTORY_HOURS:], requests[-HISTORY_HOURS:]
    weeks = -(-cost.size // HOURS_PER_WEEK)
    padded = np.full(weeks * HOURS_PER_WEEK, np.nan)
    padded[padded.size - cost.size :] = cost
    known = ~np.isnan(padded)
    hours = int(known.sum())
    if hours < LEAST_HOURS:
        return None
    values = np.where(known, padded, 0.0)
    clipped = _clipped(padded, known, values)
    days = _Days.of(clipped, known, weeks)
    target = days.profile
    in_sample = np.repeat(days.centred, HOURS_PER_DAY)
    before = np.repeat(days.before, HOURS_PER_DAY)
    calls = int(requests[known[padded.size - cost.size :]].sum())
    price = float(clipped.sum()) / calls if calls else 0.0

    profile, uncertainty = _shrunk(padded, known, in_sample, target, price)
    # Medians of skewed values lie below their means; all together they must come out right.
    usual = float((in_sample * np.tile(profile, weeks))[known].sum())
    correction = float(clipped[known].sum()) / usual if usual > 0 else 1.0
    profile, uncertainty = profile * correction, uncertainty * correction**2
    expected_then = before * np.tile(profile, weeks)
    known_then = np.where(known, expected_then, 0.0)
    return Baseline(
        expected=days.next * profile,
        uncertainty=days.next**2 * uncertainty,
        hourly=_strays(values[known], known_then[known], price),
        # Sums that share most of their hours say the same, so every third will do.
        summed=_strays(over_span(values)[known][::3], over_span(known_then)[known][::3], price),
        hours=hours,
    )


def over_span(hourly: Floats) -> Floats:
    """Sums of each hour and the `SPAN_HOURS` - 1 before it, as far as there are such."""
    sums: Floats = np.convolve(hourly, np.ones(SPAN_HOURS))[: hourly.size]
    return sums


def _strays(values: Floats, expected: Floats, price: float) -> Strays:
    spread = _spread(values, expected, price)
    scores = gamma_scores(values, expected, spread.variance(expected))
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return Strays(spread, 1.0)
    rank = min(int(_TAIL * scores.size), scores.size - 1)
    return Strays(spread, max(1.0, float(np.partition(scores, rank)[rank]) / _TAIL_SCORE))


def _clipped(padded: Floats, known: Bools, values: Floats) -> Floats:
    """`values` with those of each hour of the day at most their 95th percentile."""
    by_hour = np.sort(padded.reshape(-1, HOURS_PER_DAY), axis=0)  # what is not known comes last
    counts = known.reshape(-1, HOURS_PER_DAY).sum(axis=0)
    ranks = np.maximum((_CLIP * (counts - 1)).astype(np.int64), 0)
    caps = by_hour[ranks, np.arange(HOURS_PER_DAY)]
    caps = np.tile(np.where(counts > 0, caps, 0.0), padded.size // HOURS_PER_DAY)
    return np.asarray(np.minimum(values, caps))


@dataclass(frozen=True, eq=False)
class _Days:
    """Levels of days, relative to `profile`, which is (hour of day) x (day of week): 168 values.

    `centred` is around each day of the history, `before` from the days before it, `next` from the
    last seven.
    """

    profile: Floats
    centred: Floats
    before: Floats
    next: float

    @classmethod
    def of(cls, clipped: Floats, known: Bools, weeks: int) -> _Days:
        values, there = (a.reshape(-1, HOURS_PER_DAY) for a in (clipped, known.astype(float)))
        counts = there.sum(axis=0)
        by_hour = values.sum(axis=0) / np.maximum(counts, 1)
        by_hour[counts == 0] = by_hour.mean()
        spent, usual = values.sum(axis=1), there @ by_hour
        # A day of the week that was seen once may owe its level to chance, so half of it is kept.
        seen = (usual > 0).reshape(weeks, _DAYS).sum(axis=0)
        by_day = _ratio(
            spent.reshape(weeks, _DAYS).sum(axis=0), usual.reshape(weeks, _DAYS).sum(axis=0)
        )
        by_day = (seen * by_day + 1) / (seen + 1)
        usual = usual * np.tile(by_day, weeks)
        # A level that the noise of seven days explains is drawn to that of the whole history.
        overall = float(spent.sum() / usual.sum()) if usual.sum() else 0.0
        noise = spent - overall * usual
        mean = float(usual.sum()) * overall / max(int((usual > 0).sum()), 1)
        relative = float(noise @ noise) / spent.size / mean**2 / _DAYS if mean else 0.0
        trust = _LEVEL_DRIFT / (_LEVEL_DRIFT + relative)
        trailing = overall + trust * (_over_a_week(spent, usual, overall) - overall)
        centred = np.append(trailing[3:], np.repeat(trailing[-1], 3))[: spent.size]
        before = np.append(centred[:1], trailing[:-1])
        before[:_DAYS] = centred[:_DAYS]
        profile = np.outer(by_day, by_hour).ravel()
        return cls(profile, centred, before, float(trailing[-1]))


def _over_a_week(spent: Floats, usual: Floats, otherwise: float) -> Floats:
    """The level of each day and the six before it; `otherwise` where nothing is known of them."""
    window = np.ones(_DAYS)
    above = np.convolve(spent, window)[: spent.size]
    below = np.convolve(usual, window)[: spent.size]
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), otherwise)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 1.0)


def _spread(values: Floats, expected: Floats, price: float) -> Spread:
    # A sum of whole calls varies at least as their number does, hence the price of one.
    return Spread.fit(expected, values - expected, price, LEAST_PER_SQUARE)


def _shrunk(
    padded: Floats, known: Bools, levels: Floats, target: Floats, price: float
) -> tuple[Floats, Floats]:
    """The profile of 168 hours at level 1, and the variance that is left of each."""
    weeks = padded.size // HOURS_PER_WEEK
    counts = known.reshape(weeks, HOURS_PER_WEEK).sum(axis=0)
    at_one = np.where(levels > 0, padded / np.where(levels > 0, levels, 1.0), padded)
    weekly = at_one.reshape(weeks, HOURS_PER_WEEK)
    medians = np.where(counts > 0, _medians(weekly, counts), target)
    voted = counts >= _LEAST_VOTES
    # Around the medians, because what the target misses is no noise; where there are none to speak
    # of, around the target.
    around = np.tile(np.where(voted, medians, target), weeks)
    spread = _spread(at_one[known], around[known], price)
    noise = _MEDIAN_VARIANCE * spread.variance(np.maximum(target, medians * voted))
    noise = noise / np.maximum(counts, 1)
    usable = (target > 0) & (counts > 0)
    excess = np.sort((((medians - target) ** 2 - noise)[usable]) / target[usable] ** 2)
    if not voted.all():
        # The largest tenth may be spikes of a history that is too short to outvote them.
        excess = excess[: -(-excess.size * 9 // 10)]
    own = target**2 * (max(float(excess.mean()), 0.0) if excess.size else 0.0)
    trust = np.where(usable & (own > 0), own / np.where(own > 0, own + noise, 1.0), 0.0)
    moved = (1 - trust) * (target - medians)
    limits = np.where(voted, _MOST_TRANSLATION * np.sqrt(noise), np.inf)
    return medians + np.clip(moved, -limits, limits), trust * noise


def _medians(weekly: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """Medians down the columns of (weeks, 168) without what is not known, NaN if that is all."""
    ordered = np.sort(weekly, axis=0)
    columns = np.arange(ordered.shape[1])
    low = ordered[np.maximum((counts - 1) // 2, 0), columns]
    high = ordered[np.minimum(counts // 2, ordered.shape[0] - 1), columns]
    return np.asarray((low + high) / 2)
