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
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shared.drift import null_distributions as null
from shared.drift.effects import (
    Counts,
    Effect,
    Floats,
    auc,
    cramers_v,
    jensen_shannon,
    population_stability,
    wasserstein,
)

LEAST_EXPECTED = 5
"Expected count that every cell of the chi-square table has in both windows (Cochran's rule)."
MOST_GROUPS = 32
"Groups of neighbouring values that the chi-square test looks at."
_INT64 = 2**63 - 1


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


@dataclass(frozen=True, eq=False)
class WindowPair:
    """Two windows as counts over shared, rising values; every value is held by at least one.

    `positions` are the values in the metric's unit (None: only their order is known). `problem`
    is why no test can be made, or None; the arrays are then not to be relied on.
    """

    baseline: Counts
    current: Counts
    positions: Floats | None
    n_baseline: int
    n_current: int
    problem: str | None

    @classmethod
    def from_counts(
        cls,
        baseline: npt.ArrayLike,
        current: npt.ArrayLike,
        positions: npt.ArrayLike | None = None,
    ) -> Self:
        """Counts of both windows over the same bins, in rising order of value.

        `positions` are the bins' values, rising. Bins that both lack are dropped. ValueError if
        the lengths differ, a count is negative or not an integer, or positions do not rise.
        """
        left, right = _counts(baseline, "baseline"), _counts(current, "current")
        if left.size != right.size:
            raise ValueError(f"{left.size} baseline bins and {right.size} current; expected equal")
        where = None if positions is None else np.asarray(positions, dtype=np.float64).ravel()
        if where is not None:
            if where.size != left.size:
                raise ValueError(f"{where.size} positions of {left.size} bins; expected equal")
            if not (np.isfinite(where).all() and (np.diff(where) > 0).all()):
                raise ValueError("positions do not rise; expected finite, strictly rising values")
        held = (left > 0) | (right > 0)
        if not held.all():
            left, right = left[held], right[held]
            where = None if where is None else where[held]
        return cls._checked(left, right, where)

    @classmethod
    def from_arrays(cls, baseline: npt.ArrayLike, current: npt.ArrayLike) -> Self:
        """Raw numbers (or booleans) of both windows, any order, counted over their distinct values.

        NaN and infinities become `problem`, not an exception: they are data, not a mistake of
        the caller. ValueError if a window is not numbers.
        """
        left, right = _numbers(baseline, "baseline"), _numbers(current, "current")
        for window, numbers in (("baseline", left), ("current", right)):
            wrong = _not_finite(numbers)
            if wrong:
                return cls._without(
                    left.size, right.size, f"{wrong} values of the {window} are NaN or infinite"
                )
        if not left.size or not right.size:
            return cls._without(left.size, right.size, None)
        if left.dtype.kind != "f" and right.dtype.kind != "f":
            low = min(int(left.min()), int(right.min()))
            high = max(int(left.max()), int(right.max()))
            if high <= _INT64 and high - low <= 4 * (left.size + right.size):
                values = np.arange(low, high + 1, dtype=np.float64)
                return cls.from_counts(
                    np.bincount(_offset(left, low), minlength=values.size),
                    np.bincount(_offset(right, low), minlength=values.size),
                    values,
                )
        return cls._checked(*_count_distinct(left, right))

    @classmethod
    def _without(cls, n_baseline: int, n_current: int, problem: str | None) -> Self:
        nothing = np.empty(0, dtype=np.int64)
        reason = problem or _why_untestable(n_baseline, n_current, 0)
        return cls(nothing, nothing, None, n_baseline, n_current, reason)

    @classmethod
    def _checked(cls, baseline: Counts, current: Counts, positions: Floats | None) -> Self:
        n_baseline, n_current = int(baseline.sum()), int(current.sum())
        problem = _why_untestable(n_baseline, n_current, baseline.size)
        return cls(baseline, current, positions, n_baseline, n_current, problem)

    @property
    def total(self) -> int:
        return self.n_baseline + self.n_current

    @cached_property
    def pooled(self) -> Counts:
        """Values of both windows in each bin."""
        counts: Counts = self.baseline + self.current
        return counts

    @cached_property
    def cumulative(self) -> Counts:
        return np.cumsum(self.pooled)

    @cached_property
    def below(self) -> Counts:
        """Cumulative counts of the baseline."""
        return np.cumsum(self.baseline)

    @cached_property
    def steps(self) -> npt.NDArray[Any]:
        """e_j = n2 A_j - n1 B_j: exact integers while they fit, else floats."""
        below = self.below
        if self.n_baseline * self.total <= _INT64:
            # B = C - A turns two products into one and a shift by n1 C.
            return below * self.total - self.n_baseline * self.cumulative
        share = below / self.n_baseline - (self.cumulative - below) / self.n_current
        return share * (float(self.n_baseline) * self.n_current)

    @cached_property
    def midsteps(self) -> Floats:
        """m_j = e_j + e_{j-1}."""
        steps = self.steps.astype(np.float64)
        steps[1:] += self.steps[:-1]
        return steps

    @cached_property
    def grouped(self) -> tuple[Counts, Counts]:
        """Neighbouring values pooled, so that every expected count is at least 5.

        At most 32 groups of about equal pooled mass: with more, the chi-square test spreads its
        power thin, and where counts are sparse its p-value means nothing. The groups are chosen
        from the pooled counts alone, so the choice favours neither window.
        """
        smaller = min(self.n_baseline, self.n_current)
        ends = _group_ends(self.cumulative, self.total, self.total * LEAST_EXPECTED / smaller)
        left = np.ediff1d(self.below[ends], to_begin=self.below[ends[0]])
        pooled = np.ediff1d(self.cumulative[ends], to_begin=self.cumulative[ends[0]])
        return left, pooled - left


