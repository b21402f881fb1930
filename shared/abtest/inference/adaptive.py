"""Differences between variants whose shares of the units follow what they have done so far.

Then how many units each variant has depends on their values, and what one estimates for both
together does not hold: where chance was against a variant it gets few units, and stays so. But the
units of one variant, in the order they come, are drawn alike whatever decides how many come. So
its own confidence sequence, which holds at all numbers of units at once, holds at the number that
was reached, and the difference lies between the ends of both.

This needs that what units do does not change with time. Where it does, a variant that got most of
its units late differs for that reason alone, and weighting by the shares of each time would be
needed (I. Waudby-Smith, L. Wu, A. Ramdas, N. Karampatziakis and P. Mineiro, "Anytime-valid
off-policy inference for contextual bandits", 2022, arXiv:2210.10768).
"""

from __future__ import annotations

from shared.abtest.inference.estimates import Estimate
from shared.abtest.inference.least_alpha import least_alpha
from shared.abtest.inference.sequential import confidence_sequence
from shared.evaluation.intervals import Interval


def difference_of_both(
    treatment: Estimate, control: Estimate, rho: float, alpha: float = 0.05
) -> Interval:
    """Of treatment minus control: both sides' confidence sequences at alpha / 2."""
    one = confidence_sequence(treatment, rho, alpha / 2)
    two = confidence_sequence(control, rho, alpha / 2)
    return Interval(one.low - two.high, one.high - two.low)


def always_valid_p_of_both(
    treatment: Estimate, control: Estimate, rho: float, null: float = 0.0
) -> float:
    """The least alpha whose interval of the difference leaves `null` out, to a thousandth of it.

    1 where none does.
    """

    def leaves_null_out(alpha: float) -> bool:
        interval = difference_of_both(treatment, control, rho, alpha)
        return not interval.low <= null <= interval.high

    return least_alpha(leaves_null_out)
