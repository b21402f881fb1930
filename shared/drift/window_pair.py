"""Two windows as counts over the same values: what every test of two windows looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shared.drift.effects import Counts, Floats
from shared.telemetry.histograms import Histogram, aligned, representatives

LEAST_EXPECTED = 5
"Expected count that every cell of the chi-square table has in both windows (Cochran's rule)."
MOST_GROUPS = 32
"Groups of neighbouring values that the chi-square test looks at."
MOST_VALUES = 2**62
"Windows of so many are not compared: their sum is beyond exact integers."
_INT64 = 2**63 - 1


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
    def from_histograms(cls, baseline: Histogram, current: Histogram) -> Self:
        """Both windows' histograms of the rollups; positions are what their bins stand for."""
        bins, left, right = aligned(baseline, current)
        return cls._checked(left, right, representatives(bins))

    @classmethod
    def from_categories(cls, baseline: Mapping[Any, int], current: Mapping[Any, int]) -> Self:
        """Counts of both windows by category, in no order: one that is missing was not seen.

        ValueError if a count is negative or not an integer.
        """
        names = baseline.keys() | current.keys()
        return cls.from_counts(
            countable(baseline.get(name, 0) for name in names),
            countable(current.get(name, 0) for name in names),
        )

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
        for window, counts in (("baseline", baseline), ("current", current)):
            if counts.sum(dtype=np.float64) >= MOST_VALUES:
                return cls._without(
                    MOST_VALUES, MOST_VALUES, f"the {window} window holds 2**62 values or more"
                )
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
    def of_groups(self) -> WindowPair:
        """`grouped` as a pair: no group is empty in both windows."""
        return WindowPair._checked(*self.grouped, None)

    @cached_property
    def grouped(self) -> tuple[Counts, Counts]:
        """Neighbouring values pooled, so that every expected count is at least 5.

        At most 32 groups of about equal pooled mass: with more, the chi-square test spreads its
        power thin, and where counts are sparse its p-value means nothing. The groups are chosen
        from the pooled counts alone, so the choice favours neither window.
        """
        smaller = min(self.n_baseline, self.n_current)
        ends = group_ends(self.cumulative, self.total, self.total * LEAST_EXPECTED / smaller)
        left, pooled = self.below[ends], self.cumulative[ends]
        left[1:] -= left[:-1].copy()
        pooled[1:] -= pooled[:-1].copy()
        return left, pooled - left


def countable(counts: Iterable[int]) -> list[int]:
    """Integers of any size as counts; those beyond all reason as so many that none is tested."""
    return [count if count < MOST_VALUES else MOST_VALUES for count in counts]


def pooled_categories(pair: WindowPair) -> WindowPair:
    """`pair` with the categories of an expected count below 5 in either window made into one.

    If that one is itself expected less than 5 times, the least common of the others takes it in,
    unless only one other is left: so every cell is expected 5 times, or there are two categories,
    or, where all are rare, one.
    """
    smaller = min(pair.n_baseline, pair.n_current)
    least = LEAST_EXPECTED * float(pair.total)
    rare = pair.pooled * float(smaller) < least
    if not rare.any():
        return pair
    rest = np.array([pair.baseline[rare].sum(), pair.current[rare].sum()])
    kept = np.stack((pair.baseline[~rare], pair.current[~rare]))
    if kept.shape[1] < 2 or float(rest.sum()) * smaller >= least:
        kept = np.column_stack((kept, rest))
    else:
        kept[:, kept.sum(axis=0).argmin()] += rest
    return WindowPair.from_counts(*kept)


def _why_untestable(n_baseline: int, n_current: int, distinct: int) -> str | None:
    for window, size in (("baseline", n_baseline), ("current", n_current)):
        if size == 0:
            return f"the {window} window is empty"
        if size == 1:
            return f"the {window} window holds one value; expected at least 2"
    return "all values of both windows are equal" if distinct == 1 else None


def group_ends(cumulative: Counts, total: int, least: float) -> npt.NDArray[np.intp]:
    """Index of the last bin of each group; every group holds at least `least` pooled values.

    A bin that nothing is in ends no group.
    """
    groups = int(min(MOST_GROUPS, max(total // least, 1)))
    targets = np.arange(1, groups + 1) * (total / groups)
    # A group's end that is named twice adds nothing the second time.
    candidates = np.minimum(np.searchsorted(cumulative, targets), cumulative.size - 1)
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
    rises = merged[1:] != merged[:-1]
    if rises.all():
        # Of floats nearly always: each value is its own bin.
        counts = (order < left.size).astype(np.int64)
        return counts, 1 - counts, merged.astype(np.float64, copy=False)
    last = np.append(np.flatnonzero(rises), merged.size - 1)
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
    if raw.dtype.kind == "u" and raw.dtype.itemsize == 8:
        raw = np.minimum(raw, MOST_VALUES)
    # Not copied: of ten million categories a copy would be noticed.
    return raw.astype(np.int64, copy=False)


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
