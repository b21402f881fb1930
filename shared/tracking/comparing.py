"""Two runs, or two experiments, metric by metric. Pure.

A run has one value of a metric, and one value has no interval. Two runs are told apart where they
logged the same episodes: those are pairs. Of experiments each run is a trial.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, variance
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95
FEWEST_PAIRS: Final = 2
FEWEST_RUNS: Final = 2


class Method(StrEnum):
    """How a difference was judged."""

    ONE_VALUE = "one value each"
    "Nothing says how much the values vary: there is no interval."
    PAIRED = "paired t"
    MCNEMAR = "paired t interval, exact McNemar p"
    WELCH = "Welch"


class Bounds(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Side:
    """What a metric was on one side; `n` episodes or runs, of which it is the mean."""

    value: float | None
    n: int
    interval: Bounds | None = None


@dataclass(frozen=True)
class MetricComparison:
    """`difference` is that of `other` minus that of `base`; 95 % interval, two-sided p-value.

    `pairs` are the episodes that both sides have; None where pairs are not what was compared.
    """

    metric: str
    base: Side
    other: Side
    method: Method
    difference: float | None
    interval: Bounds | None = None
    p_value: float | None = None
    pairs: int | None = None
    note: str | None = None


Episodes = Mapping[str, Mapping[str, float]]
"Of each metric the value of each episode."


def by_episode(points: Iterable[tuple[str, str | None, float]]) -> dict[str, dict[str, float]]:
    """Metric, episode and value of points; an episode with several values has their mean."""
    values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for metric, episode, value in points:
        if episode is not None:
            values[metric][episode].append(value)
    return {
        metric: {episode: fmean(found) for episode, found in episodes.items()}
        for metric, episodes in values.items()
    }


def compare_runs(
    base: Mapping[str, float],
    other: Mapping[str, float],
    base_episodes: Episodes,
    other_episodes: Episodes,
) -> list[MetricComparison]:
    """All metrics of two runs, by name; `base` and `other` are their last values."""
    return [
        _paired(name, base_episodes[name], other_episodes[name])
        if name in base_episodes and name in other_episodes
        else _single(name, base.get(name), other.get(name))
        for name in sorted(base.keys() | other.keys())
    ]


def compare_experiments(
    base: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]
) -> list[MetricComparison]:
    """All metrics of the runs of two experiments, by name: each run is a trial."""
    names = {name for run in (*base, *other) for name in run}
    return [
        _independent(
            name,
            [run[name] for run in base if name in run],
            [run[name] for run in other if name in run],
        )
        for name in sorted(names)
    ]


def _single(name: str, base: float | None, other: float | None) -> MetricComparison:
    difference = None if base is None or other is None else other - base
    return MetricComparison(
        name,
        Side(base, 0 if base is None else 1),
        Side(other, 0 if other is None else 1),
        Method.ONE_VALUE,
        difference,
    )


def _paired(name: str, base: Mapping[str, float], other: Mapping[str, float]) -> MetricComparison:
    shared = sorted(base.keys() & other.keys())
    ours, theirs = [base[one] for one in shared], [other[one] for one in shared]
    sides = _mean(list(base.values())), _mean(list(other.values()))
    binary = set(ours) | set(theirs) <= {0.0, 1.0}
    method = Method.MCNEMAR if binary else Method.PAIRED
    if len(shared) < FEWEST_PAIRS or not all(map(math.isfinite, ours + theirs)):
        why = (
            "values that are not finite"
            if len(shared) >= FEWEST_PAIRS
            else f"{len(shared)} episodes that both have; at least {FEWEST_PAIRS}"
        )
        return MetricComparison(name, *sides, method, None, pairs=len(shared), note=why)
    changes = [b - a for a, b in zip(ours, theirs, strict=True)]
    interval, p_value = _student(
        fmean(changes), math.sqrt(variance(changes) / len(changes)), len(changes) - 1
    )
    if binary:
        p_value = _mcnemar_p(changes.count(1.0), changes.count(-1.0))
    return MetricComparison(
        name, *sides, method, fmean(changes), interval, p_value, pairs=len(shared)
    )


def _independent(name: str, base: list[float], other: list[float]) -> MetricComparison:
    """B. L. Welch, Biometrika 34 (1947), 28-35, with his and Satterthwaite's degrees of freedom."""
    sides = _mean(base), _mean(other)
    if not all(map(math.isfinite, base + other)):
        return MetricComparison(name, *sides, Method.WELCH, None, note="values that are not finite")
    if not base or not other:
        return MetricComparison(name, *sides, Method.WELCH, None, note="runs on one side alone")
    difference = fmean(other) - fmean(base)
    if min(len(base), len(other)) < FEWEST_RUNS:
        return MetricComparison(
            name, *sides, Method.WELCH, difference, note=f"fewer than {FEWEST_RUNS} runs on a side"
        )
    parts = [variance(values) / len(values) for values in (base, other)]
    total = math.fsum(parts)
    spread = math.fsum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (base, other), strict=True)
    )
    degrees = total**2 / spread if spread else math.inf
    interval, p_value = _student(difference, math.sqrt(total), degrees)
    return MetricComparison(name, *sides, Method.WELCH, difference, interval, p_value)


def _mean(values: Sequence[float]) -> Side:
    if not values:
        return Side(None, 0)
    mean = fmean(values)
    if len(values) < FEWEST_RUNS or not all(map(math.isfinite, values)):
        return Side(mean, len(values))
    error = math.sqrt(variance(values) / len(values))
    return Side(mean, len(values), _student(mean, error, len(values) - 1)[0])


def _student(value: float, error: float, degrees: float) -> tuple[Bounds | None, float | None]:
    """Interval and two-sided p-value of a mean. None of both where nothing has varied: that a few
    values are alike does not say that all would be."""
    from scipy.special import stdtr, stdtrit

    if not error:
        return None, None
    half = float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) * error
    return Bounds(value - half, value + half), 2 * float(stdtr(degrees, -abs(value) / error))


def _mcnemar_p(gained: int, lost: int) -> float:
    """Exact: under no difference each changed pair went either way with even odds.

    Q. McNemar, Psychometrika 12 (1947), 153-157.
    """
    from scipy.special import bdtr

    changed = gained + lost
    return min(1.0, 2 * float(bdtr(min(gained, lost), changed, 0.5))) if changed else 1.0
