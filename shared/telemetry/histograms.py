"""Exact integer histograms on fixed bins, so that windows of any length are sums of small rows.

The bins are log-linear, as in HdrHistogram (Gil Tene, http://hdrhistogram.org): a value below 256
has a bin of its own; above, every power of two is cut into 128 bins of equal width,

    shift = max(0, bit_length(v) - 8)        bin = 128 * shift + (v >> shift)

so a bin is narrower than its values / 128, the middle of a bin is within 0.4 % of every value in
it, and 4,096 bins reach to 2**38 - 1, where values are clipped. The edges never move, so adding
two histograms adds counts and loses nothing.

Values are non-negative integers in the unit of their metric: milliseconds, characters, tokens,
confidence x 10,000.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

BINS = 4096
LARGEST_VALUE = 2**38 - 1
"Larger values are counted as this one."

_RECORD = np.dtype([("bin", "<u2"), ("digit", "<u2")])
_BIN_BITS = 12
_DIGIT_BITS = 16
_DIGITS = 4
# Beyond this a float64 no longer holds every integer; no real window comes near it.
_LARGEST_COUNT = 2**53


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the bins that hold anything, in rising order of bin; both arrays are read-only."""

    bins: npt.NDArray[np.int32]
    counts: IntArray

    def __post_init__(self) -> None:
        self.bins.setflags(write=False)
        self.counts.setflags(write=False)

    @classmethod
    def empty(cls) -> Self:
        """The histogram of no values: the zero of `+`."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64))

    @classmethod
    def from_values(cls, values: npt.ArrayLike) -> Self:
        """Count `values` (any shape). ValueError if one is negative or not an integer."""
        return cls._from_dense(np.bincount(bin_of(values), minlength=BINS))

    @classmethod
    def from_counts(cls, bins: npt.ArrayLike, counts: npt.ArrayLike) -> Self:
        """Add up `counts[i]` in `bins[i]`, in any order, bins repeated or not.

        ValueError if a bin is not one of the 4,096 or a count is negative or above 2**53.
        """
        where = np.asarray(bins, dtype=np.int64).ravel()
        amount = np.asarray(counts, dtype=np.int64).ravel()
        if where.shape != amount.shape:
            raise ValueError(
                f"{where.size} bins with {amount.size} counts; expected one count each"
            )
        _require(where, (where < 0) | (where >= BINS), f"a bin is 0 to {BINS - 1}")
        _require(amount, (amount < 0) | (amount > _LARGEST_COUNT), "a count is 0 to 2**53")
        dense = np.zeros(BINS, dtype=np.int64)
        np.add.at(dense, where, amount)
        return cls._from_dense(dense)

    @classmethod
    def from_bytes(cls, packed: bytes | bytearray | memoryview) -> Self:
        """The sum of every histogram in `packed`: one `to_bytes()` or several end to end.

        Because a concatenation is the sum, SQL's `string_agg(histogram, '')` adds rows up.
        ValueError if `packed` is not whole records of this format.
        """
        size = memoryview(packed).nbytes
        if size % _RECORD.itemsize:
            raise ValueError(
                f"a packed histogram of {size} bytes; expected a multiple of {_RECORD.itemsize}"
            )
        records = np.frombuffer(packed, dtype=_RECORD)
        of_record, amount = _bins_and_amounts(records)
        # A float64 holds every integer up to 2**53, and what is added to one below it.
        dense = np.bincount(of_record, weights=amount, minlength=BINS)
        bins = np.flatnonzero(dense)
        counts = dense[bins]
        _require(counts, counts > _LARGEST_COUNT, "a count is 0 to 2**53")
        return cls(bins.astype(np.int32), counts.astype(np.int64))

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Self:
        """All of `histograms` added up; the empty histogram if there are none."""
        parts = list(histograms)
        if not parts:
            return cls.empty()
        return cls.from_counts(
            np.concatenate([part.bins for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    @classmethod
    def _from_dense(cls, dense: npt.NDArray[np.integer[Any]]) -> Self:
        bins = np.flatnonzero(dense)
        return cls(bins.astype(np.int32), dense[bins].astype(np.int64))

    def to_bytes(self) -> bytes:
        """Packed little-endian records of 4 bytes: nearly always one for each bin that holds any.

        A record is (place << 12 | bin: uint16, digit: uint16) and counts digit * 65536**place; a
        count of 65,536 or more takes a record for each of its digits that is not zero.
        """
        digits = [(self.counts >> (_DIGIT_BITS * place)) & 0xFFFF for place in range(_DIGITS)]
        parts = []
        for place, digit in enumerate(digits):
            some = np.flatnonzero(digit)
            part = np.empty(some.size, dtype=_RECORD)
            part["bin"] = self.bins[some] | place << _BIN_BITS
            part["digit"] = digit[some]
            parts.append(part)
        return b"".join(part.tobytes() for part in parts)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram.sum((self, other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return np.array_equal(self.bins, other.bins) and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def values(self) -> FloatArray:
        """The representative value of each bin that holds anything."""
        return representatives(self.bins)

    def quantile(self, q: float) -> float | None:
        """The smallest value that at least a share `q` of all values does not exceed.

        That is numpy's `inverted_cdf`, within 0.4 % of the value and exact below 256; None if
        the histogram is empty. ValueError unless 0 <= q <= 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q}; expected 0 to 1")
        # The product is rounded up unless it is an integer but for float error (0.07 * 100).
        return self.order_statistic(max(1, math.ceil(q * self.total * (1 - 2**-52))))

    def order_statistic(self, rank: int) -> float | None:
        """The `rank`-th smallest value, counted from 1; None if there are fewer values."""
        if rank < 1:
            raise ValueError(f"rank {rank}; expected 1 or more")
        cumulative = np.cumsum(self.counts)
        if not cumulative.size or rank > cumulative[-1]:
            return None
        return float(self.values[np.searchsorted(cumulative, rank)])


