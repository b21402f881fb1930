"""Anderson-Darling for k windows: scipy's statistic, and a p-value that holds beyond its tables."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import simpson

from shared.drift import null_distributions as null
from shared.drift.several_windows import anderson_darling_several
from shared.drift.statistics import anderson_darling
from shared.drift.window_pair import WindowPair

SAMPLERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "integer": lambda rng, n: rng.poisson(40, size=n),
    "tied": lambda rng, n: rng.integers(0, 4, size=n),
}


def counted(windows):
    values = np.unique(np.concatenate(windows))
    return np.array(
        [np.bincount(np.searchsorted(values, w), minlength=values.size) for w in windows]
    )


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("sizes", [(12, 30, 9), (100, 100, 100, 70), (500, 20, 300, 60, 40)])
def test_the_statistic_is_scipys(kind, sizes):
    rng = np.random.default_rng([*sizes, len(kind)])
    windows = [SAMPLERS[kind](rng, size) for size in sizes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its p-value is clipped
        expected = stats.anderson_ksamp(windows, variant="midrank")
    found = anderson_darling_several(counted(windows))
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-11)
    if kind == "normal" and 0.001 < expected.pvalue < 0.25:
        assert found.p_value == pytest.approx(expected.pvalue, rel=0.05)


def test_the_statistic_is_equation_7_in_exact_arithmetic():
    table = [[3, 0, 5, 2], [1, 4, 4, 0], [2, 2, 2, 7]]
    sizes, pooled = (
        [sum(row) for row in table],
        [sum(column) for column in zip(*table, strict=True)],
    )
    n, squared = sum(sizes), Fraction(0)
    for row, size in zip(table, sizes, strict=True):
        for j, tied in enumerate(pooled):
            m = Fraction(2 * sum(row[:j]) + row[j], 2)
            b = Fraction(2 * sum(pooled[:j]) + tied, 2)
            squared += (
                Fraction(tied, n)
                * (n * m - size * b) ** 2
                / (b * (n - b) - Fraction(n * tied, 4))
                / size
            )
    squared *= Fraction(n - 1, n)
    expected = (float(squared) - 2) / null.anderson_darling_deviation(*sizes)
    assert anderson_darling_several(table).statistic == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
@settings(max_examples=25, deadline=None)
def test_for_two_windows_it_is_the_test_of_two(counts):
    left, right = np.array(counts).T
    two = anderson_darling(WindowPair.from_counts(left, right))
    several = anderson_darling_several([left, right])
    if two.p_value is None or two.n_baseline + two.n_current < 4:
        assert several.p_value is None or min(two.n_baseline, two.n_current) == 1
        return
    assert several.statistic == pytest.approx(two.statistic, rel=1e-9, abs=1e-9)
    # The test of two leaves ties of a thousandth of all values out of account.
    assert several.p_value == pytest.approx(two.p_value, rel=0.01)


def test_the_window_that_moved_is_named():
    rng = np.random.default_rng(2)
    windows = [rng.normal(mean, 1, 300) for mean in (0, 0, 0.6, 0)]
    found = anderson_darling_several(counted(windows))
    others = np.concatenate([windows[n] for n in (0, 1, 3)])
    assert found.furthest == 2
    assert found.ks_distance == pytest.approx(stats.ks_2samp(windows[2], others).statistic)
    assert found.p_value < 1e-12


def two_copies_sf(x):
    """Chi-square(2) is an exponential, so the Laplace transform is inverted by its residues."""
    j = np.arange(1, 60)[:, None]
    return ((-1.0) ** (j + 1) * (2 * j + 1) * np.exp(-j * (j + 1) / 2 * x)).sum(axis=0)


@pytest.mark.parametrize("x", [0.3, 1.0, 2.5, 6.0])
def test_two_and_four_copies_are_sums_of_exponentials(x):
    assert null.anderson_darling_sum_sf(x, 2) == pytest.approx(two_copies_sf(x)[0], rel=1e-10)
    # Two more copies: P(A + B > x) = P(A > x) + int P(B > x - a) dP(A <= a).
    edges = np.linspace(0, 2 * x, 2001)
    upto = np.where(edges < 0.05, 1.0, two_copies_sf(edges))
    middles = np.interp((edges[1:] + edges[:-1]) / 2, edges, upto)
    four = upto[-1] + float(-np.diff(upto) @ middles[::-1])
    assert null.anderson_darling_sum_sf(2 * x, 4) == pytest.approx(four, abs=2e-5)


def test_two_copies_have_a_closed_form_far_into_the_tail():
    # The residue at -1 of L(s) / s, with L(s) = 2 pi s / cos(pi/2 sqrt(1 - 8 s)).
    for x in (20.0, 100.0, 400.0):
        assert null.anderson_darling_sum_sf(x, 2) == pytest.approx(3 * math.exp(-x), rel=1e-8)


@pytest.mark.parametrize("copies", [1, 3, 20])
def test_the_law_falls_from_one_and_has_the_mean_and_variance_of_its_sum(copies):
    x = np.linspace(0, copies + 40, 301)
    p = np.array([null.anderson_darling_sum_sf(value, copies) for value in x])
    assert p[0] == 1
    assert (np.diff(p) <= 1e-12).all()
    mean, second = simpson(p, x=x), simpson(2 * x * p, x=x)
    assert mean == pytest.approx(copies, rel=3e-4)
    variance = copies * null.ANDERSON_DARLING_VARIANCE
    assert second - mean**2 == pytest.approx(variance, rel=1e-2)


def test_the_deviation_of_several_is_scipys():
    sizes = (10, 25, 7, 100)
    rng = np.random.default_rng(3)
    windows = [rng.normal(size=size) for size in sizes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        statistic = stats.anderson_ksamp(windows, variant="midrank").statistic
    found = anderson_darling_several(counted(windows)).statistic
    # Any error of the deviation would show as a factor of the statistic.
    assert found == pytest.approx(statistic, rel=1e-9)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([[1, 2], [0, 0], [3, 1]], "window 1 is empty"),
        ([[0, 5], [0, 6], [0, 7]], "all values of all windows are equal"),
        ([[1, 0], [0, 1], [0, 1]], "fewer than 4 values in all"),
        (np.zeros((3, 0), dtype=int), "window 0 is empty"),
    ],
)
def test_windows_that_cannot_be_compared_say_why(counts, reason):
    found = anderson_darling_several(counts)
    assert (found.statistic, found.p_value, found.furthest) == (None, None, None)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2]], r"shape \(1, 2\)"),
        ([1, 2], r"shape \(2,\)"),
        ([[1, 2], [1.5, 2]], "float64"),
        ([[1, 2], [-1, 2]], "count -1"),
    ],
)
def test_counts_that_are_none_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        anderson_darling_several(counts)
    with pytest.raises(ValueError, match="0 copies"):
        null.anderson_darling_sum_sf(1.0, 0)
