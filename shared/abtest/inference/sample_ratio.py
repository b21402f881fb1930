"""Whether units came to the variants in the proportions they should have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

CONCENTRATIONS: Final = (1_000.0, 10.0)
"""Units' worth of belief in the intended split, against which others are weighed, half each: with
much of it a small deviation of many units is seen, with little of it that few all go one way."""


def sequential_sample_ratio_p(units: Sequence[int], weights: Sequence[float]) -> float | None:
    """The always-valid p-value that `units` follow `weights`: one may look after every unit.

    The inverse of the Bayes factor of Dirichlet(concentration x weights) priors against the weights
    themselves, a martingale if they hold (M. Lindon and A. Malek, "Anytime-valid inference for
    multinomial count data", NeurIPS 2022, eq. 5), as their mean is. The smallest so far is valid
    too. Variants of weight 0 take no part, unless they have units: then it is 0. None without
    units, or with fewer than two variants. ValueError for negative units or weights.
    """
    if len(units) != len(weights):
        raise ValueError(f"{len(units)} counts of units and {len(weights)} weights")
    if any(count < 0 for count in units) or any(not weight >= 0 for weight in weights):
        raise ValueError(f"units {list(units)}, weights {list(weights)}; expected from 0")
    if any(count and not weight for count, weight in zip(units, weights, strict=True)):
        return 0.0
    pairs = [(count, weight) for count, weight in zip(units, weights, strict=True) if weight]
    total, whole = sum(units), sum(weights)
    if not total or len(pairs) < 2:
        return None
    shares = [(count, weight / whole) for count, weight in pairs]
    factors = [_log_factor(shares, total, one) for one in CONCENTRATIONS]
    # As logarithms: a factor has hundreds of digits.
    largest = max(factors)
    mean = largest + math.log(
        math.fsum(math.exp(one - largest) for one in factors) / len(CONCENTRATIONS)
    )
    return math.exp(min(-mean, 0.0))


def _log_factor(shares: Sequence[tuple[int, float]], total: int, concentration: float) -> float:
    found = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in shares:
        prior = concentration * share
        found += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return found
