"""P-values of intervals without a formula for them: the least alpha that leaves the null out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

LEAST_P: Final = 1e-15
"What is less is not told apart."


def least_alpha(leaves_null_out: Callable[[float], bool]) -> float:
    """The least alpha whose interval leaves the null out, to a thousandth of it; 1 where none does.

    By bisection of its logarithm. `leaves_null_out` takes an alpha between 0 and 1; what it says of
    one it has to say of all that are larger, as intervals that shrink with alpha do.
    """
    low, high = math.log(LEAST_P), math.log(1 - 1e-12)
    if not leaves_null_out(math.exp(high)):
        return 1.0
    if leaves_null_out(LEAST_P):
        return LEAST_P
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if leaves_null_out(math.exp(middle)) else (middle, high)
    return math.exp(high)
