"""The bins, the sum, the packed form and the quantiles of a histogram."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.telemetry.histograms import (
    BINS,
    LARGEST_VALUE,
    Histogram,
    aligned,
    bin_of,
    lower_edges,
    packed_runs,
    representatives,
)

# Sizes spread evenly over the powers of two, so that every width of bin is met.
VALUE = st.integers(0, 38).flatmap(lambda bits: st.integers(0, 2**bits - 1))
VALUES = st.lists(VALUE, max_size=200)
SHARE = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.05, 0.07, 0.5, 0.95, 0.99, 1.0]))


@given(VALUES, VALUES)
def test_the_sum_is_the_histogram_of_the_concatenation(a, b):
    assert Histogram.from_values(a) + Histogram.from_values(b) == Histogram.from_values(a + b)


@given(st.lists(VALUES, max_size=6))
def test_concatenated_bytes_are_the_sum(lists):
    packed = b"".join(Histogram.from_values(values).to_bytes() for values in lists)
    assert Histogram.from_bytes(packed) == Histogram.from_values([*chain(*lists)])
    assert Histogram.from_bytes(packed) == Histogram.sum(map(Histogram.from_values, lists))


@given(st.lists(VALUES, max_size=6))
def test_runs_that_are_packed_at_once_are_packed_as_each_by_itself(lists):
    packed = packed_runs(list(chain.from_iterable(lists)), [len(values) for values in lists])
    assert packed == [Histogram.from_values(values).to_bytes() for values in lists]


def test_more_runs_than_are_counted_at_once_and_counts_beyond_a_digit_are_packed_too():
    sizes = [1] * 300 + [70_000, 0, 2]
    packed = packed_runs(np.full(sum(sizes), 7), sizes)
    assert packed[0] == Histogram.from_values([7]).to_bytes()
    assert packed[-3:] == [Histogram.from_counts([7], [n]).to_bytes() for n in (70_000, 0, 2)]
    assert [len(one) for one in packed[-3:]] == [8, 0, 4]


def test_runs_have_the_length_of_their_values():
    with pytest.raises(ValueError, match="runs of 3 values; expected 2"):
        packed_runs([1, 2], [3])


@given(VALUES)
def test_packing_and_unpacking_is_the_identity(values):
    histogram = Histogram.from_values(values)
    assert Histogram.from_bytes(histogram.to_bytes()) == histogram
    assert len(histogram.to_bytes()) == 4 * len(histogram.bins)
    assert histogram.total == len(values)


@given(st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 2**53), max_size=20))
def test_counts_of_any_size_survive_packing(counts):
    histogram = Histogram.from_counts(list(counts), list(counts.values()))
    packed = histogram.to_bytes()
    assert Histogram.from_bytes(packed) == histogram
    assert len(packed) <= 4 * 4 * len(counts)


@given(st.lists(VALUE, min_size=1, max_size=200), SHARE)
def test_a_quantile_is_within_half_a_percent_of_the_exact_one(values, q):
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    found = Histogram.from_values(values).quantile(q)
    assert found == pytest.approx(exact, rel=0.004, abs=0)
    if exact < 256:
        assert found == exact


@given(VALUE, VALUE)
def test_bins_rise_with_the_values(a, b):
    low, high = sorted((a, b))
    bins = bin_of([low, high])
    assert bins[0] <= bins[1] < BINS


@given(VALUE)
def test_a_value_lies_between_the_edges_of_its_bin(value):
    number = int(bin_of(value)[0])
    assert lower_edges(number) <= value
    if number + 1 < BINS:
        assert value < lower_edges(number + 1)


def test_every_bin_is_met_and_narrower_than_a_hundred_and_twenty_eighth():
    bins = np.arange(BINS)
    edges = lower_edges(bins)
    assert np.array_equal(bin_of(edges), bins)
    widths = np.diff(np.append(edges, LARGEST_VALUE + 1))
    assert np.array_equal(widths[:256], np.ones(256))
    assert (widths[256:] / edges[256:] <= 2**-7).all()
    last = edges + widths - 1
    assert np.array_equal(bin_of(last), bins)
    nonzero = edges > 0
    error = np.maximum(np.abs(representatives(bins) - edges), np.abs(representatives(bins) - last))
    assert (error[nonzero] / edges[nonzero] < 0.004).all()


def test_values_above_the_largest_are_clipped():
    histogram = Histogram.from_values([LARGEST_VALUE + 1, 2**63, 2**70, 10**30])
    assert histogram == Histogram.from_values([LARGEST_VALUE] * 4)


@given(VALUES, VALUES)
def test_aligned_counts_are_those_of_each_over_shared_bins(a, b):
    left, right = Histogram.from_values(a), Histogram.from_values(b)
    bins, counts_left, counts_right = aligned(left, right)
    assert Histogram.from_counts(bins, counts_left) == left
    assert Histogram.from_counts(bins, counts_right) == right
    assert (counts_left + counts_right > 0).all()
    assert (np.diff(bins) > 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([3, -1], "value -1"),
        ([-(2**70)], f"value -{2**70}; a histogram counts integers from 0"),
        ([1.5], "value 1.5"),
        ([float("nan")], "value nan"),
        ([float("inf")], "value inf"),
        ([True], "type bool"),
        (["7"], "type <U1"),
        ([None], "type object"),
    ],
)
def test_what_is_not_a_count_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        Histogram.from_values(values)


def test_floats_that_are_integers_are_counted():
    assert Histogram.from_values(np.array([1.0, 300.0])) == Histogram.from_values([1, 300])


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", "f4", "f8"])
def test_every_width_of_number_is_counted_alike(dtype):
    assert Histogram.from_values(np.array([0, 7, 100], dtype)) == Histogram.from_values([0, 7, 100])


def test_an_empty_histogram_has_no_quantile():
    empty = Histogram.from_values([])
    assert empty == Histogram.empty() == Histogram.from_bytes(b"") == Histogram.sum([])
    assert empty.total == 0
    assert empty.quantile(0.5) is None


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(q):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Histogram.from_values([1]).quantile(q)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"123", "3 bytes; expected a multiple of 4"),
        ((0x3001).to_bytes(2, "little") + (33).to_bytes(2, "little"), "a count is 0 to 2"),
        ((0xF001).to_bytes(2, "little") + (1).to_bytes(2, "little"), "a count is 0 to 2"),
        (((0x3001).to_bytes(2, "little") + (32).to_bytes(2, "little")) * 2, "a count is 0 to 2"),
    ],
)
def test_damaged_bytes_are_refused(packed, message):
    with pytest.raises(ValueError, match=message):
        Histogram.from_bytes(packed)


def test_the_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Histogram.from_values([1]).counts[0] = 5
