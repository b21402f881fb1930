"""All four tests of many pairs of histograms at once: for a sweep over thousands of metrics.

The formulas are those of `statistics` and the answers the same; here a row of a matrix is a pair,
over the bins that any of the pairs holds. A bin that a pair lacks adds nothing to any of its sums.
One by one the four tests of a pair take half a millisecond, nearly all of it the overhead of a
hundred operations on short arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.drift import null_distributions as null
from shared.drift.comparison import Comparison, compare
from shared.drift.effects import Counts, Effect, Floats, auc, cramers_v
from shared.drift.statistics import TestResult
from shared.drift.window_pair import LEAST_EXPECTED, MOST_GROUPS, WindowPair, group_ends
from shared.telemetry.histograms import BINS, Histogram

AT_ONCE: Final = 64
"Pairs of which the matrices stay in a processor's cache."

_EXACT: Final = 2**62
Pair = tuple[Histogram, Histogram]


def compare_all(pairs: Sequence[Pair]) -> list[Comparison]:
    """`comparison.compare` of each (baseline, current), but without PSI and Wasserstein."""
    found: list[Comparison] = []
    for first in range(0, len(pairs), AT_ONCE):
        found += _compared(pairs[first : first + AT_ONCE])
    return found


def _compared(pairs: Sequence[Pair]) -> list[Comparison]:
    held = np.zeros(BINS, dtype=np.bool_)
    for pair in pairs:
        for histogram in pair:
            held[histogram.bins] = True
    column = np.cumsum(held) - 1
    counts = np.zeros((2, len(pairs), int(held.sum())), dtype=np.int64)
    for row, pair in enumerate(pairs):
        for window, histogram in enumerate(pair):
            counts[window, row, column[histogram.bins]] = histogram.counts
    sizes = counts.sum(axis=2).tolist()
    distinct = np.count_nonzero(counts.any(axis=0), axis=1).tolist()
    testable = [
        row
        for row, (n1, n2, values) in enumerate(zip(*sizes, distinct, strict=True))
        if min(n1, n2) > 1 and values > 1 and n1 * (n1 + n2) < _EXACT
    ]
    found: dict[int, Comparison] = {}
    if testable:
        for row, one in zip(testable, _tested(counts[:, testable]), strict=True):
            if one is not None:
                found[row] = one
    return [
        found[row] if row in found else compare(WindowPair.from_histograms(*pair))
        for row, pair in enumerate(pairs)
    ]


def _tested(counts: Counts) -> list[Comparison | None]:
    """Of each pair that can be tested; None where there are too few values for groups of them."""
    baseline, pooled = counts[0], counts[0] + counts[1]
    n1, total = baseline.sum(axis=1), pooled.sum(axis=1)
    below, cumulative = np.cumsum(baseline, axis=1), np.cumsum(pooled, axis=1)
    steps = below * total[:, None] - n1[:, None] * cumulative
    midsteps = steps.astype(np.float64)
    midsteps[:, 1:] += steps[:, :-1]
    furthest = np.abs(steps).max(axis=1).tolist()
    excess = -(pooled * midsteps).sum(axis=1) / (2.0 * total)
    squared = _squared(pooled, cumulative, midsteps, total)
    deviations = _variances(pooled, cumulative, total)
    ends = _ends(cumulative, n1.tolist(), total.tolist())
    left, grouped, sizes = _grouped(below, cumulative, ends)
    chi_squares = _chi_squares(left, grouped, n1, total)
    distances = _jensen_shannon(left, grouped, n1, total)
    ties = _tie_factors(pooled, total.tolist())
    return [
        None
        if groups < 2
        else _results(one, all_, far, out, square, variance, groups, chi, apart, tie)
        for one, all_, far, out, square, variance, groups, chi, apart, tie in zip(
            n1.tolist(),
            total.tolist(),
            furthest,
            excess.tolist(),
            squared.tolist(),
            deviations.tolist(),
            sizes,
            chi_squares.tolist(),
            distances.tolist(),
            ties,
            strict=True,
        )
    ]


def _results(
    n1: int,
    total: int,
    furthest: int,
    excess: float,
    squared: float,
    variance: float,
    groups: int,
    chi_square: float,
    apart: float,
    tie: float,
) -> Comparison:
    n2 = total - n1
    pairs = n1 * n2
    distance = float(furthest) / (float(n1) * n2)
    u = pairs / 2 + excess
    if pairs < 2**52:
        u = round(2 * u) / 2
        excess = u - pairs / 2
    spread = math.sqrt(n1 * n2 / 12 * tie)
    p_u = null.normal_two_sided_sf((abs(excess) - 0.5) / spread) if abs(excess) > 0.5 else 1.0
    statistic = squared * (total - 1) / total / n1 / n2
    standard = (statistic - 1) / null.anderson_darling_deviation(n1, n2)
    tied = null.anderson_darling_tied(variance, total) if standard > 0 else 1.0
    limit = 1 + standard * math.sqrt(null.ANDERSON_DARLING_VARIANCE / tied)
    association = cramers_v(chi_square, total)
    upper = auc(u, n1, n2)
    sizes = (n1, n2)
    tests = (
        TestResult(
            "kolmogorov_smirnov",
            distance,
            null.kolmogorov_smirnov_sf(distance, n1, n2),
            Effect.KS_DISTANCE,
            distance,
            *sizes,
        ),
        TestResult("mann_whitney", u, p_u, Effect.AUC, upper, *sizes),
        TestResult(
            "anderson_darling",
            standard,
            null.anderson_darling_sf(limit),
            Effect.JENSEN_SHANNON,
            apart,
            *sizes,
        ),
        TestResult(
            "chi_square",
            chi_square,
            null.chi_square_sf(chi_square, groups - 1),
            Effect.CRAMERS_V,
            association,
            *sizes,
        ),
    )
    effects = {
        Effect.KS_DISTANCE: distance,
        Effect.AUC: upper,
        Effect.JENSEN_SHANNON: apart,
        Effect.CRAMERS_V: association,
    }
    return Comparison(tests, effects, n1, n2, None)


def _squared(pooled: Counts, cumulative: Counts, midsteps: Floats, total: Counts) -> Floats:
    """Anderson-Darling's sum t_j m_j**2 / spread_j."""
    after, whole = cumulative.astype(np.float64), total[:, None].astype(np.float64)
    before = after - pooled
    spread = (after + 2 * before) * (whole - after) + before * (whole - before)
    terms = np.divide(pooled, spread, out=np.zeros_like(spread), where=pooled > 0)
    terms *= midsteps
    terms *= midsteps
    return np.asarray(terms.sum(axis=1))


