"""A variant's metric, and how far two variants are apart, from sums over their units.

A unit is what was assigned. Everything here takes sums that can be added up, so that a test of ten
million units is analysed as quickly as one of ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

SKEW: Final = 100.0
"How much of its relative variance is added to a figure's variance, see `cautious`."


@dataclass(frozen=True)
class Moments:
    """Of n units with two values each, y and x: means, and sums of squared deviations from them.

    y is the metric. x is the denominator of a ratio, or what was known of the unit before the test;
    0 where there is neither. They add up with `+` as the units would (T. F. Chan, G. H. Golub and
    R. J. LeVeque, The American Statistician 37, 1983), without loss where means are large.
    """

    n: int
    y: float
    yy: float
    "Sum of (y - mean)^2, as `xx`; `xy` is the sum of the products."
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        if not (self.n and other.n):
            return self if self.n else other
        dy, dx = other.y - self.y, other.x - self.x
        weight = self.n / n * other.n
        return Moments(
            n,
            self.y + dy * (other.n / n),
            self.yy + other.yy + dy * dy * weight,
            self.x + dx * (other.n / n),
            self.xx + other.xx + dx * dx * weight,
            self.xy + other.xy + dx * dy * weight,
        )


@dataclass(frozen=True)
class Estimate:
    """A figure of one variant, or a difference; `variance` is that of the figure itself.

    `degrees` are of freedom, for Student's distribution.
    """

    value: float
    variance: float
    n: int
    degrees: float

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance)


def mean(moments: Moments) -> Estimate | None:
    """The mean of y; None for fewer than two units, of which no variance is known."""
    n = moments.n
    return None if n < 2 else Estimate(moments.y, moments.yy / (n - 1) / n, n, n - 1)


def ratio(moments: Moments) -> Estimate | None:
    """The sum of y over the sum of x: cost per successful task, with units as what was drawn.

    Variance by the delta method, (s_yy - 2 R s_xy + R^2 s_xx) / (n xbar^2) (A. Deng, U. Knoblich
    and J. Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 3.1). None for
    fewer than two units, and where the mean of x is not above 0.
    """
    n = moments.n
    if n < 2 or moments.x <= 0:
        return None
    found = moments.y / moments.x
    spread = moments.yy - 2 * found * moments.xy + found * found * moments.xx
    return Estimate(found, max(spread, 0.0) / (n - 1) / n / moments.x**2, n, n - 1)


def cautious_share(moments: Moments) -> Estimate | None:
    """`ratio` of a share, 0 to 1, with a variance as if four more units had come.

    Two of them succeed in everything and two in nothing, as in A. Agresti and B. A. Coull, The
    American Statistician 52 (1998), 119-126; the value stays as it is, and so does a variance that
    is larger without them. 30 units that all fail would vary by nothing, and an interval of no
    width would exclude whatever is true.
    """
    found = ratio(moments)
    if found is None:
        return None
    middle = moments.x / 2
    more = ratio(moments + Moments(4, middle, 4 * middle * middle, moments.x, 0.0, 0.0))
    assert more is not None
    return replace(found, variance=max(found.variance, more.variance * more.n / found.n))


def cautious(found: Estimate) -> Estimate:
    """The same value with its variance raised by 100 times its relative variance.

        variance (1 + 100 variance / value^2)

    For figures that are not negative: costs, times, counts. Of few skewed units the sample seldom
    has the tail, and then both its mean and its variance are too small; the relative variance says
    how far that may be so, and falls with 1 / n, so that of many units nothing is left of it. No
    theorem: the factor is the least round one with which the intervals hold for a lognormal with
    sigma 1 at any split, see `tests/shared/abtest/test_calibration.py`.
    """
    if not found.variance or not found.value:
        return found
    raised = 1 + SKEW * found.variance / (found.value * found.value)
    return replace(found, variance=found.variance * raised)


def difference(treatment: Estimate, control: Estimate) -> Estimate:
    """Treatment minus control, with Welch's degrees of freedom.

    B. L. Welch, Biometrika 34 (1947), 28-35; F. E. Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    variance = treatment.variance + control.variance
    parts = sum(one.variance**2 / one.degrees for one in (treatment, control))
    return Estimate(
        treatment.value - control.value,
        variance,
        treatment.n + control.n,
        variance**2 / parts if parts else float(treatment.n + control.n - 2),
    )


def times(found: Estimate, factor: float) -> Estimate:
    """`factor` times the figure."""
    return Estimate(found.value * factor, found.variance * factor**2, found.n, found.degrees)


def adjusted(treatment: Moments, control: Moments) -> tuple[Moments, Moments]:
    """Both variants with y made less noisy by x, what was known of each unit before the test.

    CUPED: y - theta (x - mean of x), with theta and the mean from both variants together, so that
    the expected difference stays as it is and its variance falls by the square of the correlation
    (A. Deng, Y. Xu, R. Kohavi and T. Walker, WSDM 2013, section 3). theta is the slope within the
    variants: a real effect does not bend it. As they were where x is the same for all.
    """
    spread = treatment.xx + control.xx
    if not spread:
        return treatment, control
    theta = (treatment.xy + control.xy) / spread
    middle = (treatment + control).x
    return _less(treatment, theta, middle), _less(control, theta, middle)


def _less(moments: Moments, theta: float, middle: float) -> Moments:
    left = moments.yy - 2 * theta * moments.xy + theta * theta * moments.xx
    return Moments(moments.n, moments.y - theta * (moments.x - middle), max(left, 0.0))
