"""Intervals of rates and means where the seeds of one task are alike.

Seeds of a task succeed together more often than seeds of different tasks, so n episodes say less of
an agent than n independent trials would (E. Miller, "Adding Error Bars to Evals", arXiv:2411.00640,
2024, section 2.2). Tasks are the clusters here: an interval of this module is about tasks like the
ones that were tried, and not about these tasks alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.evaluation.intervals import Interval, score_interval, tail_probability


@dataclass(frozen=True)
class Cluster:
    """What one task adds: the sum of its `n` episodes' values, n at least 1."""

    total: float
    n: int


@dataclass(frozen=True)
class ClusteredMean:
    """A mean over all episodes, and how sure it is given that they come in clusters."""

    mean: float
    variance: float
    "Of the mean."
    degrees: float
    "Degrees of freedom of the variance."
    clusters: int
    n: int


def clustered_mean(clusters: Sequence[Cluster]) -> ClusteredMean | None:
    """The mean of all episodes with its cluster-robust variance; None for fewer than two clusters.

    The variance is CR2 (R. M. Bell and D. F. McCaffrey, Survey Methodology 28 (2002), 169-181),
    which for a mean is the sum over clusters of (residual sum)^2 / (1 - n_c / n), over n^2: unlike
    the plain sandwich estimator it is not too small for few clusters. The degrees of freedom are
    Satterthwaite's under independence (J. E. Pustejovsky and E. Tipton, JBES 36 (2018), 672-683).
    Clusters of one size give the t-interval of the clusters' means. ValueError for a cluster
    without episodes.
    """
    if any(cluster.n < 1 for cluster in clusters):
        raise ValueError("a cluster without episodes; leave it out")
    if len(clusters) < 2:
        return None
    sizes = np.array([cluster.n for cluster in clusters], dtype=np.float64)
    totals = np.array([cluster.total for cluster in clusters], dtype=np.float64)
    n = sizes.sum()
    mean = totals.sum() / n
    share = sizes / n
    variance = float(np.sum((totals - mean * sizes) ** 2 / (1 - share)) / n**2)
    leverage = share**2 / (1 - share)
    between = leverage.sum() ** 2 - np.sum(leverage**2)
    degrees = float(1 / (np.sum(share**2) + between))
    return ClusteredMean(float(mean), variance, degrees, len(clusters), int(n))


def rate_interval(clusters: Sequence[Cluster], confidence: float = 0.95) -> Interval | None:
    """Interval of a rate whose episodes are clustered; None for fewer than two clusters.

    `total` of a cluster is a sum of values between 0 and 1, such as its successes. Wilson's
    interval with as many trials as the episodes are worth, p (1 - p) / variance, and Student's
    quantile for the estimated variance (E. L. Korn and B. I. Graubard, Survey Methodology 24
    (1998), 193-201; C. Franco et al., Journal of Survey Statistics and Methodology 7 (2019),
    334-364, who recommend Wilson's form). The episodes are never worth more than their number.

    At 0 % and at 100 % nothing shows how much the seeds of a task are alike: there each task
    counts as one trial, as if its seeds could only succeed or fail together. So the interval is
    wider just there, and never has width 0.
    """
    found = clustered_mean(clusters)
    if found is None:
        return None
    quantile = student_quantile(found.degrees, confidence)
    # A sum of floats may miss the ends by a hair.
    rate = min(max(found.mean, 0.0), 1.0)
    spread = rate * (1 - rate)
    if spread == 0:
        worth = float(found.clusters)
    elif found.variance <= spread / found.n:
        worth = float(found.n)
    else:
        worth = spread / found.variance
    return score_interval(rate, worth, quantile)


def mean_interval(clusters: Sequence[Cluster], confidence: float = 0.95) -> Interval | None:
    """Student's interval of a mean that cannot be negative; None for fewer than two clusters."""
    found = clustered_mean(clusters)
    if found is None:
        return None
    half = student_quantile(found.degrees, confidence) * math.sqrt(found.variance)
    return Interval(max(0.0, found.mean - half), found.mean + half)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], confidence: float = 0.95
) -> Interval | None:
    """Interval of sum(numerators) / sum(denominators), one of each per task, such as $ / success.

    The ratio's variance is linearized: C / (C - 1) sum (x_c - R y_c)^2 / (sum y)^2 for C tasks
    (W. G. Cochran, "Sampling Techniques", 3rd ed. 1977, eq. 6.13), with Student's quantile of C - 1
    degrees. Cut off at 0. None for fewer than two tasks, or a sum of denominators of 0.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (numerators, denominators))
    if x.size != y.size:
        raise ValueError(f"{x.size} numerators and {y.size} denominators; expected as many")
    if x.size < 2 or not y.sum() > 0:
        return None
    ratio = x.sum() / y.sum()
    variance = x.size / (x.size - 1) * np.sum((x - ratio * y) ** 2) / y.sum() ** 2
    half = student_quantile(x.size - 1, confidence) * math.sqrt(variance)
    return Interval(max(0.0, float(ratio - half)), float(ratio + half))


def student_quantile(degrees: float, confidence: float) -> float:
    """The two-sided quantile of Student's t distribution."""
    # Half a second to import, and commands that show no result need none of it.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - tail_probability(confidence)))