def counts_of_runs(packed: Sequence[bytes]) -> tuple[npt.NDArray[np.int32], IntArray]:
    """(bins, counts) of k packed histograms over the bins that any of them holds; counts (k, bins).

    Each of `packed` is what `Histogram.from_bytes` takes; they are counted at once, as one by one
    takes several times as long. ValueError as there.
    """
    sizes = [len(one) for one in packed]
    for size in sizes:
        if size % _RECORD.itemsize:
            raise ValueError(
                f"a packed histogram of {size} bytes; expected a multiple of {_RECORD.itemsize}"
            )
    records = np.frombuffer(b"".join(packed), dtype=_RECORD)
    of_record, amount = _bins_and_amounts(records)
    column = np.zeros(BINS, dtype=np.int64)
    column[of_record] = 1
    bins = np.flatnonzero(column)
    column[bins] = np.arange(bins.size)
    runs = np.repeat(
        np.arange(len(sizes)) * bins.size, [size // _RECORD.itemsize for size in sizes]
    )
    cells = len(sizes) * bins.size
    # A float64 holds every integer up to 2**53, and what is added to one below it.
    counts = np.bincount(column[of_record] + runs, weights=amount, minlength=cells)
    _require(counts, counts > _LARGEST_COUNT, "a count is 0 to 2**53")
    return bins.astype(np.int32), counts.astype(np.int64).reshape(len(sizes), bins.size)


def _bins_and_amounts(
    records: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.uint16], FloatArray]:
    amount = records["digit"].astype(np.float64)
    of_record = records["bin"]
    if of_record.size and of_record.max() >= BINS:
        # Only counts from 65,536 on have more than one digit.
        amount *= np.exp2(_DIGIT_BITS * (of_record >> _BIN_BITS).astype(np.int64))
        of_record = of_record & (BINS - 1)
    return of_record, amount


def packed_runs(values: npt.ArrayLike, sizes: Sequence[int]) -> list[bytes]:
    """`Histogram.from_values(run).to_bytes()` of each run of `values`, which lie end to end.

    `sizes` are the lengths of the runs. All of them are counted at once, which takes a fraction of
    the time where there are many and short ones. ValueError as there, and for sizes that do not
    add up.
    """
    bins = bin_of(values)
    if sum(sizes) != bins.size:
        raise ValueError(f"runs of {sum(sizes)} values; expected {bins.size}")
    filled = [size for size in sizes if size]
    found: list[bytes] = []
    begin = 0
    for first in range(0, len(filled), _RUNS_AT_ONCE):
        some = filled[first : first + _RUNS_AT_ONCE]
        end = begin + sum(some)
        found += _packed(bins[begin:end], some)
        begin = end
    packed = iter(found)
    return [next(packed) if size else b"" for size in sizes]


_RUNS_AT_ONCE = 256
"So that what is counted in takes eight megabytes."


