"""Bins that people can read: round, common to both windows, and not at the mercy of one outlier."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.drift.axes import binned, share_axis
from shared.drift.showing import Distribution
from shared.telemetry.histograms import LARGEST_VALUE, Histogram
from tests.shared.drift.shown import points

VALUES = st.one_of(
    st.lists(st.integers(-50, 50), max_size=40),
    st.lists(st.floats(-1e300, 1e300, allow_subnormal=True), max_size=40),
    st.lists(st.floats(0, 1e9), max_size=40),
)
COUNTED = st.lists(st.integers(0, LARGEST_VALUE) | st.integers(0, 300), max_size=40)


def rolled_up(baseline, current, **more):
    return Distribution.of_histograms(
        Histogram.from_values(baseline), Histogram.from_values(current), **more
    )


def require_whole(distribution, most):
    shown = binned(distribution, most)
    if shown is None:
        assert distribution.n_baseline == distribution.n_current == 0
        return
    assert 1 <= shown.bins <= most
    assert (np.diff(shown.edges) > 0).all()
    for window, counts in (
        (shown.baseline, distribution.baseline),
        (shown.current, distribution.current),
    ):
        if window is None:
            assert counts.sum() == 0
            continue
        assert (window.shares >= 0).all()
        assert window.shares.sum() + window.below + window.above == pytest.approx(1, abs=1e-6)
        assert 0 <= shown.place(window.smallest) <= shown.place(window.largest) <= shown.bins
    assert all(0 <= place <= shown.bins for marks in shown.marks() for place, _ in marks)


@settings(max_examples=60)
@given(VALUES, VALUES, st.integers(3, 80))
def test_the_shares_of_values_add_up_to_one(baseline, current, most):
    require_whole(points(np.array(baseline), np.array(current)), most)


@settings(max_examples=60)
@given(COUNTED, COUNTED, st.integers(3, 80))
def test_the_shares_of_the_rollups_histograms_add_up_to_one(baseline, current, most):
    require_whole(rolled_up(baseline, current), most)


def test_edges_are_round_and_common():
    rng = np.random.default_rng(1)
    shown = binned(rolled_up(rng.normal(500, 80, 5000).astype(int), [700] * 5000), 40)
    step = np.diff(shown.edges)
    assert set(step) == {20}
    assert not shown.logarithmic
    assert (shown.edges % 20 == 0).all()
    assert shown.baseline.shares.size == shown.current.shares.size == shown.bins


def test_an_outlier_does_not_squeeze_everything():
    usual = list(range(100, 200))
    shown = binned(rolled_up([*usual, LARGEST_VALUE], usual), 60)
    assert shown.edges[-1] == 200
    assert np.count_nonzero(shown.baseline.shares) == shown.bins
    assert shown.baseline.above == pytest.approx(1 / 101)
    assert shown.baseline.largest == pytest.approx(LARGEST_VALUE, rel=0.01)
    assert (shown.current.above, shown.current.largest) == (0, 199)


def test_what_has_really_moved_is_not_taken_for_an_outlier():
    shown = binned(rolled_up([100] * 50, [100] * 44 + [900] * 6), 60)
    assert shown.baseline.above == shown.current.above == 0


def test_the_axis_is_logarithmic_beyond_two_decades_and_begins_with_zero_where_there_are_zeros():
    rng = np.random.default_rng(1)
    narrow, wide = (np.exp(rng.normal(6, spread, 4000)).astype(int) for spread in (0.5, 2))
    assert not binned(rolled_up(narrow, narrow), 60).logarithmic
    shown = binned(rolled_up(np.append(wide, 0), wide), 60)
    assert shown.logarithmic
    assert shown.edges[:4].tolist() == [0, 1, 2, 3]
    assert shown.place(0) < shown.place(1) < shown.place(10) < shown.place(100)
    assert not binned(points(-wide, wide), 60).logarithmic


def test_values_that_are_whole_numbers_have_bins_of_their_own():
    shown = binned(rolled_up([0, 1, 1, 2] * 99, [3, 3, 4, 5] * 99), 60)
    assert shown.edges.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert shown.discrete
    assert shown.baseline.shares.tolist() == [0.25, 0.5, 0.25, 0, 0, 0]
    assert [value for _, value in next(iter(shown.marks()))] == [0, 1, 2, 3, 4, 5]


def test_a_comb_is_not_drawn_of_a_smooth_distribution():
    """The rollups' bins are 8 wide here: bins of 10 hold one or two of them."""
    shown = binned(rolled_up(np.arange(1024, 1424), np.arange(1024, 1424)), 60)
    inside = shown.baseline.shares[1:-1]
    assert inside.max() < 1.01 * inside.min()


def test_tenths_are_told_apart_in_spite_of_float_error():
    tenths = np.arange(1, 10) * 0.1
    shown = binned(points(tenths, tenths), 60)
    assert shown.baseline.shares == pytest.approx([1 / 9] * 9)


def test_a_metric_that_ends_at_one_is_not_drawn_beyond_it():
    scaled = rolled_up([9000, 9500, 10_000] * 50, [10_000] * 50, scale=1e-4, largest=1.0)
    assert binned(scaled, 60).edges[-1] == 1
    assert scaled.positions[-1] == 1


def test_few_values_are_given_few_bins():
    rng = np.random.default_rng(1)
    few, many = (rng.normal(500, 50, n).astype(int) for n in (50, 50_000))
    assert binned(rolled_up(many, few), 80).bins <= 12 < binned(rolled_up(many, many), 80).bins


@pytest.mark.parametrize("value", [0, 7, -3, 0.1, 1e300, 5e-324, -1e-12])
def test_one_value_stands_in_the_middle(value):
    shown = binned(points(np.array([value]), np.array([value] * 9)), 20)
    assert shown.baseline.shares.max() == shown.current.shares.max() == 1


@pytest.mark.parametrize("most", [2, 0, -1])
def test_an_axis_of_less_than_three_bins_is_refused(most):
    with pytest.raises(ValueError, match="expected 3 or more"):
        binned(points(np.arange(3), np.arange(3)), most)


@given(st.floats(0, 1), st.floats(0, 1))
def test_an_axis_of_shares_holds_both_ends(one, other):
    low, high = min(one, other), max(one, other)
    ticks = share_axis(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-9
    assert high <= ticks[-1] + 1e-9
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0], abs=1e-9)


@pytest.mark.parametrize(
    ("positions", "baseline", "message"),
    [
        ([2.0, 1.0], [1, 1], "positions do not rise"),
        ([1.0, math.nan], [1, 1], "positions do not rise"),
        ([1.0, 2.0], [1], "1 baseline counts of 2 positions"),
        ([1.0, 2.0], [1, -1], "baseline count -1"),
        ([1.0, 2.0], [0.5, 1], "expected integers"),
    ],
)
def test_what_is_no_distribution_is_refused(positions, baseline, message):
    with pytest.raises(ValueError, match=message):
        Distribution(positions, baseline, [1, 1])


def test_one_edge_without_the_other_is_refused():
    with pytest.raises(ValueError, match="expected both or none"):
        Distribution([1.0], [1], [1], lower=[1.0])
