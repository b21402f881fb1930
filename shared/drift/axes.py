"""Bins that people can read, shared by both windows: round edges, and no room for one outlier.

The axis is logarithmic where the middle nine tenths of the values span more than two decades. Where
few values lie far outside of the rest, the axis ends before them and they are counted beside it, so
that shares inside and outside of the axis add up to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from shared.drift.effects import Counts, Floats
from shared.drift.showing import Distribution, quantile

DECADES_OF_LOGARITHMIC: Final = 2
_TAIL: Final = 0.05
_FINENESS: Final = 1e-12
_FINEST: Final = 1e-290
"Of their size, and by themselves: edges that are closer could be the same float."
_STEPS: Final = (1, 2, 5)
# ISO 3, the rounded series R"20, R"10 and R"5: steps of about equal ratio.
_SERIES: Final = (
    (1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 9),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2.5, 4, 6),
    (1, 2, 5),
    (1,),
)


@dataclass(frozen=True, eq=False)
class BinnedWindow:
    """Shares of a window's values in each bin and beyond the axis, which add up to 1."""

    shares: Floats
    below: float
    above: float
    smallest: float
    largest: float
    "Of all its values, also those beyond the axis."


@dataclass(frozen=True, eq=False)
class Binned:
    """Both windows in bins that are drawn equally wide; an empty window is None."""

    edges: Floats
    "Rising; one more than there are bins."
    logarithmic: bool
    discrete: bool
    "Each possible value has a bin of its own, whose lower edge is that value."
    baseline: BinnedWindow | None
    current: BinnedWindow | None

    @property
    def bins(self) -> int:
        return self.edges.size - 1

    def place(self, value: float) -> float:
        """Where a value stands, in bins from the left; at the nearer end if it is beyond."""
        if value < self.edges[0]:
            return 0.0
        if value >= self.edges[-1]:
            return float(self.bins)
        left = int(np.searchsorted(self.edges, value, side="right")) - 1
        if self.discrete:
            return left + 0.5
        low, high = float(self.edges[left]), float(self.edges[left + 1])
        if self.logarithmic and low > 0:
            return left + math.log(value / low) / math.log(high / low)
        return left + (value - low) / (high - low)

    def marks(self) -> Iterator[tuple[tuple[float, float], ...]]:
        """Which (place, value) could be labelled, from all to few: round numbers each time."""
        count = self.bins if self.discrete else self.bins + 1
        aside = 0.5 if self.discrete else 0.0
        numbers = self.edges[:count].tolist()

        def chosen(which: Iterable[int]) -> tuple[tuple[float, float], ...]:
            return tuple((i + aside, numbers[i]) for i in which)

        if self.logarithmic:
            for series in _SERIES:
                yield chosen(i for i, edge in enumerate(numbers) if _is_of(edge, series))
            decades = [i for i, edge in enumerate(numbers) if edge and _is_of(edge, (1,))]
            for coarser in (1, 2, 3, 4, 6):
                yield chosen(decades[::coarser])
        else:
            step = float(self.edges[1] - self.edges[0])
            whole = np.rint(self.edges[:count] / step)
            for coarser in (1, 2, 5, 10, 20, 50, 100):
                yield chosen(np.flatnonzero(whole % coarser == 0).tolist())
        yield chosen((0, count - 1))
        yield chosen((0,))


def binned(distribution: Distribution, most: int) -> Binned | None:
    """Both windows over at most `most` bins; None if both are empty. ValueError below 3 bins.

    There are fewer bins where there are few values, so that chance does not look like shape: twice
    the cube root of the smaller window's size (Rice's rule), and at least 12.
    """
    if most < 3:
        raise ValueError(f"{most} bins at most; expected 3 or more")
    sizes = [n for n in (distribution.n_baseline, distribution.n_current) if n]
    if not sizes:
        return None
    most = min(most, max(12, math.ceil(2 * min(sizes) ** (1 / 3))))
    cells = _Cells.of(distribution)
    edges = _log_edges(distribution, cells, most)
    logarithmic = edges is not None
    if edges is None:
        edges = _linear_edges(distribution, cells, most)
    return Binned(
        edges,
        logarithmic,
        discrete=not logarithmic and float(edges[1] - edges[0]) < 1.5 * cells.resolution,
        baseline=cells.window(distribution.positions, distribution.baseline, edges),
        current=cells.window(distribution.positions, distribution.current, edges),
    )


