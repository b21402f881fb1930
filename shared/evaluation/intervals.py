"""How sure a rate or a quantile is: intervals that hold for small samples."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from shared.telemetry.histograms import Histogram


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of a success rate; None if there were no trials.

    E. B. Wilson, JASA 22 (1927); recommended for small n by Brown, Cai and DasGupta, Statistical
    Science 16 (2001), eq. 4. ValueError unless 0 <= successes <= n and 0 < confidence < 1.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}; expected 0 to {n}")
    z = NormalDist().inv_cdf(1 - tail_probability(confidence))
    return score_interval(successes / n, n, z) if n else None


def score_interval(rate: float, n: float, quantile: float) -> Interval:
    """Wilson's interval of a `rate` that is worth `n` independent trials, which may be a fraction.

    `quantile` is that of the standard normal distribution, or of Student's where the variance that
    `n` comes from was estimated (see `results.clustering`).
    """
    square = quantile * quantile
    scale = 1 + square / n
    centre = (rate + square / (2 * n)) / scale
    half = quantile * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / scale
    # At the ends the bound is exactly 0 or 1, which floats miss by a hair.
    low = 0.0 if rate == 0 else max(centre - half, 0.0)
    high = 1.0 if rate == 1 else min(centre + half, 1.0)
    return Interval(low, high)


def quantile_interval(histogram: Histogram, q: float, confidence: float = 0.95) -> Interval | None:
    """Interval of the `q`-quantile of what `histogram` was sampled from, by order statistics.

    The number of values below the quantile is binomial(n, q) whatever the distribution, so two
    ranks bracket it with at least `confidence` (H. A. David and H. N. Nagaraja, "Order
    Statistics", 3rd ed. 2003, section 7.1). None where there are too few values for such ranks:
    95 % of the 95th percentile needs 72. ValueError unless 0 < q < 1 and 0 < confidence < 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"quantile {q}; expected between 0 and 1")
    tail = tail_probability(confidence)
    n = histogram.total
    if n == 0:
        return None
    first, below = _binomial_cdf(n, q)
    # The largest rank r with P(count < r) <= tail, the smallest s with P(count >= s) <= tail.
    low_rank = first + int(np.searchsorted(below, tail, side="right"))
    high_rank = first + int(np.searchsorted(below, 1 - tail, side="left")) + 1
    if low_rank < 1 or high_rank > n:
        return None
    low, high = histogram.order_statistic(low_rank), histogram.order_statistic(high_rank)
    return None if low is None or high is None else Interval(low, high)


def _binomial_cdf(n: int, q: float) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """P(count <= k) of a binomial(n, q) for k from the returned integer on.

    From ratios of neighbouring probabilities over 12 standard deviations and more around the mean;
    what lies outside is below 1e-30. So the work grows with the root of n.
    """
    reach = 12 * math.sqrt(n * q * (1 - q)) + 60
    first = max(0, math.floor(n * q - reach))
    last = min(n, math.ceil(n * q + reach))
    k = np.arange(first, last, dtype=np.float64)
    steps = np.log((n - k) / (k + 1)) + math.log(q / (1 - q))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weights = np.exp(logs - logs.max())
    return first, np.cumsum(weights) / weights.sum()


def tail_probability(confidence: float) -> float:
    """The probability outside on each side. ValueError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; expected between 0 and 1, such as 0.95")
    return (1 - confidence) / 2