def _packed(bins: IntArray, sizes: Sequence[int]) -> list[bytes]:
    of_run = np.repeat(np.arange(len(sizes)) * BINS, sizes)
    dense = np.bincount(bins + of_run, minlength=len(sizes) * BINS)
    cells = np.flatnonzero(dense > 0)
    counts = dense[cells]
    ends = np.searchsorted(cells, np.arange(1, len(sizes) + 1) * BINS).tolist()
    spans = zip([0, *ends], ends, strict=False)
    if counts.max() >> _DIGIT_BITS:
        return [
            Histogram((cells[a:b] % BINS).astype(np.int32), counts[a:b]).to_bytes()
            for a, b in spans
        ]
    records = np.empty(cells.size, dtype=_RECORD)
    records["bin"] = cells % BINS
    records["digit"] = counts
    return [records[a:b].tobytes() for a, b in spans]


def bin_of(values: npt.ArrayLike) -> IntArray:
    """The bin of each of `values`, flattened. ValueError if one is negative or not an integer."""
    whole = _whole_numbers(values)
    # frexp's exponent is the bit length; float64 holds every integer below 2**38 exactly.
    bit_length = np.frexp(whole.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(bit_length - 8, 0)
    return (shift << 7) + (whole >> shift)


def lower_edges(bins: npt.ArrayLike) -> IntArray:
    """The smallest value of each bin. Bin `b` holds `lower_edges(b) <= v < lower_edges(b + 1)`."""
    numbers = np.asarray(bins, dtype=np.int64)
    shift = _shift_of(numbers)
    edges: IntArray = (numbers - (shift << 7)) << shift
    return edges


def representatives(bins: npt.ArrayLike) -> FloatArray:
    """The middle of the integers of each bin: the value itself below 256, else within 0.4 %."""
    numbers = np.asarray(bins, dtype=np.int64)
    _require_bins(numbers)
    return _REPRESENTATIVES[numbers]


def aligned(a: Histogram, b: Histogram) -> tuple[npt.NDArray[np.int32], IntArray, IntArray]:
    """(bins, counts of `a`, counts of `b`) over every bin that either of them holds."""
    # There are so few bins that filling all of them is faster than a sorted union of two.
    dense = np.zeros((2, BINS), dtype=np.int64)
    dense[0, a.bins] = a.counts
    dense[1, b.bins] = b.counts
    bins = np.flatnonzero(dense[0] | dense[1])
    return bins.astype(np.int32), dense[0, bins], dense[1, bins]


def _shift_of(bins: IntArray) -> IntArray:
    _require_bins(bins)
    shift: IntArray = np.maximum(bins // 128 - 1, 0)
    return shift


def _require_bins(bins: IntArray) -> None:
    if bins.size and not (bins.min() >= 0 and bins.max() < BINS):
        _require(bins, (bins < 0) | (bins >= BINS), f"a bin is 0 to {BINS - 1}")


def _all_representatives() -> FloatArray:
    bins = np.arange(BINS)
    width = np.int64(1) << _shift_of(bins)
    return np.asarray(lower_edges(bins) + (width - 1) / 2)


_REPRESENTATIVES = _all_representatives()


def _whole_numbers(values: npt.ArrayLike) -> IntArray:
    raw = np.asarray(values).ravel()
    if raw.size == 0:
        return np.empty(0, dtype=np.int64)
    if raw.dtype.kind == "O" and all(type(value) is int for value in raw):
        _require(raw, raw < 0, "a histogram counts integers from 0")
        raw = np.minimum(raw, LARGEST_VALUE).astype(np.int64)
    if raw.dtype.kind == "f":
        _require(raw, raw != np.floor(raw), "a histogram counts integers")
        _require(raw, ~np.isfinite(raw), "a histogram counts finite integers")
    elif raw.dtype.kind not in "iu":
        raise ValueError(f"values of type {raw.dtype}; a histogram counts integers")
    _require(raw, raw < 0, "a histogram counts integers from 0")
    # Types narrower than 64 bits cannot hold the limit that they are compared with.
    wide = raw if raw.dtype.itemsize == 8 else raw.astype(np.dtype(f"{raw.dtype.kind}8"))
    clipped: IntArray = np.minimum(wide, LARGEST_VALUE).astype(np.int64)
    return clipped


def _require(values: npt.NDArray[Any], wrong: npt.NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        raise ValueError(f"value {values[wrong][0]}; {expected}")