def share_axis(low: float, high: float) -> tuple[float, ...]:
    """Round shares around `low` to `high`, two to eight of them, for an axis that is zoomed in."""
    reach = max(high - low, 1e-6)
    exponent = math.floor(math.log10(reach)) - 1
    while True:
        for multiple in _STEPS:
            step = float(f"{multiple}e{exponent}")
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first <= 7:
                whole = range(first, max(last, first + 1) + 1)
                return tuple(round(i * step, max(0, -exponent)) for i in whole)
        exponent += 1


@dataclass(frozen=True, eq=False)
class _Cells:
    """Where the values of each position lie: in a bin, or at one point (an empty bin)."""

    lower: Floats
    upper: Floats
    smallest: float
    largest: float
    resolution: float
    "No two values that differ are closer."

    @classmethod
    def of(cls, distribution: Distribution) -> _Cells:
        held = np.flatnonzero(distribution.baseline + distribution.current)
        positions = distribution.positions
        smallest, largest = float(positions[held[0]]), float(positions[held[-1]])
        if distribution.lower is None or distribution.upper is None:
            gaps = np.diff(positions[held])
            resolution = float(gaps.min()) if gaps.size else 0.0
            return cls(positions, positions, smallest, largest, resolution)
        lower, upper = distribution.lower, distribution.upper
        return cls(lower, upper, smallest, largest, float((upper - lower)[held].min()))

    @property
    def are_points(self) -> bool:
        return self.lower is self.upper

    def window(self, positions: Floats, counts: Counts, edges: Floats) -> BinnedWindow | None:
        """The last bin holds its upper edge too."""
        held = np.flatnonzero(counts)
        if not held.size:
            return None
        hair = np.zeros(edges.size)
        if self.are_points:
            # A value that is an edge but for float error is on its upper side.
            hair = np.diff(edges, prepend=2 * edges[0] - edges[1]) * 1e-9
        below = self._at_most(counts, edges - hair, "left")
        below[-1] = self._at_most(counts, edges[-1:] + hair[-1], "right")[0]
        n = int(counts.sum())
        inside = np.diff(below)
        # What an edge's float error takes from one bin to the next is not worth a mark.
        inside[inside < 1e-6] = 0.0
        return BinnedWindow(
            inside / n,
            float(below[0] / n),
            float((n - below[-1]) / n),
            float(positions[held[0]]),
            float(positions[held[-1]]),
        )

    def _at_most(self, counts: Counts, where: Floats, side: Literal["left", "right"]) -> Floats:
        """How many values lie below each of `where`, sharing out the counts of bins."""
        before = np.concatenate(([0], np.cumsum(counts)))
        begun = np.searchsorted(self.lower, where, side=side)
        last = np.maximum(begun - 1, 0)
        width = self.upper[last] - self.lower[last]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(width > 0, (where - self.lower[last]) / width, 1.0)
        part = np.where(begun > 0, part.clip(0, 1), 0.0)
        inside: Floats = before[last] + part * counts[last]
        return inside


def _log_edges(distribution: Distribution, cells: _Cells, most: int) -> Floats | None:
    """Edges of a logarithmic axis; None where a linear one is right."""
    if cells.smallest < 0 or cells.largest <= 0:
        return None
    positive = distribution.positions > _FINEST
    positions = distribution.positions[positive]
    windows = (distribution.baseline[positive], distribution.current[positive])
    ends = _core(positions, windows, _TAIL)
    if ends is None or ends[1] <= ends[0] * 10**DECADES_OF_LOGARITHMIC:
        return None
    ratio = math.sqrt(ends[1] / ends[0])
    held = positions[(windows[0] + windows[1]) > 0]
    low, high = _within(held, ends[0] / ratio, ends[1] * ratio)
    begins_at_zero = cells.smallest < low
    for numbers in _preferred(low, high):
        edges: Floats = numbers
        if cells.resolution > _FINENESS * numbers[-1]:
            # An edge between two neighbouring integers would part nothing from nothing.
            edges = np.unique(np.ceil(numbers / cells.resolution - 1e-9) * cells.resolution)
        if begins_at_zero:
            edges = np.concatenate(([0.0], edges[edges > 0]))
        if edges.size - 1 <= most and edges.size > 2:
            return edges
    return None


