"""Two agents, or two runs, on the same tasks with the same seeds: pair by pair.

Pairs take the difficulty of a task out of the comparison: the interval of the difference is
narrower than that of two separate rates (E. Miller, "Adding Error Bars to Evals", arXiv:2411.00640,
2024, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from shared.evaluation.intervals import Interval, wilson
from shared.evaluation.results.bootstrap import bootstrap_interval
from shared.evaluation.results.clustering import Cluster, clustered_mean, student_quantile

Unit = tuple[str, int]
"A task, with its benchmark and its definition, and a seed."


SIGNIFICANT: Final = 0.05


class Finding(StrEnum):
    """What a comparison has shown of the other one against the base."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE_SHOWN = "no difference shown"
    UNKNOWN = "unknown"
    "There are no pairs, or all are of one task."


@dataclass(frozen=True)
class Comparison:
    """`other` against `base`, over the pairs that both have a score for."""

    pairs: int
    tasks: int
    only_base: int
    "Units that the base has a score for and the other one has not."
    only_other: int
    base_rate: float | None
    other_rate: float | None
    gained: int
    "Pairs in which only the other one succeeded."
    lost: int
    "Pairs in which only the base succeeded."
    difference: float | None
    "Of the rates: the other one's minus the base's."
    interval: Interval | None
    "95 %, seeds clustered by task."
    bootstrap: Interval | None
    "The same by drawing tasks again; None where all tasks differ by the same."
    p_value: float | None
    "Sign-flip permutation over tasks."
    mcnemar_p: float | None
    "Exact McNemar over pairs, which holds only where seeds of a task are independent."

    @property
    def missing(self) -> int:
        return self.only_base + self.only_other

    @property
    def finding(self) -> Finding:
        """A difference is shown only where the interval and the test agree on it."""
        if self.interval is None or self.p_value is None:
            return Finding.UNKNOWN
        if self.p_value > SIGNIFICANT:
            return Finding.NO_DIFFERENCE_SHOWN
        if self.interval.low > 0:
            return Finding.BETTER
        return Finding.WORSE if self.interval.high < 0 else Finding.NO_DIFFERENCE_SHOWN


def compare_paired(base: Mapping[Unit, bool], other: Mapping[Unit, bool]) -> Comparison:
    """Compare the successes of scored units; figures are None where there are no pairs."""
    units = sorted(base.keys() & other.keys())
    by_task: dict[str, list[int]] = {}
    for unit in units:
        by_task.setdefault(unit[0], []).append(int(other[unit]) - int(base[unit]))
    differences = list(by_task.values())
    gained = sum(value > 0 for values in differences for value in values)
    lost = sum(value < 0 for values in differences for value in values)
    n = len(units)
    return Comparison(
        pairs=n,
        tasks=len(differences),
        only_base=len(base.keys() - other.keys()),
        only_other=len(other.keys() - base.keys()),
        base_rate=sum(base[unit] for unit in units) / n if n else None,
        other_rate=sum(other[unit] for unit in units) / n if n else None,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / n if n else None,
        interval=difference_interval(differences),
        bootstrap=bootstrap_interval([Cluster(sum(values), len(values)) for values in differences]),
        p_value=sign_flip_p([sum(values) for values in differences]) if n else None,
        mcnemar_p=mcnemar_p(gained, lost) if n else None,
    )


def difference_interval(
    differences: Sequence[Sequence[int]], confidence: float = 0.95
) -> Interval | None:
    """Interval of the mean of differences (-1, 0 or 1), one sequence per task.

    Student's, with the cluster-robust variance of `clustered_mean`; None for fewer than two tasks.
    Where the tasks do not differ at all, their spread cannot be told: each task then counts as one
    trial, and the bound is Wilson's for none of as many.
    """
    found = clustered_mean([Cluster(sum(values), len(values)) for values in differences])
    if found is None:
        return None
    half = student_quantile(found.degrees, confidence) * math.sqrt(found.variance)
    if half == 0:
        nothing_of_all = wilson(0, found.clusters, confidence)
        half = nothing_of_all.high if nothing_of_all else 1.0
    return Interval(max(-1.0, found.mean - half), min(1.0, found.mean + half))


def sign_flip_p(sums: Sequence[int]) -> float:
    """Two-sided p-value that the tasks' summed differences are as often for as against.

    Under the hypothesis each task's sum could as well have had the other sign. The distribution of
    the total over all 2^C signs is exact: a convolution over integers (R. A. Fisher, "The Design
    of Experiments", 1935, chapter III; the convolution is that of M. Pagano and D. Tritchler, JASA
    78 (1983), 435-440). Tasks whose sum is 0 say nothing; without any other, it is 1.
    """
    sizes = [abs(value) for value in sums if value]
    reach = sum(sizes)
    # chances[i] is the probability of the total i - reach.
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    totals = np.arange(-reach, reach + 1)
    as_far = np.abs(totals) >= abs(sum(sums))
    return min(1.0, float(chances[as_far].sum()))


def mcnemar_p(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test: the pairs that differ are a fair coin's.

    Q. McNemar, Psychometrika 12 (1947); the exact form is binomial(gained + lost, 1/2).
    """
    n, fewer = gained + lost, min(gained, lost)
    # Each coefficient from the one before it: from scratch, ten thousand pairs take a minute.
    below = coefficient = 1
    for k in range(fewer):
        coefficient = coefficient * (n - k) // (k + 1)
        below += coefficient
    return float(min(1.0, 2 * below / 2**n))