@dataclass(frozen=True)
class Comparison:
    """The four tests of one pair of windows, and every effect size that can be told."""

    tests: tuple[TestResult, ...]
    effects: dict[Effect, float]
    n_baseline: int
    n_current: int
    reason: str | None


def compare(pair: WindowPair) -> Comparison:
    """All four tests and the effect sizes of ordered values; never raises, never NaN.

    Chi-square, Jensen-Shannon and PSI are over `pair.grouped`; Wasserstein needs positions.
    """
    tests = (
        kolmogorov_smirnov(pair),
        mann_whitney(pair),
        anderson_darling(pair),
        chi_square_grouped(pair),
    )
    effects = {test.effect_name: test.effect_size for test in tests if test.effect_size is not None}
    if pair.problem is None:
        if pair.grouped[0].size > 1:
            effects[Effect.PSI] = population_stability(*pair.grouped)
        if pair.positions is not None:
            shares = pair.steps / (float(pair.n_baseline) * pair.n_current)
            moved = wasserstein(pair.positions, shares)
            if math.isfinite(moved):
                effects[Effect.WASSERSTEIN] = moved
    return Comparison(tests, effects, pair.n_baseline, pair.n_current, pair.problem)


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
    left, right = pair.grouped
    if left.size < 2:
        reason = f"no two groups of values have {LEAST_EXPECTED} expected in both windows"
        return _untested("chi_square", Effect.CRAMERS_V, pair, reason)
    return chi_square(WindowPair.from_counts(left, right))


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


def pooled_categories(pair: WindowPair) -> WindowPair:
    """`pair` with all categories of an expected count below 5 in either window made into one."""
    smaller = min(pair.n_baseline, pair.n_current)
    rare = pair.pooled * float(smaller) < LEAST_EXPECTED * float(pair.total)
    if np.count_nonzero(rare) < 2:
        return pair
    return WindowPair.from_counts(
        np.append(pair.baseline[~rare], pair.baseline[rare].sum()),
        np.append(pair.current[~rare], pair.current[rare].sum()),
    )


def _result(
    name: str, pair: WindowPair, statistic: float, p: float, effect: Effect, size: float | None
) -> TestResult:
    return TestResult(name, statistic, p, effect, size, pair.n_baseline, pair.n_current)


def _untested(name: str, effect: Effect, pair: WindowPair, reason: str | None = None) -> TestResult:
    why = reason or pair.problem
    return TestResult(name, None, None, effect, None, pair.n_baseline, pair.n_current, why)


def _why_untestable(n_baseline: int, n_current: int, distinct: int) -> str | None:
    for window, size in (("baseline", n_baseline), ("current", n_current)):
        if size == 0:
            return f"the {window} window is empty"
        if size == 1:
            return f"the {window} window holds one value; expected at least 2"
    return "all values of both windows are equal" if distinct == 1 else None


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


def _group_ends(cumulative: Counts, total: int, least: float) -> npt.NDArray[np.intp]:
    """Index of the last bin of each group; every group holds at least `least` pooled values."""
    groups = int(min(MOST_GROUPS, max(total // least, 1)))
    targets = np.arange(1, groups + 1) * (total / groups)
    candidates = np.unique(np.searchsorted(cumulative, targets).clip(max=cumulative.size - 1))
    ends: list[int] = []
    reached = 0
    for end, upto in zip(candidates.tolist(), cumulative[candidates].tolist(), strict=True):
        if upto - reached >= least:
            ends.append(end)
            reached = upto
    if not ends or reached < total:
        # What is left over is too small for a group of its own and joins the last one.
        ends[-1:] = [cumulative.size - 1]
    return np.array(ends, dtype=np.intp)


def _count_distinct(
    left: npt.NDArray[Any], right: npt.NDArray[Any]
) -> tuple[Counts, Counts, Floats]:
    """Counts of both over their distinct values: two sorts and a merge of sorted runs."""
    both = np.concatenate((np.sort(left), np.sort(right)))
    # A stable sort of two rising runs is one merge, and its order tells the windows apart.
    order = np.argsort(both, kind="stable")
    merged = both[order]
    last = np.append(np.flatnonzero(merged[1:] != merged[:-1]), merged.size - 1)
    below = np.cumsum(order < left.size)[last]
    counts_left = np.ediff1d(below, to_begin=below[0])
    counts_right = np.ediff1d(last, to_begin=last[0] + 1) - counts_left
    return counts_left, counts_right, merged[last].astype(np.float64, copy=False)


def _counts(counts: npt.ArrayLike, window: str) -> Counts:
    raw = np.asarray(counts).ravel()
    if raw.size and raw.dtype.kind not in "iu":
        raise ValueError(f"{window} counts of type {raw.dtype}; expected integers")
    if raw.size and raw.min() < 0:
        raise ValueError(f"{window} count {raw.min()}; expected 0 or more")
    return raw.astype(np.int64)


def _numbers(values: npt.ArrayLike, window: str) -> npt.NDArray[Any]:
    raw = np.asarray(values).ravel()
    if raw.dtype.kind == "b":
        return raw.astype(np.int64)
    if raw.dtype.kind not in "iuf" and raw.size:
        raise ValueError(f"{window} values of type {raw.dtype}; expected numbers")
    return raw


def _not_finite(values: npt.NDArray[Any]) -> int:
    if values.dtype.kind != "f":
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def _offset(values: npt.NDArray[Any], low: int) -> npt.NDArray[np.int64]:
    whole = values.astype(np.int64, copy=False)
    return whole - low if low else whole
