"""Intervals by drawing tasks again: for differences whose distribution has no formula.

Costs and steps have long tails, so the interval is read from the data and not from a normal curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from shared.evaluation.intervals import Interval, tail_probability
from shared.evaluation.results.clustering import Cluster, student_quantile

DRAWS: Final = 10_000
SEED: Final = 20_150_301
"Of the draws: the same episodes give the same interval."
_NUMBERS_AT_ONCE: Final = 2_000_000
_A_HAIR: Final = 1e-12


def bootstrap_interval(
    clusters: Sequence[Cluster], confidence: float = 0.95, *, draws: int = DRAWS, seed: int = SEED
) -> Interval | None:
    """Interval of the mean over all episodes, tasks drawn anew with replacement `draws` times.

    A cluster is a task with the sum of its episodes' values, in whatever unit, which the interval
    has too. Expanded percentile interval (T. C. Hesterberg, "What Teachers Should Know About the
    Bootstrap", The American Statistician 69 (2015), 371-386; arXiv:1411.5279): the quantiles are
    those at Phi(-sqrt(n / (n - 1)) t) for n tasks and Student's t of n - 1 degrees. The plain
    percentile interval is too narrow for few tasks, and BCa (B. Efron, JASA 82 (1987)) too: its
    correction needs a third moment, which few tasks do not show. By simulation of 8 and 20 tasks
    this one holds the truth more often than both.

    None for fewer than two tasks, and where all draws are alike: tasks that do not differ show
    nothing of how much others would. ValueError for a cluster without episodes.
    """
    if any(cluster.n < 1 for cluster in clusters):
        raise ValueError("a cluster without episodes; leave it out")
    if draws < 1:
        raise ValueError(f"{draws} draws; expected at least 1")
    tail_probability(confidence)
    if len(clusters) < 2:
        return None
    means = _drawn_means(clusters, draws, np.random.default_rng(seed))
    # The same mean of other sums of floats may miss it by a hair.
    if np.ptp(means) <= _A_HAIR * np.abs(means).max():
        return None
    tail = _expanded_tail(len(clusters), confidence)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _expanded_tail(n: int, confidence: float) -> float:
    quantile = student_quantile(n - 1, confidence)
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * quantile)


def _drawn_means(
    clusters: Sequence[Cluster], draws: int, random: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    totals = np.array([cluster.total for cluster in clusters], dtype=np.float64)
    sizes = np.array([cluster.n for cluster in clusters], dtype=np.float64)
    n = len(clusters)
    at_once = max(1, _NUMBERS_AT_ONCE // n)
    means = [
        totals[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
        for chosen in (
            random.integers(n, size=(min(at_once, draws - done), n))
            for done in range(0, draws, at_once)
        )
    ]
    return np.concatenate(means)
