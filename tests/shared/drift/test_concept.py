"""The relation of outcome and input: found when it moves, and not mistaken for a change of mix."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.drift.concept import (
    OUTCOME_RULE,
    BinnedOutcomes,
    calibration_error,
    compare_outcomes,
)
from shared.drift.effects import Effect, magnitude
from shared.drift.verdicts import ComparedMetric, DriftState, judge

BINS = 10
CONFIDENCE = (np.arange(BINS) + 0.5) / BINS
SURE = np.exp(2 * CONFIDENCE) / np.exp(2 * CONFIDENCE).sum()
UNSURE = SURE[::-1]
RATE = 0.2 + 0.7 * CONFIDENCE


def drawn(rng, n, mix, rate):
    counts = rng.multinomial(n, mix)
    successes = rng.binomial(counts, np.clip(rate, 0, 1))
    return counts - successes, successes


def compared(rng, n, before, after):
    return compare_outcomes(
        BinnedOutcomes.from_counts(drawn(rng, n, *before), drawn(rng, n, *after))
    )


def verdict(found):
    return judge([ComparedMetric("shop", "success", found.comparison, OUTCOME_RULE)])[0]


def test_other_inputs_alone_are_no_concept_drift():
    rng = np.random.default_rng(1)
    found = compared(rng, 20_000, (SURE, RATE), (UNSURE, RATE))
    assert found.explained_by_inputs == pytest.approx(-0.22, abs=0.03)
    assert found.difference == pytest.approx(0, abs=0.01)
    assert verdict(found).state is DriftState.STABLE


def test_a_relation_that_moves_is_found_though_the_inputs_do_not():
    rng = np.random.default_rng(2)
    found = compared(rng, 5_000, (SURE, RATE), (SURE, RATE - 0.1))
    assert verdict(found).state is DriftState.DRIFT
    assert found.difference == pytest.approx(-0.1, abs=0.03)
    assert found.explained_by_inputs == pytest.approx(0, abs=0.02)


def test_a_relation_that_moves_up_here_and_down_there_is_found_though_no_rate_changes():
    rng = np.random.default_rng(3)
    turned = RATE + 0.1 * np.where(np.arange(BINS) % 2, 1, -1)
    found = compared(rng, 5_000, (SURE, RATE), (SURE, turned))
    assert abs(found.difference + found.explained_by_inputs) < 0.03
    result = verdict(found)
    assert result.state is DriftState.DRIFT
    conditional, cmh = found.comparison.tests
    assert conditional.p_value < 1e-6 < cmh.p_value
    assert result.effect_size == pytest.approx(0.1, abs=0.03)


def test_simpsons_paradox_is_seen_through():
    # Better in each half, worse in all, since the hard half came more often.
    found = compare_outcomes(
        BinnedOutcomes.from_counts(([200, 300], [1800, 200]), ([10, 900], [390, 1100]))
    )
    assert found.difference + found.explained_by_inputs < 0
    assert found.difference > 0.05
    assert found.explained_by_inputs < -0.1


def test_the_common_shift_is_mantel_and_haenszels():
    # Admissions to Berkeley in 1973 by sex in six departments (P. J. Bickel, E. A. Hammel and
    # J. W. O'Connell, Science 187, 1975), and Mantel and Haenszel's sum in exact arithmetic.
    men = [313, 207, 205, 279, 138, 351], [512, 353, 120, 138, 53, 22]
    women = [19, 8, 391, 244, 299, 317], [89, 17, 202, 131, 94, 24]
    excess = variance = Fraction(0)
    for a, b, c, d in zip(*men, *women, strict=True):
        n = a + b + c + d
        excess += d - Fraction((b + d) * (c + d), n)
        variance += Fraction((a + b) * (c + d) * (a + c) * (b + d), n * n * (n - 1))
    found = compare_outcomes(BinnedOutcomes.from_counts(men, women)).comparison.tests[1]
    assert found.statistic == pytest.approx(float(excess**2 / variance), rel=1e-12)
    assert found.statistic == pytest.approx(1.5246, abs=1e-4)
    assert found.p_value == pytest.approx(0.2169, abs=1e-4)


@given(st.lists(st.tuples(*[st.integers(5, 300)] * 4), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_conditional_test_is_the_sum_of_the_bins_chi_squares(cells):
    tables = [np.array(cell).reshape(2, 2) for cell in cells]
    kept = [t for t in tables if stats.contingency.expected_freq(t).min() >= 5]
    outcomes = BinnedOutcomes.from_counts(
        ([t[0, 0] for t in tables], [t[0, 1] for t in tables]),
        ([t[1, 0] for t in tables], [t[1, 1] for t in tables]),
    )
    found = compare_outcomes(outcomes)
    expected = sum(stats.chi2_contingency(t, correction=False).statistic for t in kept)
    conditional = found.comparison.tests[0]
    if not kept:
        assert conditional.p_value is None
        return
    assert conditional.statistic == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert conditional.p_value == pytest.approx(stats.chi2.sf(expected, len(kept)), rel=1e-9)


def test_one_bin_is_the_plain_comparison_of_two_shares():
    found = compare_outcomes(BinnedOutcomes.from_counts(([60], [40]), ([80], [120])))
    plain = stats.chi2_contingency([[60, 40], [80, 120]], correction=False).statistic
    conditional, cmh = found.comparison.tests
    assert conditional.statistic == pytest.approx(plain)
    assert cmh.statistic == pytest.approx(plain * 299 / 300)
    assert found.difference == pytest.approx(0.2)


def test_bins_that_one_window_lacks_are_left_out():
    full = compare_outcomes(BinnedOutcomes.from_counts(([50, 0], [50, 0]), ([30, 9], [70, 0])))
    alone = compare_outcomes(BinnedOutcomes.from_counts(([50], [50]), ([30], [70])))
    assert full.difference == alone.difference
    assert [t.p_value for t in full.comparison.tests] == [t.p_value for t in alone.comparison.tests]


def test_many_small_bins_are_left_to_the_common_shift():
    rng = np.random.default_rng(5)
    old = rng.binomial(8, 0.2, 200)
    new = rng.binomial(8, 0.4, 200)
    found = compare_outcomes(BinnedOutcomes.from_counts((8 - old, old), (8 - new, new)))
    conditional, cmh = found.comparison.tests
    assert conditional.reason == "no bin has 5 of either outcome expected in both windows"
    assert cmh.p_value < 1e-6
    assert verdict(found).state is DriftState.DRIFT


def test_no_test_alarms_too_often_while_the_inputs_move():
    rng = np.random.default_rng(6)
    runs, alarms = 400, np.zeros(2)
    for _ in range(runs):
        found = compared(rng, 1_000, (SURE, RATE), (UNSURE, RATE))
        alarms += [test.p_value <= 0.05 for test in found.comparison.tests]
    assert (alarms / runs <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)).all(), alarms


@pytest.mark.parametrize(
    ("baseline", "current", "state", "reason"),
    [
        (([], []), ([], []), DriftState.NO_DATA, "the baseline window is empty"),
        (([9, 9], [9, 9]), ([0, 0], [0, 0]), DriftState.NO_DATA, "the current window is empty"),
        (
            ([0, 0], [90, 90]),
            ([0, 0], [90, 90]),
            DriftState.INSUFFICIENT,
            "all outcomes of both windows are equal",
        ),
        (
            ([90, 0], [90, 0]),
            ([0, 90], [0, 90]),
            DriftState.INSUFFICIENT,
            "only 0% of the baseline window lies in bins with at least 5 values in both;"
            " expected 50%",
        ),
    ],
)
def test_what_cannot_be_compared_is_never_stable(baseline, current, state, reason):
    found = compare_outcomes(BinnedOutcomes.from_counts(baseline, current))
    assert found.difference is found.explained_by_inputs is None
    assert verdict(found).state is state
    assert found.comparison.reason == reason


def test_outcomes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="current with count -1"):
        BinnedOutcomes.from_counts(([1], [1]), ([1], [-1]))
    with pytest.raises(ValueError, match="1, 1, 2, 1 bins"):
        BinnedOutcomes.from_counts(([1], [1]), ([1, 2], [1]))


def test_the_magnitude_of_a_difference_has_no_sign():
    assert magnitude(Effect.OUTCOME_DIFFERENCE, -0.2) == 0.2
    assert magnitude(Effect.OUTCOME_MOVEMENT, 0.2) == 0.2


@pytest.mark.parametrize(("rate", "n"), [(CONFIDENCE, 200), (0.8 * CONFIDENCE, 2000)])
def test_the_calibration_errors_interval_holds_the_true_error(rate, n):
    rng = np.random.default_rng(7)
    true = float(SURE @ np.abs(rate - CONFIDENCE))
    held = 0
    for _ in range(100):
        found = calibration_error(*drawn(rng, n, SURE, rate), CONFIDENCE)
        held += found.low <= true <= found.high
    assert held >= 90


def test_an_agent_that_is_sure_and_wrong_is_not_calibrated():
    found = calibration_error([0, 400], [0, 600], [0.2, 0.9])
    assert found.error == pytest.approx(0.3)
    assert 0.26 < found.low < 0.3 < found.high < 0.34
    assert found == calibration_error([400], [600], [0.9])


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (([], [], []), "the window is empty"),
        (([3], [4], [0.5]), "the window holds 7 values; expected at least 30"),
    ],
)
def test_a_calibration_that_is_not_known_is_not_zero(counts, reason):
    found = calibration_error(*counts)
    assert (found.error, found.low, found.high, found.reason) == (None, None, None, reason)


def test_confidence_that_is_none_is_refused():
    with pytest.raises(ValueError, match="confidence outside 0 to 1"):
        calibration_error([1], [1], [math.nan])
    with pytest.raises(ValueError, match="1, 1, 2 bins"):
        calibration_error([1], [1], [0.1, 0.2])
    with pytest.raises(ValueError, match="level 1"):
        calibration_error([1], [1], [0.1], level=1)
