"""Quantiles of units that may be looked at at any time, and how far two variants' are apart."""

from __future__ import annotations

import math

import numpy as np

from shared.abtest.inference.least_alpha import least_alpha
from shared.evaluation.intervals import Interval
from shared.telemetry.histograms import BINS, Histogram, lower_edges


def confidence_sequence_of_quantile(
    values: Histogram, quantile: float, alpha: float = 0.05
) -> Interval | None:
    """The interval that holds the quantile at all numbers of units at once, with 1 - alpha.

    From the (q - r)- to the (q + r)-quantile of the n values, with

        r = 1.5 sqrt(q (1 - q) l) + 0.8 l,    l = (1.4 ln ln(2.1 n) + ln(10 / alpha)) / n

    (S. R. Howard and A. Ramdas, "Sequential estimation of quantiles with applications to A/B
    testing and best-arm identification", Bernoulli 28, 2022, 1704-1728.) Of the
    histogram's bins the outer ends count, so that nothing is lost by them. Where q + r is above 1
    there is no upper end, and where q - r is not above 0 no lower one but 0: values are not
    negative. None without values. ValueError unless 0 < quantile < 1 and 0 < alpha < 1.
    """
    for name, value in (("quantile", quantile), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value}; expected between 0 and 1")
    n = values.total
    if not n:
        return None
    length = (1.4 * math.log(max(math.log(2.1 * n), 1.0)) + math.log(10 / alpha)) / n
    radius = 1.5 * math.sqrt(quantile * (1 - quantile) * length) + 0.8 * length
    below, above = math.floor((quantile - radius) * n), math.ceil((quantile + radius) * n)
    ranks = np.cumsum(values.counts)
    low, high = 0.0, math.inf
    if below >= 1:
        low = float(lower_edges(values.bins[np.searchsorted(ranks, below)]))
    if above <= n and (last := int(values.bins[np.searchsorted(ranks, above)])) < BINS - 1:
        high = float(lower_edges(last + 1)) - 1
    return Interval(low, high)


def difference_of_quantiles(
    treatment: Histogram, control: Histogram, quantile: float, alpha: float = 0.05
) -> Interval | None:
    """Of treatment minus control: both sides' intervals at alpha / 2. None without values."""
    one = confidence_sequence_of_quantile(treatment, quantile, alpha / 2)
    two = confidence_sequence_of_quantile(control, quantile, alpha / 2)
    if one is None or two is None:
        return None
    return Interval(one.low - two.high, one.high - two.low)


def always_valid_p_of_quantiles(
    treatment: Histogram, control: Histogram, quantile: float, null: float = 0.0
) -> float:
    """The least alpha at which the difference's interval leaves `null` out, to a thousandth of it.

    1 where none does.
    """

    def leaves_null_out(alpha: float) -> bool:
        interval = difference_of_quantiles(treatment, control, quantile, alpha)
        return interval is not None and not interval.low <= null <= interval.high

    return least_alpha(leaves_null_out)
