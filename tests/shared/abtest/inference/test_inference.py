"""Intervals hold at every look, estimates are those of the units themselves, and published figures
come out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from shared.abtest.inference import bayes
from shared.abtest.inference.estimates import (
    Estimate,
    Moments,
    adjusted,
    cautious,
    cautious_share,
    difference,
    mean,
    ratio,
)
from shared.abtest.inference.fixed_horizon import two_proportions_p, welch
from shared.abtest.inference.multiplicity import holm
from shared.abtest.inference.power import (
    always_valid_effect,
    always_valid_units,
    days_left,
    minimum_detectable_effect,
    required_units,
)
from shared.abtest.inference.sample_ratio import sequential_sample_ratio_p
from shared.abtest.inference.sequential import (
    always_valid_p,
    confidence_sequence,
    mixture_scale,
    reach,
)
from tests.shared.abtest.units import of_share, of_values


def of(value: float, deviation: float, n: int) -> Moments:
    return Moments(n, value, deviation**2 * (n - 1))


def apart(treatment: Moments, control: Moments):
    one, two = mean(treatment), mean(control)
    assert one is not None
    assert two is not None
    return difference(one, two)


def test_a_published_difference_of_means_comes_out():
    found = welch(apart(of(0.70, 6.2, 3461), of(0.41, 3.9, 3407)))
    assert found.interval.low == pytest.approx(0.04538, abs=5e-6)
    assert found.interval.high == pytest.approx(0.53462, abs=5e-6)
    assert found.p_value == pytest.approx(0.02016, abs=5e-6)


def test_two_shares_are_told_apart_as_by_the_chi_square_of_their_table():
    found = two_proportions_p(of_share(60, 400), of_share(40, 420))
    table = [[60, 340], [40, 380]]
    assert found == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-12)


def test_ten_against_twelve_percent_asks_for_3838_units_each():
    assert required_units(0.1 * 0.9, 0.12 * 0.88, 0.02) == 3838
    least = minimum_detectable_effect(0.1 * 0.9, 0.12 * 0.88, 3838, 3838)
    assert least == pytest.approx(0.02, rel=1e-4)
    assert minimum_detectable_effect(0.1, 0.1, 0, 5) is None


def test_confidence_sequences_take_about_twice_as_many_units():
    needed = always_valid_units(0.1 * 0.9, 0.12 * 0.88, 0.02, planned=15_000)
    assert 1.9 < needed / 3838 < 2.0
    at_these = always_valid_effect(0.1 * 0.9, 0.12 * 0.88, needed, needed, planned=15_000)
    before = always_valid_effect(0.1 * 0.9, 0.12 * 0.88, needed - 1, needed - 1, planned=15_000)
    assert at_these <= 0.02 < before
    assert always_valid_units(0.09, 0.1, 0.02, planned=15_000, comparisons=4) > needed
    assert always_valid_effect(0.1, 0.1, 0, 5, planned=100) is None
    # A tenth of the units in the treatment: 1 + 1 / 9 of its share against 2 of the half.
    uneven = always_valid_units(0.1, 0.1, 0.02, planned=15_000, ratio=1 / 9) / 0.9
    even = always_valid_units(0.1, 0.1, 0.02, planned=15_000) / 0.5
    assert uneven / even == pytest.approx(0.25 / 0.09, rel=0.1)
    with pytest.raises(ValueError, match="0 comparisons; expected 1 or more"):
        always_valid_effect(0.1, 0.1, 5, 5, planned=100, comparisons=0)


def test_a_share_of_few_units_varies_though_they_are_all_alike():
    found = cautious_share(Moments(30, 0.0, 0.0, 1.0, 0.0, 0.0))
    assert found is not None
    # Agresti and Coull: p (1 - p) / n with (0 + 2) / (30 + 4).
    assert (found.value, found.n) == (0.0, 30)
    assert found.variance == pytest.approx(2 / 34 * (1 - 2 / 34) / 30, rel=0.04)
    many = Moments(10**6, 0.3, 0.21 * 10**6, 1.0, 0.0, 0.0)
    assert cautious_share(many).variance == pytest.approx(ratio(many).variance, rel=1e-4)
    assert cautious_share(Moments(5, 0.0, 0.0)) is None


def test_the_variance_of_a_mean_is_raised_by_its_relative_variance():
    # A standard error of a tenth of the value: twice the variance; of a hundredth: 1 % more.
    assert cautious(Estimate(5.0, 0.25, 30, 29)).variance == pytest.approx(0.5)
    assert cautious(Estimate(5.0, 0.0025, 3000, 2999)).variance == pytest.approx(0.002525)
    assert cautious(Estimate(0.0, 0.0, 30, 29)).variance == 0.0


def test_days_left_are_unknown_where_nobody_comes():
    assert days_left(100, 40, 20) == 3
    assert days_left(100, 100, 0) == 0
    assert days_left(100, 40, 0) is None


def test_moments_of_parts_add_up_to_those_of_the_whole():
    rng = np.random.default_rng(3)
    y = 1e6 + rng.normal(size=1000)
    x = rng.exponential(size=1000)
    parts = [of_values(y[a:b], x[a:b]) for a, b in ((0, 0), (0, 1), (1, 700), (700, 1000))]
    whole = of_values(y, x)
    total = sum(parts[1:], start=parts[0])
    for name in ("n", "y", "yy", "x", "xx", "xy"):
        assert getattr(total, name) == pytest.approx(getattr(whole, name), rel=1e-9), name


def test_a_ratio_varies_as_drawing_the_units_again_says():
    rng = np.random.default_rng(5)
    x = rng.poisson(3, 400).astype(float)
    y = 0.2 * x + rng.gamma(2, 0.5, 400)
    found = ratio(of_values(y, x))
    assert found is not None
    assert found.value == pytest.approx(y.sum() / x.sum())
    drawn = rng.integers(0, 400, (4000, 400))
    again = y[drawn].sum(axis=1) / x[drawn].sum(axis=1)
    assert found.standard_error == pytest.approx(again.std(), rel=0.05)


def test_what_was_known_before_takes_its_noise_away_and_not_the_effect():
    rng = np.random.default_rng(7)
    before = rng.normal(10, 3, 20_000)
    y = before + rng.normal(0, 1, 20_000)
    y[10_000:] += 0.1
    control, treatment = (
        of_values(y[part], before[part]) for part in (slice(10_000), slice(10_000, None))
    )
    plain = apart(treatment, control)
    better = apart(*adjusted(treatment, control))
    assert better.variance / plain.variance == pytest.approx(0.1, abs=0.01)
    assert abs(better.value - 0.1) < 3 * better.standard_error


def test_what_is_the_same_for_all_changes_nothing():
    one, two = of_values([1.0, 2.0], [5.0, 5.0]), of_values([3.0], [5.0])
    assert adjusted(one, two) == (one, two)


def test_holm_adjusts_as_published():
    # Holm 1979 by hand: 0.01 x 4, 0.02 x 3, 0.03 x 2 raised to 0.06, 0.04 raised as well.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_p_value_is_the_level_at_which_the_interval_touches_zero(alpha: float):
    rho = mixture_scale(1000, alpha)
    control = of(0.0, 1.0, 500)
    low, high = 0.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        found = apart(of(middle, 1.0, 500), control)
        low, high = (
            (low, middle) if confidence_sequence(found, rho, alpha).low > 0 else (middle, high)
        )
    assert always_valid_p(apart(of(low, 1.0, 500), control), rho) == pytest.approx(alpha, rel=1e-6)


def test_the_interval_is_narrowest_for_the_units_it_was_made_for():
    def width(units: int) -> float:
        control = of(0.0, 1.0, 500)
        interval = confidence_sequence(apart(of(0.0, 1.0, 500), control), mixture_scale(units))
        return interval.high - interval.low

    assert width(1000) < min(width(500), width(2000))
    fixed = welch(apart(of(0.0, 1.0, 500), of(0.0, 1.0, 500))).interval
    assert width(1000) / (fixed.high - fixed.low) == pytest.approx(1.54, abs=0.05)


@pytest.mark.parametrize("kind", ["shares", "normal", "skewed"])
def test_looking_after_every_hundred_units_is_wrong_at_most_five_times_of_a_hundred(kind: str):
    rng = np.random.default_rng(11)
    tests, looks, batch = 2000, 50, 50
    shape = (2, tests, looks, batch)
    values = {
        "shares": lambda: (rng.random(shape) < 0.3).astype(float),
        "normal": lambda: rng.normal(size=shape),
        "skewed": lambda: rng.exponential(size=shape),
    }[kind]()
    n = batch * np.arange(1, looks + 1)
    sums = values.sum(axis=3).cumsum(axis=2)
    squares = (values**2).sum(axis=3).cumsum(axis=2)
    means = sums / n
    variances = ((squares / n - means**2) / (n - 1)).sum(axis=0)
    deltas = means[1] - means[0]
    rho = mixture_scale(5000)
    bound = np.array([reach(units, rho) for units in (2 * n).tolist()])
    wrong = (np.abs(deltas) > bound * np.sqrt(variances)).any(axis=1)
    naive = (np.abs(deltas) > 1.96 * np.sqrt(variances)).any(axis=1)
    assert wrong.mean() <= 0.05
    assert naive.mean() > 0.2, "the looks are many enough to mislead"


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_over_a_long_time_an_interval_misses_about_as_often_as_it_may(alpha: float):
    """Sums of normal values of a known variance: to reach less far would miss more often."""
    rng = np.random.default_rng(12)
    tests, planned = 4000, 300
    n = np.unique(np.geomspace(2, 10**8, 500).astype(int))
    steps = rng.normal(size=(tests, n.size)) * np.sqrt(np.diff(n, prepend=0))
    away = np.abs(steps.cumsum(axis=1)) / np.sqrt(n)
    rho = mixture_scale(planned, alpha)
    missed = (away > [reach(units, rho, alpha) for units in n.tolist()]).any(axis=1).mean()
    # 5 % less reach: 0.06 and 0.21.
    assert 0.7 * alpha < missed < alpha


def test_a_split_that_does_not_hold_is_found_and_one_that_does_stays():
    assert sequential_sample_ratio_p([1000, 1200], [0.5, 0.5]) < 0.01
    assert sequential_sample_ratio_p([1000, 1010], [0.5, 0.5]) == 1.0
    assert sequential_sample_ratio_p([5, 5, 1], [1, 1, 0]) == 0.0
    assert sequential_sample_ratio_p([0, 0], [1, 1]) is None
    assert sequential_sample_ratio_p([7], [1]) is None
    with pytest.raises(ValueError, match="expected from 0"):
        sequential_sample_ratio_p([1, 2], [0.5, math.nan])


def test_a_split_may_be_looked_at_after_every_ten_units():
    rng = np.random.default_rng(13)
    fired = 0
    for _ in range(300):
        first = (rng.random(1000) < 0.5).cumsum()[9::10]
        n = np.arange(10, 1001, 10)
        fired += any(
            sequential_sample_ratio_p([int(a), int(b - a)], [0.5, 0.5]) < 0.05
            for a, b in zip(first, n, strict=True)
        )
    assert fired / 300 <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 300)


def test_shares_that_have_changed_let_pass_what_the_changes_explain_and_no_more():
    most = [0.4, 1 / 3, 1 / 3]
    thirds = [1, 1, 1]
    assert sequential_sample_ratio_p([400, 300, 300], thirds) < 0.05
    assert sequential_sample_ratio_p([4000, 3000, 3000], thirds, most) == 1.0
    assert sequential_sample_ratio_p([2500, 2500, 5000], thirds, most) < 1e-9
    # So many came by other shares: of those after them a smaller deviation is told.
    few = [35_000, 32_500, 32_500]
    assert sequential_sample_ratio_p(few, thirds, most) == 1.0
    assert sequential_sample_ratio_p(few, thirds, most, 100) < 1e-9
    assert sequential_sample_ratio_p([33_400, 33_300, 33_300], thirds, most, 100) == 1.0
    assert sequential_sample_ratio_p([400, 300, 300], thirds, most, 1000) == 1.0
    assert sequential_sample_ratio_p([1, 1, 0], thirds, [0.5, 0.5, 0.4]) == 1.0
    # Who had slots once, and has none now.
    assert sequential_sample_ratio_p([500, 5], [1, 0], [1.0, 0.5]) is not None
    with pytest.raises(ValueError, match="below the shares"):
        sequential_sample_ratio_p([1, 1], [0.5, 0.5], [0.4, 0.6])


def test_a_split_that_changes_within_its_bounds_may_be_looked_at_after_every_twenty_units():
    rng = np.random.default_rng(14)
    runs, fired = 100, 0
    for _ in range(runs):
        # 4, 3 and 3 slots to begin with, then thirds.
        few, many = rng.choice(3, 200, p=[0.4, 0.3, 0.3]), rng.choice(3, 1800)
        seen = np.concatenate([few, many])[:, None] == np.arange(3)
        counts = seen.cumsum(axis=0)[19::20].tolist()
        fired += any(
            sequential_sample_ratio_p(one, [1, 1, 1], [0.4, 1 / 3, 1 / 3], 200) < 0.05
            for one in counts
        )
    assert fired <= 0.05 * runs


def test_the_probability_to_be_best_is_that_of_the_posterior():
    control, treatment = bayes.of_shares([(10, 100), (20, 100)])
    # P(Beta(21, 81) > Beta(11, 91)) by quadrature.
    grid = np.linspace(0, 1, 200_001)
    exact = np.trapezoid(stats.beta(21, 81).pdf(grid) * stats.beta(11, 91).cdf(grid), grid)
    assert treatment.probability_best == pytest.approx(exact, abs=0.005)
    assert control.probability_best + treatment.probability_best == pytest.approx(1)
    assert treatment.expected_loss < 0.001 < control.expected_loss


def test_of_costs_the_smaller_is_the_best():
    dear, cheap = (mean(of(value, 1.0, 400)) for value in (2.0, 1.5))
    assert dear is not None
    assert cheap is not None
    found = bayes.of_estimates([dear, cheap], larger_is_better=False)
    assert found[1].probability_best > 0.999
    assert found[0].expected_loss == pytest.approx(0.5, abs=0.01)
