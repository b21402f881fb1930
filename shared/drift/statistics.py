"""Four tests of whether two windows hold the same distribution, in one pass over their counts.

With A and B the cumulative counts of the baseline and the current window over the pooled, rising
values, n1 and n2 their sizes, all four follow from one vector of integers,

    e_j = n2 A_j - n1 B_j        (n1 n2 times the difference of the distribution functions)

so neither window is ranked or sorted by itself, and the cost does not depend on how many values
the counts stand for. Statistics agree with scipy's to 1e-12:

    Kolmogorov-Smirnov   max |e| / (n1 n2)
    Mann-Whitney         U = n1 n2 / 2 - sum t_j m_j / (2 n),                m_j = e_j + e_{j-1}
    Anderson-Darling     (n - 1) / (n n1 n2) sum t_j m_j**2 / spread_j
    chi-square           sum (e_j - e_{j-1})**2 / (n1 n2 t_j)

with t_j the pooled count of value j and n = n1 + n2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.drift import null_distributions as null
from shared.drift.effects import Counts, Effect, auc, cramers_v, jensen_shannon, total_variation
from shared.drift.window_pair import LEAST_EXPECTED, WindowPair


@dataclass(frozen=True)
class TestResult:
    """One test of one pair of windows. Where there is no p-value, `reason` says why."""

    __test__ = False  # not a pytest class

    name: str
    statistic: float | None
    p_value: float | None
    effect_name: Effect
    effect_size: float | None
    n_baseline: int
    n_current: int
    reason: str | None = None


def kolmogorov_smirnov(pair: WindowPair) -> TestResult:
    """Two-sided two-sample Kolmogorov-Smirnov. Statistic and effect are both D."""
    if pair.problem is not None:
        return _untested("kolmogorov_smirnov", Effect.KS_DISTANCE, pair)
    furthest = float(max(pair.steps.max(), -pair.steps.min()))
    distance = furthest / (float(pair.n_baseline) * pair.n_current)
    p = null.kolmogorov_smirnov_sf(distance, pair.n_baseline, pair.n_current)
    return _result("kolmogorov_smirnov", pair, distance, p, Effect.KS_DISTANCE, distance)


def mann_whitney(pair: WindowPair) -> TestResult:
    """Two-sided Mann-Whitney, ties and continuity corrected, normal approximation.

    The statistic is U of the baseline: pairs in which it is the larger, ties counting half. As
    scipy.stats.mannwhitneyu(baseline, current, method="asymptotic").
    """
    if pair.problem is not None:
        return _untested("mann_whitney", Effect.AUC, pair)
    n1, n2, total = pair.n_baseline, pair.n_current, pair.total
    pairs = n1 * n2
    excess = -float((pair.pooled * pair.midsteps).sum()) / (2 * total)
    u = pairs / 2 + excess
    if pairs < 2**52:
        # U is a multiple of one half; rounding removes what the sum of floats lost.
        u = round(2 * u) / 2
        excess = u - pairs / 2
    deviation = math.sqrt(n1 * n2 / 12 * _tie_factor(pair.pooled, total))
    p = null.normal_two_sided_sf((abs(excess) - 0.5) / deviation) if abs(excess) > 0.5 else 1.0
    return _result("mann_whitney", pair, u, p, Effect.AUC, auc(u, n1, n2))


def anderson_darling(pair: WindowPair) -> TestResult:
    """Two-sample Anderson-Darling with midranks: eq. 7 of Scholz and Stephens (JASA 82, 1987).

    The statistic is standardised as in scipy.stats.anderson_ksamp(variant="midrank"). The p-value
    is not scipy's, which ends at 0.001 and 0.25: it is the exact limiting law at the same number
    of standard deviations, with the deviation that the ties really leave (theirs is for no ties,
    which on a two-valued metric makes a 5 % test one of 11 %). Without ties p is within 3 % of
    scipy's inside scipy's range. With ties p may be too small, at worst (two values) by 5 % of
    itself at 0.05, 17 % at 0.01, 29 % at 0.001.
    """
    if pair.problem is not None:
        return _untested("anderson_darling", Effect.JENSEN_SHANNON, pair)
    n1, n2, total = pair.n_baseline, pair.n_current, float(pair.total)
    after = pair.cumulative.astype(np.float64)
    before = np.concatenate(([0.0], after[:-1]))
    # 4 (B (n - B) - n t / 4) of the paper, as a sum of positive terms.
    spread = (after + 2 * before) * (total - after)
    spread += before * (total - before)
    terms = pair.pooled / spread
    # Multiplied in place and summed pairwise: at millions of values new arrays cost more than
    # sums do, and BLAS would start threads for its dot product.
    terms *= pair.midsteps
    terms *= pair.midsteps
    squared = float(terms.sum()) * (total - 1) / total / n1 / n2
    deviation = null.anderson_darling_deviation(n1, n2)
    standard = (squared - 1) / deviation
    tied = 1.0
    # Below the mean, where p is above 0.35, scaling by the ties would keep p from reaching 1.
    if standard > 0 and pair.pooled.max() > total * _NEGLIGIBLE_TIE:
        tied = null.anderson_darling_tie_factor(pair.pooled)
    limit = 1 + standard * math.sqrt(null.ANDERSON_DARLING_VARIANCE / tied)
    p = null.anderson_darling_sf(limit)
    grouped = pair.grouped
    distance = jensen_shannon(*grouped) if grouped[0].size > 1 else None
    return _result("anderson_darling", pair, standard, p, Effect.JENSEN_SHANNON, distance)


# Ties of a thousandth of all values each change the variance by less than 0.4 %.
_NEGLIGIBLE_TIE = 1e-3


def chi_square_grouped(pair: WindowPair) -> TestResult:
    """Chi-square of homogeneity over `pair.grouped`: for ordered values of any fineness."""
    if pair.problem is not None:
        return _untested("chi_square", Effect.CRAMERS_V, pair)
    if pair.grouped[0].size < 2:
        reason = f"no two groups of values have {LEAST_EXPECTED} expected in both windows"
        return _untested("chi_square", Effect.CRAMERS_V, pair, reason)
    return chi_square(pair.of_groups)


def chi_square(pair: WindowPair) -> TestResult:
    """Chi-square of homogeneity on the 2 x k table of both windows as they are, no correction.

    Both windows are samples; a baseline taken for exact would raise false alarms. As
    scipy.stats.chi2_contingency(table, correction=False). For categories, whose order means
    nothing; the p-value needs expected counts of about 5, see `pooled_categories`.
    """
    if pair.problem is not None:
        return _untested("chi_square", Effect.CRAMERS_V, pair)
    n1, n2 = pair.n_baseline, pair.n_current
    jumps = np.diff(pair.steps, prepend=np.zeros(1, pair.steps.dtype)).astype(np.float64)
    statistic = float((jumps / n1 / n2) @ (jumps / pair.pooled))
    p = null.chi_square_sf(statistic, pair.pooled.size - 1)
    effect = cramers_v(statistic, pair.total)
    return _result("chi_square", pair, statistic, p, Effect.CRAMERS_V, effect)


def fisher_exact(pair: WindowPair) -> TestResult:
    """Fisher's exact test of two categories, two-sided; the effect is the difference of shares.

    As scipy.stats.fisher_exact. The statistic is the count of the second category in the current
    window, which given the margins is hypergeometric. For more than two categories there is only
    a reason.
    """
    if pair.problem is not None:
        return _untested("fisher_exact", Effect.TOTAL_VARIATION, pair)
    if pair.pooled.size != 2:
        reason = f"{pair.pooled.size} categories; Fisher's exact test compares two"
        return _untested("fisher_exact", Effect.TOTAL_VARIATION, pair, reason)
    observed = int(pair.current[1])
    p = null.fisher_two_sided(observed, pair.total, int(pair.pooled[1]), pair.n_current)
    moved = total_variation(pair.baseline, pair.current)
    return _result("fisher_exact", pair, observed, p, Effect.TOTAL_VARIATION, moved)


def _result(
    name: str, pair: WindowPair, statistic: float, p: float, effect: Effect, size: float | None
) -> TestResult:
    return TestResult(name, statistic, p, effect, size, pair.n_baseline, pair.n_current)


def _untested(name: str, effect: Effect, pair: WindowPair, reason: str | None = None) -> TestResult:
    why = reason or pair.problem
    return TestResult(name, None, None, effect, None, pair.n_baseline, pair.n_current, why)


def _tie_factor(pooled: Counts, total: int) -> float:
    """n + 1 - sum(t**3 - t) / (n (n - 1)) without losing digits where nearly all are tied.

    The largest t is subtracted from n exactly; what is left of the sum cannot cancel it.
    """
    largest = int(pooled.max())
    exact = (total**3 - total) - (largest**3 - largest)
    rest = 0.0
    if largest > 1:
        counts = pooled.astype(np.float64)
        counts[int(pooled.argmax())] = 0
        rest = float((counts * (counts * counts - 1)).sum())
    return (exact - rest) / (total * (total - 1))
