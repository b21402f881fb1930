"""How far a sum of costs strays from what is expected, and how unlikely a larger one is.

A sum of many calls varies for two reasons: calls come and cost at random, so the variance grows
with the level, and some hours are busier than others for all calls, so it grows with its square:

    variance = per_level * level + per_square * level**2

The first is what over-dispersed counts have (P. McCullagh and J. A. Nelder, "Generalized Linear
Models", 2nd ed. 1989, section 6.2), both together are those of a negative binomial that is counted
in the price of a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from shared.costs.hourly import Floats

_ROUNDS = 3
_FIRST_SHARE = 0.95
_STRAY = 4.0
"Scores above this have no say in the variance: they are what is looked for."


@dataclass(frozen=True)
class Spread:
    """`per_level` in the unit of the values, `per_square` without one; both at least 0."""

    per_level: float
    per_square: float

    @classmethod
    def fit(
        cls, levels: Floats, residuals: Floats, least_per_level: float, least_per_square: float
    ) -> Self:
        """The spread of `residuals` around `levels` above 0, without the far strays above.

        Least squares of the squared residuals on level and squared level, each weighted by the
        inverse square of the variance of the round before. ValueError for different lengths.
        """
        if levels.size != residuals.size:
            raise ValueError(f"{levels.size} levels of {residuals.size} residuals; expected equal")
        used = levels > 0
        level, residual = (levels, residuals) if used.all() else (levels[used], residuals[used])
        if not level.size:
            return cls(least_per_level, least_per_square)
        squared, level_squared = residual * residual, level * level
        # The first guess is without the largest twentieth: in it are strays that hide each other.
        most = max(int(_FIRST_SHARE * level.size), 1)
        first = float(np.partition(squared / level, most - 1)[:most].mean())
        found = cls(max(first, least_per_level), least_per_square)
        for _ in range(_ROUNDS):
            variance = found.variance(level)
            # Where a gamma variable's score is below it, as in `gamma_limits`.
            inverse = (found.per_level / level + found.per_square) / 9
            root = np.maximum(1 - inverse + _STRAY * np.sqrt(inverse), 0)
            kept = level + residual < level * root * root * root
            weights = kept / (variance * variance)
            by_level, by_square = weights * level, weights * level_squared
            a, b, c = (
                float(sums)
                for sums in (by_level @ level, by_level @ level_squared, by_square @ level_squared)
            )
            u, v = float(by_level @ squared), float(by_square @ squared)
            determinant = a * c - b * b
            if determinant > 1e-9 * a * c:
                per_level = (c * u - b * v) / determinant
                per_square = (a * v - b * u) / determinant
            else:  # all levels are alike, and which of the two it is does not matter
                per_level, per_square = -1.0, 0.0
            if per_square < 0:
                per_level, per_square = _share(u, a), 0.0
            elif per_level < 0:
                per_level, per_square = 0.0, _share(v, c)
            # What is least is added to what was found and not taken from the other of the two.
            found = cls(max(per_level, least_per_level), max(per_square, least_per_square))
        return found

    def variance(self, levels: Floats) -> Floats:
        """The variance at each level."""
        variance: Floats = levels * (self.per_level + self.per_square * levels)
        return variance


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def gamma_scores(values: Floats, means: Floats, variances: Floats) -> Floats:
    """How unlikely values at least this large are, as standard deviations of a normal variable.

    For gamma variables with these means and variances, which are skewed to the right as costs are,
    by the cube root of E. B. Wilson and M. M. Hilferty (PNAS 17, 1931): (x / mean)**(1/3) is all
    but normal with mean 1 - 1 / (9 k) and variance 1 / (9 k), k = mean**2 / variance. Where the
    mean is 0 the score is 0 for the value 0, and infinite above.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = variances / (9 * means * means)
        scores: Floats = (np.cbrt(values / means) - 1 + inverse) / np.sqrt(inverse)
    nothing = (means <= 0) | (variances <= 0)
    if nothing.any():
        scores[nothing] = np.where(values[nothing] > means[nothing], np.inf, 0.0)
    return scores


def gamma_limits(means: Floats, variances: Floats, scores: Floats | float) -> Floats:
    """The values with these scores, which are above 0: the inverse of `gamma_scores`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = variances / (9 * means * means)
        roots = np.maximum(1 - inverse + scores * np.sqrt(inverse), 0)
        limits: Floats = means * roots * roots * roots
    nothing = (means <= 0) | (variances <= 0)
    if nothing.any():
        limits[nothing] = means[nothing]
    return limits