def _preferred(low: float, high: float) -> Iterator[Floats]:
    """Round numbers around `low` to `high`, fine to coarse."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    choices = [(series, 1) for series in _SERIES] + [((1,), apart) for apart in (2, 3, 6, 12, 30)]
    for series, apart in choices:
        exponents = range(first - first % apart - apart, last + 2 * apart, apart)
        numbers = np.array([float(f"{m}e{k}") for k in exponents for m in series])
        numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
        begin = int(np.searchsorted(numbers, low, side="right")) - 1
        end = int(np.searchsorted(numbers, high, side="right"))
        yield numbers[max(begin, 0) : end + 1]


def _linear_edges(distribution: Distribution, cells: _Cells, most: int) -> Floats:
    windows = (distribution.baseline, distribution.current)
    core = None
    for tail in (_TAIL, 0.01, 0.001, 0.0):
        core = _core(distribution.positions, windows, tail)
        if core is not None and core[1] > core[0]:
            break
    if core is None or core[1] == core[0]:
        return _around(cells.smallest, cells)
    reach = core[1] - core[0]
    held = distribution.positions[(windows[0] + windows[1]) > 0]
    low, high = _within(held, core[0] - reach, core[1] + reach)
    if cells.largest - cells.smallest <= 1.5 * (high - low):
        low, high = cells.smallest, cells.largest
    if not cells.are_points:
        low = _edge_of(cells.lower, distribution.positions, low)
        high = _edge_of(cells.upper, distribution.positions, high)
    least = max((high - low) / most, max(abs(low), abs(high)) * _FINENESS, _FINEST)
    exponent = math.floor(math.log10(least))
    while True:
        for multiple in _STEPS:
            digits = max(0, -exponent)
            step = float(f"{multiple}e{exponent}")
            first = math.floor(low / step + 1e-9)
            last = math.ceil(high / step - 1e-9)
            if cells.are_points and last <= high / step + 1e-9 and step < 1.5 * cells.resolution:
                # Each value has a bin of its own, and so has the largest.
                last += 1
            if max(last - first, 1) <= most and _parts(step, cells.resolution):
                whole = np.arange(first, max(last, first + 1) + 1)
                edges: Floats = np.asarray(whole * step, dtype=np.float64).round(digits)
                return edges
        exponent += 1


def _parts(step: float, resolution: float) -> bool:
    """Whether bins of `step` hold equally many possible values, but for one in ten."""
    if step >= 10 * resolution:
        return True
    ratio = step / resolution
    return ratio > 1 - 1e-9 and abs(ratio - round(ratio)) < 1e-6


def _around(value: float, cells: _Cells) -> Floats:
    """Three bins around the only value."""
    step = (
        1.0
        if value == round(value) and abs(value) < 1e15
        else 10.0 ** math.floor(math.log10(abs(value)) - 1)
    )
    step = max(step, cells.resolution, abs(value) * _FINENESS, _FINEST)
    middle = math.floor(value / step + 1e-9)
    first = max(middle - 1, 0) if value >= 0 else middle - 1
    return np.asarray(np.arange(first, middle + 3) * step, dtype=np.float64)


def _edge_of(edges: Floats, positions: Floats, value: float) -> float:
    """The edge of the bin that `value` is in, or the value where it is in none."""
    at = int(np.searchsorted(positions, value))
    if at < positions.size and positions[at] == value:
        return float(edges[at])
    return value


def _within(held: Floats, low: float, high: float) -> tuple[float, float]:
    """The first and the last of the rising values `held` that lie between `low` and `high`."""
    first = int(np.searchsorted(held, low))
    last = int(np.searchsorted(held, high, side="right")) - 1
    return float(held[first]), float(held[last])


def _core(
    positions: Floats, windows: tuple[Counts, Counts], tail: float
) -> tuple[float, float] | None:
    """What holds all but `tail` at either end of each window; of few values one is left out."""
    ends = []
    for counts in windows:
        n = int(counts.sum())
        if not n:
            continue
        own = min(max(tail, 1.5 / n), 0.5) if tail else 0.0
        low, high = quantile(positions, counts, own), quantile(positions, counts, 1 - own)
        if low is not None and high is not None:
            ends.append((low, high))
    if not ends:
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)


def _is_of(edge: float, series: tuple[float, ...]) -> bool:
    if edge == 0:
        return True
    leading = edge / 10.0 ** math.floor(math.log10(edge) + 1e-12)
    return any(math.isclose(leading, one, rel_tol=1e-9) for one in series)
