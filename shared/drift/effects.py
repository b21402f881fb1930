"""How large a difference between two windows is, apart from how sure one may be of it.

Every function takes counts of the baseline and the current window over the same bins (or figures
made from them) and returns a number.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Effect(StrEnum):
    """The kinds of effect size, and what none and the most is."""

    KS_DISTANCE = "ks_distance"
    "Largest share of values that moved across any one value: 0 to 1."
    AUC = "auc"
    "Chance that a current value exceeds a baseline one, ties half: 0.5 is none, 0 and 1 the most."
    WASSERSTEIN = "wasserstein"
    "Mean distance that values moved, in the metric's unit: from 0."
    JENSEN_SHANNON = "jensen_shannon"
    "Distance between the distributions, base 2: 0 to 1."
    PSI = "psi"
    "Population stability index: from 0; 0.1 is called small and 0.25 large."
    CRAMERS_V = "cramers_v"
    "Association of window and bin: 0 to 1."
    TOTAL_VARIATION = "total_variation"
    "Share of all values that changed their category: 0 to 1."
    OUTCOME_DIFFERENCE = "outcome_difference"
    "Difference of an outcome's rate at the same inputs, current minus baseline: -1 to 1."
    OUTCOME_MOVEMENT = "outcome_movement"
    "How far an outcome's rate moved at the same input, up or down, without what is noise: 0 to 1."
    VOLUME_RATIO = "volume_ratio"
    "Requests there were for each that was expected: 1 is none, from 0."
    UNSEEN_WORDS = "unseen_words"
    "Share of words that are new, beyond what is new without any change: -1 to 1."


def magnitude(effect: Effect, size: float) -> float:
    """`size` on a scale from 0 (no effect), so that it can be compared with a minimum.

    For AUC |2 AUC - 1|, which is Cliff's delta without its sign; for a ratio how many times more
    the larger is, less 1, so that half and double are alike; a difference without its sign; an
    excess that is below 0 is none.
    """
    match effect:
        case Effect.AUC:
            return abs(2 * size - 1)
        case Effect.VOLUME_RATIO:
            return (max(size, 1 / size) if size > 0 else math.inf) - 1
        case Effect.OUTCOME_DIFFERENCE:
            return abs(size)
        case Effect.UNSEEN_WORDS:
            return max(size, 0.0)
        case _:
            return size


def wasserstein(positions: Floats, steps: Floats) -> float:
    """Wasserstein-1 distance: the area between the two cumulative distributions.

    `positions` are the bins' values, rising; `steps[j]` is F(j) - G(j) at bin j. Infinite if the
    positions lie further apart than a float can tell.
    """
    with np.errstate(over="ignore"):
        areas = np.diff(positions)
    areas *= steps[:-1]
    return float(np.abs(areas, out=areas).sum())


def jensen_shannon(baseline: Counts, current: Counts) -> float:
    """Jensen-Shannon distance, base 2, as scipy.spatial.distance.jensenshannon(..., base=2).

    The root of the divergence of J. Lin (IEEE Transactions on Information Theory 37, 1991).
    """
    from scipy.special import rel_entr

    p = baseline / baseline.sum()
    q = current / current.sum()
    middle = (p + q) / 2
    divergence = float(rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / 2
    return math.sqrt(min(max(divergence / math.log(2), 0.0), 1.0))


def population_stability(baseline: Counts, current: Counts) -> float:
    """Population stability index, sum (q - p) ln(q / p), with half a count added to every bin.

    The half (Jeffreys' prior) keeps a bin that one window lacks from making it infinite.
    """
    p = (baseline + 0.5) / (baseline.sum() + 0.5 * baseline.size)
    q = (current + 0.5) / (current.sum() + 0.5 * current.size)
    return float((q - p) @ np.log(q / p))


def auc(u_baseline: float, n_baseline: int, n_current: int) -> float:
    """P(current > baseline) + P(equal) / 2, from Mann-Whitney's U of the baseline."""
    return 1 - u_baseline / n_baseline / n_current


def cramers_v(chi_square: float, total: int) -> float:
    """Cramer's V of a table with two rows: sqrt(chi-square / n)."""
    return math.sqrt(min(max(chi_square / total, 0.0), 1.0))


def total_variation(baseline: Counts, current: Counts) -> float:
    """Half of the sum of the differences of shares: what would have to change its category.

    For two categories that is the difference of their shares. Unlike Cramer's V it does not shrink
    when one window is much longer than the other.
    """
    moved = baseline / baseline.sum() - current / current.sum()
    return float(np.abs(moved).sum()) / 2
