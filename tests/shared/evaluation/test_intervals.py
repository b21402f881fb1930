"""Intervals of rates and quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.evaluation.intervals import quantile_interval, wilson
from shared.telemetry.histograms import Histogram


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**7), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
@settings(deadline=None)
def test_wilson_is_scipys(n, share, confidence):
    successes = round(n * share)
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson(successes, n, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)
    assert 0 <= found.low <= successes / n <= found.high <= 1


def test_no_trials_have_no_interval():
    assert wilson(0, 0) is None


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (1, 0), (0, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="successes of"):
        wilson(*counts)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


@given(st.integers(1, 5000), st.sampled_from([0.05, 0.5, 0.95]))
@settings(deadline=None)
def test_the_ranks_are_the_narrowest_that_hold_the_confidence(n, q):
    # Values below 256 keep their rank readable; above, one bin holds several.
    n = min(n, 255)
    found = quantile_interval(Histogram.from_values(np.arange(1, n + 1)), q)
    low = int(stats.binom.ppf(0.025, n, q))
    high = int(stats.binom.ppf(0.975, n, q)) + 1
    if low < 1 or high > n:
        assert found is None
    else:
        assert found == (low, high)
        assert stats.binom.cdf(high - 1, n, q) - stats.binom.cdf(low - 1, n, q) >= 0.95


def test_the_95th_percentile_needs_72_values():
    assert quantile_interval(Histogram.from_values(range(71)), 0.95) is None
    assert quantile_interval(Histogram.from_values(range(72)), 0.95) is not None


def test_the_interval_covers_the_median_as_often_as_it_says():
    rng = np.random.default_rng(4)
    runs, covered = 400, 0
    for _ in range(runs):
        found = quantile_interval(Histogram.from_values(rng.integers(0, 2000, 150)), 0.5)
        covered += found.low <= 999.5 <= found.high
    assert covered / runs >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


def test_a_billion_values_take_no_longer_than_a_thousand():
    found = quantile_interval(Histogram.from_counts([10, 20, 30], [10**9] * 3), 0.5)
    assert found == (20, 20)


def test_an_empty_histogram_has_no_interval():
    assert quantile_interval(Histogram.empty(), 0.5) is None


@pytest.mark.parametrize("q", [0, 1, 1.5, float("nan")])
def test_a_quantile_at_the_ends_is_refused(q):
    with pytest.raises(ValueError, match="quantile"):
        quantile_interval(Histogram.from_values([1, 2]), q)
