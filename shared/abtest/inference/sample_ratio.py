"""Whether units came to the variants in the proportions they should have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shared.drift.null_distributions import chi_square_sf

CONCENTRATIONS: Final = (1_000.0, 10.0)
"""Units' worth of belief in the intended split, against which others are weighed, half each: with
much of it a small deviation of many units is seen, with little of it that few all go one way."""


def sample_ratio_p(units: Sequence[int], weights: Sequence[float]) -> float | None:
    """Chi-square p-value that `units` follow `weights`; None if there are none or one variant.

    Of one look. Variants of weight 0 take no part, unless they have units: then the split surely
    does not hold.
    """
    if _where_none_should_be(units, weights):
        return 0.0
    pairs = [(count, weight) for count, weight in zip(units, weights, strict=True) if weight]
    total, whole = sum(units), math.fsum(weights)
    if not total or len(pairs) < 2:
        return None
    statistic = sum(
        (count - total * weight / whole) ** 2 / (total * weight / whole) for count, weight in pairs
    )
    return chi_square_sf(statistic, len(pairs) - 1)


def sequential_sample_ratio_p(
    units: Sequence[int],
    weights: Sequence[float],
    most: Sequence[float] | None = None,
    earlier: int | None = None,
) -> float | None:
    """The always-valid p-value that `units` follow `weights`: one may look after every unit.

    The inverse of the Bayes factor of Dirichlet(concentration x weights) priors against the weights
    themselves, a martingale if they hold (M. Lindon and A. Malek, "Anytime-valid inference for
    multinomial count data", NeurIPS 2022, eq. 5), as their mean is. The smallest so far is valid
    too. Where the shares have changed, `most` has the largest share of all that each variant was to
    get at any time: no sequence of such shares makes the units more probable than these do, so what
    is left is a supermartingale, and deviations no larger than the changes are not told. If no more
    than `earlier` units came by other shares than the present ones, all others are held to these:
    each earlier one is at most max(most / share) times as probable as these say. Variants of weight
    0 take no part, unless they have units: then it is 0. None without units, or with fewer than two
    variants. ValueError for negative units or weights, and where `most` is below a share.
    """
    if len(units) != len(weights):
        raise ValueError(f"{len(units)} counts of units and {len(weights)} weights")
    if any(count < 0 for count in units) or any(not weight >= 0 for weight in weights):
        raise ValueError(f"units {list(units)}, weights {list(weights)}; expected from 0")
    whole = math.fsum(weights)
    shares = [weight / whole if whole else 0.0 for weight in weights]
    largest = shares if most is None else most
    if any(not high >= share - 1e-9 for share, high in zip(shares, largest, strict=True)):
        raise ValueError(f"at most {list(largest)}, below the shares {shares}")
    if _where_none_should_be(units, largest):
        return 0.0
    sides = [(count, high) for count, high in zip(units, largest, strict=True) if high]
    if not sum(units) or len(sides) < 2:
        return None
    bound = _log_likelihood(units, largest)
    if (
        most is not None
        and earlier is not None
        and all(share for count, share in zip(units, shares, strict=True) if count)
    ):
        times = max(high / share for share, high in zip(shares, most, strict=True) if share)
        held = _log_likelihood(units, shares) + earlier * math.log(max(1.0, times))
        bound = min(bound, held)
    factors = [_log_marginal(sides, one) - bound for one in CONCENTRATIONS]
    # As logarithms: a factor has hundreds of digits.
    best = max(factors)
    mean = best + math.log(math.fsum(math.exp(one - best) for one in factors) / len(CONCENTRATIONS))
    return math.exp(min(-mean, 0.0))


def _where_none_should_be(units: Sequence[int], weights: Sequence[float]) -> bool:
    return any(count and not weight for count, weight in zip(units, weights, strict=True))


def _log_likelihood(units: Sequence[int], shares: Sequence[float]) -> float:
    pairs = zip(units, shares, strict=True)
    return math.fsum(count * math.log(share) for count, share in pairs if count)


def _log_marginal(sides: Sequence[tuple[int, float]], concentration: float) -> float:
    """Of (units, largest share), over all splits around these."""
    total, whole = sum(count for count, _ in sides), math.fsum(share for _, share in sides)
    found = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in sides:
        prior = concentration * share / whole
        found += math.lgamma(prior + count) - math.lgamma(prior)
    return found
