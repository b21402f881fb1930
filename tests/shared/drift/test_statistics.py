"""The four tests against scipy, the effect sizes, and what degenerate windows come to."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon

from shared.drift import null_distributions as null
from shared.drift.comparison import compare
from shared.drift.effects import Effect, magnitude
from shared.drift.statistics import (
    anderson_darling,
    chi_square,
    chi_square_grouped,
    kolmogorov_smirnov,
    mann_whitney,
)
from shared.drift.window_pair import WindowPair

SAMPLERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.lognormal(3, 2, size=n),
    "integer": lambda rng, n: rng.poisson(40, size=n),
    "tied": lambda rng, n: rng.integers(0, 4, size=n),
    "binary": lambda rng, n: (rng.random(n) < 0.07).astype(np.int64),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
}
SIZES = [(12, 30), (100, 100), (1500, 700), (20_000, 5_000)]


@pytest.fixture(params=[(name, size) for name in SAMPLERS for size in SIZES], ids=str)
def windows(request):
    name, (n_baseline, n_current) = request.param
    rng = np.random.default_rng([n_baseline, list(SAMPLERS).index(name)])
    shift = 1 if name in {"integer"} else 0
    baseline, current = SAMPLERS[name](rng, n_baseline), SAMPLERS[name](rng, n_current) + shift
    if len(np.unique(np.concatenate((baseline, current)))) == 1:
        current[0] += 1
    return baseline, current


def table_of(baseline, current):
    values = np.unique(np.concatenate((baseline, current)))
    return values, *(
        np.bincount(np.searchsorted(values, window), minlength=values.size)
        for window in (baseline, current)
    )


def scipy_anderson_darling(baseline, current):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its p-value is clipped
        return stats.anderson_ksamp([baseline, current], variant="midrank")


def test_kolmogorov_smirnov_is_scipys(windows):
    found = kolmogorov_smirnov(WindowPair.from_arrays(*windows))
    expected = stats.ks_2samp(*windows, method="asymp")
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    small = len(windows[0]) * len(windows[1]) / sum(map(len, windows)) <= 140
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10 if small else 4e-3)


def test_mann_whitney_is_scipys(windows):
    found = mann_whitney(WindowPair.from_arrays(*windows))
    expected = stats.mannwhitneyu(*windows, method="asymptotic")
    assert found.statistic == expected.statistic
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)


def test_anderson_darling_is_scipys_and_its_p_value_is_close(windows):
    found = anderson_darling(WindowPair.from_arrays(*windows))
    expected = scipy_anderson_darling(*windows)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-10)
    untied = len(np.unique(np.concatenate(windows))) == sum(map(len, windows))
    if untied and 0.001 < expected.pvalue < 0.25:
        assert found.p_value == pytest.approx(expected.pvalue, rel=0.03)


def test_chi_square_is_scipys(windows):
    values, left, right = table_of(*windows)
    found = chi_square(WindowPair.from_counts(left, right))
    expected = stats.chi2_contingency([left, right], correction=False)
    assert values.size - 1 == expected.dof
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    association = stats.contingency.association(np.array([left, right]), method="cramer")
    assert found.effect_size == pytest.approx(association, rel=1e-9, abs=1e-9)


def test_effects_are_scipys(windows):
    pair = WindowPair.from_arrays(*windows)
    effects = compare(pair).effects
    assert effects[Effect.WASSERSTEIN] == pytest.approx(
        stats.wasserstein_distance(*windows), rel=1e-9
    )
    u = stats.mannwhitneyu(windows[1], windows[0], method="asymptotic").statistic
    assert effects[Effect.AUC] == pytest.approx(u / len(windows[0]) / len(windows[1]), rel=1e-12)
    if Effect.JENSEN_SHANNON in effects:
        assert effects[Effect.JENSEN_SHANNON] == pytest.approx(
            jensenshannon(*pair.grouped, base=2), rel=1e-7, abs=1e-9
        )


def test_counts_and_arrays_give_the_same(windows):
    values, left, right = table_of(*windows)
    from_arrays = compare(WindowPair.from_arrays(*windows))
    from_counts = compare(WindowPair.from_counts(left, right, values))
    assert from_arrays == from_counts


def test_integers_counted_without_a_sort_give_the_same():
    rng = np.random.default_rng(5)
    left, right = rng.poisson(900, 3000) - 1000, rng.poisson(905, 2000) - 1000
    assert compare(WindowPair.from_arrays(left, right)) == compare(
        WindowPair.from_arrays(left.astype(float), right.astype(float))
    )
    assert compare(WindowPair.from_arrays(left, np.abs(right).astype("u1"))) == compare(
        WindowPair.from_arrays(left.astype(float), np.abs(right).astype("u1").astype(float))
    )


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=2, max_size=50),
)
@settings(max_examples=60, deadline=None)
def test_any_counts_give_finite_results_within_bounds(counts):
    left, right = np.array(counts).T
    outcome = compare(WindowPair.from_counts(left, right, np.arange(len(counts))))
    for test in outcome.tests:
        assert (test.p_value is None) == (test.reason is not None)
        if test.p_value is not None:
            assert 0 <= test.p_value <= 1
            assert math.isfinite(test.statistic)
    assert all(math.isfinite(size) for size in outcome.effects.values())
    for effect in (Effect.KS_DISTANCE, Effect.AUC, Effect.JENSEN_SHANNON, Effect.CRAMERS_V):
        assert 0 <= outcome.effects.get(effect, 0) <= 1


@given(st.lists(st.integers(0, 400), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_swapping_the_windows_changes_no_p_value(left):
    right = left[::-1]
    forth = compare(WindowPair.from_counts(left, right))
    back = compare(WindowPair.from_counts(right, left))
    for a, b in zip(forth.tests, back.tests, strict=True):
        assert (a.p_value is None) == (b.p_value is None)
        if a.p_value is not None:
            assert a.p_value == pytest.approx(b.p_value, rel=1e-9, abs=1e-300)


def test_counts_of_a_billion_events_agree_with_exact_arithmetic():
    left, right = [10**9, 3, 0], [10**9, 0, 5]
    found = mann_whitney(WindowPair.from_counts(left, right))
    n1, n2 = sum(left), sum(right)
    n, u = n1 + n2, 10**18 // 2 + 3 * 10**9
    ties = sum(t**3 - t for t in (2 * 10**9, 3, 5))
    variance = n1 * n2 / 12 * ((n + 1) * n * (n - 1) - ties) / (n * (n - 1))
    z = (abs(2 * u - n1 * n2) - 1) / 2 / math.sqrt(variance)
    assert found.statistic == pytest.approx(u, rel=1e-15)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)


def test_more_events_than_fit_exact_integers_are_still_tested():
    left, right = np.array([1, 2, 1]) * 10**11, np.array([1, 2, 1]) * 10**11
    outcome = compare(WindowPair.from_counts(left, right, [0, 1, 2]))
    assert [test.p_value for test in outcome.tests] == [1.0] * 4


@pytest.mark.parametrize("n", [1001, 1200, 3000])
@pytest.mark.parametrize(("x", "error"), [(0.8, 1e-4), (1.36, 3e-4), (1.63, 1e-3), (1.95, 3e-3)])
def test_the_limiting_kolmogorov_law_is_within_its_stated_error(n, x, error):
    exact = stats.kstwo.sf(x / math.sqrt(n), n)
    found = null.kolmogorov_smirnov_sf(x / math.sqrt(n), 2 * n, 2 * n)
    assert found == pytest.approx(exact, rel=error)


@pytest.mark.parametrize(
    ("x", "p"),
    # Percentage points of A2: M. A. Stephens, JASA 69 (1974), table 1, case 0.
    [(1.610, 0.15), (1.933, 0.10), (2.492, 0.05), (3.070, 0.025), (3.857, 0.01)],
)
def test_the_anderson_darling_law_meets_the_published_points(x, p):
    assert null.anderson_darling_sf(x) == pytest.approx(p, rel=0.03)


@pytest.mark.parametrize("x", [0.3, 1.0, 4.0, 12.0])
def test_the_anderson_darling_law_is_imhofs_integral(x):
    # J. P. Imhof, Biometrika 48 (1961), eq. 3.2; what lies beyond the 3,000 weights is a constant.
    j = np.arange(1, 3001)
    weights, rest = 1 / (j * (j + 1)), 1 / 3001

    def integrand(t):
        angle = np.arctan(weights * t).sum() / 2 - (x - rest) * t / 2
        return math.sin(angle) / (t * math.exp(np.log1p((weights * t) ** 2).sum() / 4))

    value, _ = quad(integrand, 1e-9, 600, limit=2000)
    assert null.anderson_darling_sf(x) == pytest.approx(0.5 + value / np.pi, abs=2e-6)


def test_the_anderson_darling_law_falls_from_one_far_into_the_tail():
    x = np.linspace(0, 200, 4001)
    p = np.array([null.anderson_darling_sf(value) for value in x])
    assert p[0] == 1
    assert (np.diff(p) <= 1e-13).all()
    # Leading term of V. M. Zolotarev (1961): sqrt(3) P(chi-square(1) > 2 x).
    assert p[-1] / (math.sqrt(3) * math.erfc(math.sqrt(200))) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("n1", "n2"), [(2, 2), (5, 9), (40, 1000), (3000, 3000)])
def test_the_anderson_darling_deviation_is_the_papers_double_sum(n1, n2):
    n, inverse = n1 + n2, 1 / n1 + 1 / n2
    h = sum(1 / i for i in range(1, n))
    tail = np.cumsum(1 / np.arange(n - 1, 1, -1))
    g = float((tail / np.arange(2, n)).sum())
    a = (4 * g - 6) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * 4 + 8 * h * 2 + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * 4 - 4 * h * 2
    variance = (a * n**3 + b * n**2 + c * n + d) / ((n - 1) * (n - 2) * (n - 3))
    assert null.anderson_darling_deviation(n1, n2) == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_the_tied_variance_has_its_two_known_ends():
    assert null.anderson_darling_tied_variance(np.array([7, 3])) == pytest.approx(2)
    fine = null.anderson_darling_tied_variance(np.ones(20_000, dtype=np.int64))
    assert fine == pytest.approx(null.ANDERSON_DARLING_VARIANCE, rel=1e-3)


@pytest.mark.parametrize(
    ("baseline", "current", "reason"),
    [
        ([], [1, 2], "the baseline window is empty"),
        ([1.5, 2], [], "the current window is empty"),
        ([], [], "the baseline window is empty"),
        ([3], [1, 2], "the baseline window holds one value; expected at least 2"),
        ([4, 4], [4, 4, 4], "all values of both windows are equal"),
        ([1.0, math.nan], [1, 2], "1 values of the baseline are NaN or infinite"),
        ([1, 2], [math.inf, -math.inf, 0], "2 values of the current are NaN or infinite"),
    ],
)
def test_what_cannot_be_tested_is_a_state_with_a_reason(baseline, current, reason):
    outcome = compare(WindowPair.from_arrays(baseline, current))
    assert outcome.reason == reason
    assert outcome.effects == {}
    assert (outcome.n_baseline, outcome.n_current) == (len(baseline), len(current))
    for test in outcome.tests:
        assert (test.statistic, test.p_value, test.effect_size) == (None, None, None)
        assert test.reason == reason


def test_windows_too_small_for_a_chi_square_say_so():
    outcome = compare(WindowPair.from_arrays([1.0, 2.0, 3.0], [2.5, 3.5, 4.5]))
    by_name = {test.name: test for test in outcome.tests}
    assert by_name["chi_square"].reason == "no two groups of values have 5 expected in both windows"
    assert by_name["kolmogorov_smirnov"].p_value is not None
    assert Effect.JENSEN_SHANNON not in outcome.effects


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=2, max_size=300))
def test_groups_hold_everything_once_and_enough_of_it(counts):
    left, right = np.array(counts).T
    pair = WindowPair.from_counts(left, right)
    if pair.problem is not None:
        return
    group_left, group_right = pair.grouped
    assert (group_left.sum(), group_right.sum()) == (left.sum(), right.sum())
    assert group_left.size <= 32
    if group_left.size > 1:
        expected = (group_left + group_right) * min(left.sum(), right.sum()) / pair.total
        assert expected.min() >= 5 - 1e-9


def test_one_huge_outlier_changes_neither_rank_nor_state():
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=500), rng.normal(size=500)
    right[0] = 50
    near = compare(WindowPair.from_arrays(left, right))
    right[0] = 1e300
    far = compare(WindowPair.from_arrays(left, right))
    assert near.tests == far.tests
    assert math.isfinite(far.effects[Effect.WASSERSTEIN])


def test_values_further_apart_than_a_float_can_tell_have_no_distance():
    outcome = compare(WindowPair.from_arrays([-1.7e308] * 2, [1.7e308] * 2))
    assert outcome.reason is None
    assert Effect.WASSERSTEIN not in outcome.effects


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, -2], [1, 2]), "baseline count -2"),
        (([1, 2], [1.5, 2]), "current counts of type float64"),
        (([1, 2], [1, 2, 3]), "2 baseline bins and 3 current"),
        (([1, 2], [1, 2], [5, 5]), "positions do not rise"),
        (([1, 2], [1, 2], [5]), "1 positions of 2 bins"),
    ],
)
def test_counts_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowPair.from_counts(*arguments)


def test_the_magnitude_of_an_auc_is_its_distance_from_a_half():
    assert magnitude(Effect.AUC, 0.5) == 0
    assert magnitude(Effect.AUC, 0.0) == magnitude(Effect.AUC, 1.0) == 1
    assert magnitude(Effect.PSI, 0.3) == 0.3


def test_the_grouped_chi_square_is_the_plain_one_over_the_groups():
    rng = np.random.default_rng(8)
    pair = WindowPair.from_arrays(rng.normal(size=900), rng.normal(0.2, size=800))
    expected = stats.chi2_contingency(np.array(pair.grouped), correction=False)
    assert chi_square_grouped(pair).statistic == pytest.approx(expected.statistic, rel=1e-12)
