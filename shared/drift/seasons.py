"""What an hour usually has, learned from the other hours like it, and how far each is from that.

Hours are alike that are of the same hour of the week; where too few of them are known, of the same
hour of a weekday or of the weekend; then of either; then all. What an hour itself had is never part
of what it is compared with: among four Mondays it would pull their median to itself.

Where it is known that the level changed, hours are compared as if it had not: else those before the
change would be held for what is usual after it, in some hours of the week and not in others.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from shared.drift.effects import Floats
from shared.drift.sequential import MOST_SCORE

Series = Sequence[tuple[datetime, float | None]]
"""Hours (UTC, rising), and what each had; None where that is not known."""
Counted = Sequence[tuple[datetime, tuple[int, int] | None]]
"""Hours (UTC, rising), and how many of how many had an outcome in each."""

LEAST_ALIKE: Final = 2
"Other hours of the same hour of the week that tell what is usual: those of three weeks."
LEAST_OUTCOMES: Final = 10
"Of either outcome that the other hours hold, to tell how usual it is."

CLEAR: Final = 30.0
"""In squares of the spread: of 672 independent normal values the clearest change is above 20 in
one series of 5,000."""

_ROUNDS: Final = 6
_ROUNDING: Final = 1e-6
_SATURDAY: Final = 5
_MAD_TO_DEVIATION: Final = 1.4826
_LIKENESSES: Final[tuple[Callable[[datetime], Hashable], ...]] = (
    lambda at: (at.weekday(), at.hour),
    lambda at: (at.weekday() >= _SATURDAY, at.hour),
    lambda at: at.weekday() >= _SATURDAY,
    lambda _: None,
)
"The finest first."


def departures(series: Series, changed_at: Sequence[datetime] = ()) -> Series:
    """Each value less the median of the other hours like it; unknown stays unknown.

    `changed_at` are the hours at which the level is known to have changed, rising. The levels
    between them are fitted with the medians of the hours in turns (J. W. Tukey's median polish,
    "Exploratory Data Analysis", 1977), and stay in what is returned.
    """
    known = [(at, value) for at, value in series if value is not None]
    hours = [at for at, _ in known]
    alike = _alike(hours)
    levels = [0.0] * len(known)
    for _ in range(_ROUNDS if changed_at else 0):
        # Hours that are alike share one list.
        groups = {id(group): group for group in alike}
        usual = {
            key: median(known[j][1] - levels[j] for j in group) for key, group in groups.items()
        }
        left = [value - usual[id(group)] for (_, value), group in zip(known, alike, strict=True)]
        for first, end in _parts(hours, changed_at):
            levels[first:end] = [median(left[first:end])] * (end - first)
    found = []
    for i, group in enumerate(alike):
        others = [known[j][1] - levels[j] for j in group if j != i]
        found.append(known[i][1] - median(others) if others else 0.0)
    return _again(series, found)


def share_departures(counted: Counted, changed_at: Sequence[datetime] = ()) -> Series:
    """How many more had the outcome than of the other hours like it, in standard deviations.

        (k - n p) / sqrt(n p (1 - p) (1 + n / N))

    with k of n in the hour, and p the share of the N in the others: Pearson's residual, with what p
    itself is uncertain by. Its mean is 0 however few there are, which is not so on a scale of equal
    variance (F. J. Anscombe, Biometrika 35, 1948) where hours differ in size. The others are the
    fewest alike that are as many as in `departures` and hold `LEAST_OUTCOMES` of either outcome,
    else all. None where these all had the same.

    `changed_at` is as in `departures`; between such hours shares differ by a factor.
    """
    known = [_Hour(at, *counts) for at, counts in counted if counts is not None and counts[1]]
    hours = [hour.at for hour in known]
    levels = [1.0] * len(known)
    for _ in range(_ROUNDS if changed_at else 0):
        sums = [_sums(known, levels, likeness) for likeness in _LIKENESSES]
        usual = [_others_of(hour, 0.0, 0, sums) for hour in known]
        for first, end in _parts(hours, changed_at):
            seen = sum(hour.had for hour in known[first:end])
            expected = sum(
                hour.of * had / of
                for hour, (had, of) in zip(known[first:end], usual[first:end], strict=True)
            )
            levels[first:end] = [(seen + 0.5) / (expected + 0.5)] * (end - first)
    sums = [_sums(known, levels, likeness) for likeness in _LIKENESSES]
    found: list[float | None] = []
    for hour, level in zip(known, levels, strict=True):
        n = hour.of
        had, of = _others_of(hour, hour.had / level, n, sums)
        # What is left of a sum of floats is no outcome.
        if not _ROUNDING < had < of - _ROUNDING:
            found.append(None)
            continue
        p = had / of
        found.append((hour.had - n * p) / math.sqrt(n * p * (1 - p) * (1 + n / of)))
    places = [(at, None if not counts or not counts[1] else 0.0) for at, counts in counted]
    return _again(places, found)


def spread_of(series: Series) -> float | None:
    """The standard deviation of a value around its level, whatever levels there are.

    From the median of the absolute differences of neighbours, which a change of level hardly moves:
    1.4826 times it over the root of two. Where most neighbours are equal, the root mean square of
    the differences over the root of two instead. None for fewer than two values, or if all are
    equal.
    """
    known = np.array([value for _, value in series if value is not None], dtype=np.float64)
    if known.size < 2:
        return None
    apart: Floats = np.abs(np.diff(known))
    spread = _MAD_TO_DEVIATION * float(np.median(apart)) / math.sqrt(2)
    if spread == 0:
        spread = math.sqrt(float((apart**2).mean()) / 2)
    return spread or None


def clearest_change(
    series: Series, changed_at: Sequence[datetime], spread: float
) -> datetime | None:
    """The hour at which the level most clearly changes, beside `changed_at`; None if none is clear.

    Where n1 n2 / n (m1 - m2)**2 is largest, in squares of `spread`: the estimator of D. V. Hinkley
    (Biometrika 57, 1970), with values at most `MOST_SCORE` spreads from the middle of their part.
    """
    known = [(at, value) for at, value in series if value is not None]
    hours = [at for at, _ in known]
    clearest, found = CLEAR, None
    for first, end in _parts(hours, changed_at):
        values = np.array([value for _, value in known[first:end]]) / spread
        n = values.size
        values = np.clip(values - np.median(values), -MOST_SCORE, MOST_SCORE)
        before = np.arange(1, n)
        sums = np.cumsum(values)[:-1] - before * values.mean()
        apart = sums**2 * (n / (before * (n - before)))
        if n > 1 and apart.max() > clearest:
            clearest, found = float(apart.max()), hours[first + int(apart.argmax()) + 1]
    return found


class _Hour(NamedTuple):
    at: datetime
    had: int
    of: int


class _Held(NamedTuple):
    """Of hours that are alike: how many had the outcome at the usual level, of how many."""

    had: float
    of: int
    hours: int


_Sums = Sequence[Mapping[Hashable, _Held]]


def _alike(hours: Sequence[datetime]) -> list[Sequence[int]]:
    """Of each hour the places of those that it is compared with, itself among them."""
    groups: list[defaultdict[Hashable, list[int]]] = []
    for likeness in _LIKENESSES:
        groups.append(defaultdict(list))
        for i, at in enumerate(hours):
            groups[-1][likeness(at)].append(i)
    every = range(len(hours))
    return [
        next(
            (
                held[likeness(at)]
                for likeness, held in zip(_LIKENESSES, groups, strict=True)
                if len(held[likeness(at)]) > LEAST_ALIKE
            ),
            every,
        )
        for at in hours
    ]


def _sums(
    known: Sequence[_Hour], levels: Sequence[float], likeness: Callable[[datetime], Hashable]
) -> Mapping[Hashable, _Held]:
    found: dict[Hashable, _Held] = {}
    for hour, level in zip(known, levels, strict=True):
        had, of, hours = found.get(likeness(hour.at), (0.0, 0, 0))
        found[likeness(hour.at)] = _Held(had + hour.had / level, of + hour.of, hours + 1)
    return found


def _others_of(hour: _Hour, own_had: float, own_of: int, sums: _Sums) -> tuple[float, int]:
    """What the hours like it held, less its own: how many had the outcome, of how many."""
    had, of = 0.0, 0
    for likeness, held in zip(_LIKENESSES, sums, strict=True):
        alike = held[likeness(hour.at)]
        had, of = alike.had - own_had, alike.of - own_of
        if alike.hours > LEAST_ALIKE and min(had, of - had) >= LEAST_OUTCOMES:
            break
    return had, of


def _parts(hours: Sequence[datetime], changed_at: Sequence[datetime]) -> Iterator[tuple[int, int]]:
    """(first, end) of the hours between changes, without those that are empty."""
    starts = [bisect_left(hours, change) for change in changed_at]
    for first, end in pairwise((0, *starts, len(hours))):
        if first < end:
            yield first, end


def _again(series: Series, found: Sequence[float | None]) -> Series:
    """What was found of the known hours, in the places that they have among all."""
    left = iter(found)
    return [(at, None if value is None else next(left)) for at, value in series]
