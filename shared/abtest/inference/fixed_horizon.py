"""Intervals and p-values for one look, at a number of units that was set beforehand."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from shared.abtest.inference.estimates import Estimate, Moments
from shared.evaluation.intervals import Interval


class OneLook(NamedTuple):
    interval: Interval
    p_value: float
    "Two-sided, that there is no difference."


def welch(difference: Estimate, alpha: float = 0.05) -> OneLook:
    """Of a difference with its degrees of freedom (see `estimates.difference`).

    B. L. Welch, Biometrika 34 (1947), 28-35.
    """
    from scipy.special import stdtr, stdtrit

    value, error = difference.value, difference.standard_error
    if not error:
        return OneLook(Interval(value, value), 1.0 if value == 0 else 0.0)
    half = float(stdtrit(difference.degrees, 1 - alpha / 2)) * error
    return OneLook(
        Interval(value - half, value + half),
        min(1.0, 2 * float(stdtr(difference.degrees, -abs(value) / error))),
    )


def two_proportions_p(treatment: Moments, control: Moments) -> float:
    """The pooled two-proportion z-test's p-value, two-sided; of units that are 0 or 1.

    J. L. Fleiss, "Statistical Methods for Rates and Proportions", 3rd ed. 2003, section 3.2,
    without the correction for continuity. 1 where all units are alike or a side has none.
    """
    n = treatment.n + control.n
    if not (treatment.n and control.n):
        return 1.0
    pooled = (treatment.y * treatment.n + control.y * control.n) / n
    variance = pooled * (1 - pooled) * (1 / treatment.n + 1 / control.n)
    if variance <= 0:
        return 1.0
    return 2 * NormalDist().cdf(-abs(treatment.y - control.y) / math.sqrt(variance))
