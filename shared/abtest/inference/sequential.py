"""Intervals and p-values that may be looked at at any time, as often as one likes.

What holds at all sample sizes at once is wider than what holds at one: about 1.5 times, near the
number of units that it is made for. In return a test may be stopped when it has shown enough.
"""

from __future__ import annotations

import math

from shared.abtest.inference.estimates import Estimate
from shared.evaluation.intervals import Interval


def mixture_scale(units: float, alpha: float = 0.05) -> float:
    """rho, for which the interval is narrowest at so many `units`.

        rho = sqrt((-2 ln alpha + ln(-2 ln alpha) + 1) / units)

    (I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, "Time-uniform central limit
    theory and asymptotic confidence sequences", Annals of Statistics 52, 2024, appendix B.2.) It
    has to be chosen before the data are seen, and stay. ValueError unless units > 0, 0 < alpha < 1.
    """
    if units <= 0:
        raise ValueError(f"{units} units; expected above 0")
    twice = -2 * math.log(_checked(alpha))
    return math.sqrt((twice + math.log(twice) + 1) / units)


def confidence_sequence(found: Estimate, rho: float, alpha: float = 0.05) -> Interval:
    """The interval that holds the true value at all sample sizes at once, with 1 - alpha.

    Asymptotic as the central limit theorem is, so it needs some units to begin with, for which
    `verdicts` waits, and a variance that few or skewed units do not make too small, see
    `estimates.cautious_share` and `estimates.cautious`.
    """
    half = found.standard_error * reach(found.n, rho, alpha)
    return Interval(found.value - half, found.value + half)


def reach(n: float, rho: float, alpha: float = 0.05) -> float:
    """How many standard errors the interval reaches to either side, at `n` units.

        sqrt(n) sqrt(2 (n rho^2 + 1) / (n^2 rho^2) ln(sqrt(n rho^2 + 1) / alpha))

    Theorem 2.2 there, with n the units of both variants and n times the variance of the difference
    as what one of them brings.
    """
    spread = n * rho * rho
    return math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / _checked(alpha)))


def always_valid_p(found: Estimate, rho: float, null: float = 0.0) -> float:
    """The mSPRT's p-value: the least alpha whose confidence sequence leaves `null` out, 1 at most.

        1 / Lambda = sqrt(n rho^2 + 1) exp(-z^2 n rho^2 / (2 (n rho^2 + 1)))

    (R. Johari, P. Koomen, L. Pekelis and D. Walsh, "Always valid inference", Operations Research
    70, 2022, eq. 11, with the prior's variance tau^2 = n rho^2 variance.) The smallest that was
    seen so far is always valid too, and falls with time only. 1 where nothing varies and nothing
    differs.
    """
    if not found.variance:
        return 1.0 if found.value == null else 0.0
    spread = found.n * rho * rho
    square = (found.value - null) ** 2 / found.variance
    # As a logarithm: far out the exponential underflows.
    log_p = math.log(spread + 1) / 2 - square * spread / (2 * (spread + 1))
    return math.exp(min(log_p, 0.0))


def _checked(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha}; expected between 0 and 1")
    return alpha