def _variances(pooled: Counts, cumulative: Counts, total: Counts) -> Floats:
    """`null.anderson_darling_tied_variance` of each row."""
    whole = total[:, None].astype(np.float64)
    share = pooled / whole
    after = cumulative / whole
    before = after - share
    low = before + after
    spread = after * (1 - after) + before * (1 - before) + 2 * before * (1 - after)
    weight = np.divide(share, spread, out=np.zeros_like(share), where=pooled > 0)
    left, right = weight * low**2, weight * (2 - low) ** 2
    earlier = np.cumsum(left, axis=1) - left
    return np.asarray(2 * ((share**2).sum(axis=1) + 2 * (right * earlier).sum(axis=1)))


def _ends(cumulative: Counts, n1: list[int], total: list[int]) -> list[npt.NDArray[np.intp]]:
    return [
        group_ends(row, all_, all_ * LEAST_EXPECTED / min(one, all_ - one))
        for row, one, all_ in zip(cumulative, n1, total, strict=True)
    ]


def _grouped(
    below: Counts, cumulative: Counts, ends: Sequence[npt.NDArray[np.intp]]
) -> tuple[Counts, Counts, list[int]]:
    """The baseline and both windows by groups, padded to the most there may be, and how many."""
    at = np.full((len(ends), MOST_GROUPS), -1)
    for row, of_row in enumerate(ends):
        at[row, : of_row.size] = of_row
    rows = np.arange(len(ends))[:, None]
    left, grouped = (np.diff(upto[rows, at], axis=1, prepend=0) for upto in (below, cumulative))
    return left, grouped, [of_row.size for of_row in ends]


def _chi_squares(left: Counts, grouped: Counts, n1: Counts, total: Counts) -> Floats:
    n2 = (total - n1)[:, None]
    jumps = (left * total[:, None] - n1[:, None] * grouped).astype(np.float64)
    part = np.divide(jumps, grouped, out=np.zeros_like(jumps), where=grouped > 0)
    return np.asarray((jumps / n1[:, None] / n2 * part).sum(axis=1))


def _jensen_shannon(left: Counts, grouped: Counts, n1: Counts, total: Counts) -> Floats:
    from scipy.special import rel_entr

    p, q = left / n1[:, None], (grouped - left) / (total - n1)[:, None]
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle).sum(axis=1) + rel_entr(q, middle).sum(axis=1)) / 2
    return np.asarray(np.sqrt((divergence / math.log(2)).clip(0, 1)))


def _tie_factors(pooled: Counts, total: Sequence[int]) -> list[float]:
    """`statistics._tie_factor` of each row: the largest tie exactly, the others as floats."""
    largest = pooled.max(axis=1)
    rest = pooled.astype(np.float64)
    rest[np.arange(len(total)), pooled.argmax(axis=1)] = 0
    rests = (rest * (rest * rest - 1)).sum(axis=1)
    return [
        ((n**3 - n) - (most**3 - most) - (other if most > 1 else 0.0)) / (n * (n - 1))
        for n, most, other in zip(total, largest.tolist(), rests.tolist(), strict=True)
    ]
