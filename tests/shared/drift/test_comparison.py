"""Categories and shares: chi-square, or Fisher's exact test where counts are small."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.drift import null_distributions as null
from shared.drift.comparison import compare_categories, compare_shares
from shared.drift.effects import Effect
from shared.drift.statistics import fisher_exact
from shared.drift.verdicts import CATEGORY_RULE, ComparedMetric, DriftState, judge
from shared.drift.window_pair import WindowPair, pooled_categories

cells = st.integers(0, 60)


@given(cells, cells, cells, cells)
@settings(max_examples=60, deadline=None)
def test_fishers_exact_test_is_scipys(a, b, c, d):
    found = fisher_exact(WindowPair.from_counts([a, b], [c, d]))
    if found.p_value is None:
        assert found.reason is not None
        return
    assert found.p_value == pytest.approx(stats.fisher_exact([[a, b], [c, d]]).pvalue, rel=1e-10)


@pytest.mark.parametrize("table", [((8, 2), (1, 5)), ((0, 12), (3, 1)), ((20, 0), (15, 5))])
def test_fishers_exact_test_is_the_sum_over_all_tables_with_the_margins(table):
    (a, b), (c, d) = table
    n, marked, drawn = a + b + c + d, b + d, c + d
    chances = {
        k: Fraction(math.comb(marked, k) * math.comb(n - marked, drawn - k), math.comb(n, drawn))
        for k in range(max(0, marked + drawn - n), min(marked, drawn) + 1)
    }
    exact = sum(p for p in chances.values() if p <= chances[d])
    assert null.fisher_two_sided(d, n, marked, drawn) == pytest.approx(float(exact), rel=1e-12)


def test_fishers_exact_test_keeps_its_digits_where_the_counts_are_huge():
    # One marked value among a billion is in the window with the window's share.
    assert null.fisher_two_sided(1, 10**9, 1, 250_000) == pytest.approx(0.00025, rel=1e-12)
    # Of none and one, one is more likely by two in a million.
    assert null.fisher_two_sided(0, 10**12, 10**6, 10**6) == pytest.approx(1 - 1 / math.e, rel=1e-5)
    # Poisson(1) is its limit; 8 or more, and nothing below is as unlikely.
    assert null.fisher_two_sided(8, 10**12, 10**6, 10**6) == pytest.approx(
        stats.poisson.sf(7, 1), rel=1e-4
    )
    assert null.fisher_two_sided(5_000, 10**12, 10**6, 10**6) == 0


def test_fishers_exact_test_refuses_a_table_that_cannot_be():
    with pytest.raises(ValueError, match="5 of 3 marked in 4 drawn of 10"):
        null.fisher_two_sided(5, 10, 3, 4)
    assert fisher_exact(WindowPair.from_counts([1, 2, 3], [3, 2, 1])).reason == (
        "3 categories; Fisher's exact test compares two"
    )


@pytest.mark.parametrize(
    ("baseline", "current", "reason"),
    [
        ((0, 0), (3, 3), "the baseline window is empty"),
        ((0, 50), (0, 50), "all values of both windows are equal"),
    ],
)
def test_shares_that_cannot_be_tested_say_why(baseline, current, reason):
    found = compare_shares(baseline, current)
    assert found.tests[0].p_value is None
    assert found.effects == {}
    assert found.reason == found.tests[0].reason == reason


def test_the_effect_of_shares_is_their_difference():
    found = compare_shares((10, 90), (300, 700))
    assert found.effects == {Effect.KS_DISTANCE: pytest.approx(0.2)}
    assert found.tests[0].effect_size == pytest.approx(0.2)


def test_rare_outcomes_are_compared_exactly_and_common_ones_by_chi_square():
    rare = compare_shares((98, 2), (91, 9)).tests[0]
    assert rare.name == "chi_square"
    rarer = compare_shares((99, 1), (92, 8)).tests[0]
    assert rarer.name == "fisher_exact"
    assert rarer.p_value == pytest.approx(stats.fisher_exact([[99, 1], [92, 8]]).pvalue)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), min_size=2, max_size=30))
def test_pooling_loses_nothing_and_leaves_enough_of_every_category(counts):
    left, right = np.array(counts).T
    pair = WindowPair.from_counts(left, right)
    if pair.problem is not None:
        return
    pooled = pooled_categories(pair)
    assert (pooled.n_baseline, pooled.n_current) == (pair.n_baseline, pair.n_current)
    if pooled.pooled.size > 2:
        smaller = min(pair.n_baseline, pair.n_current)
        assert pooled.pooled.min() * smaller / pair.total >= 5


def test_rare_categories_are_pooled_and_kept_only_if_they_are_enough_together():
    pair = pooled_categories(WindowPair.from_counts([90, 40, 4, 3, 7], [80, 50, 4, 3, 4]))
    assert (pair.baseline.tolist(), pair.current.tolist()) == ([90, 40, 7, 7], [80, 50, 4, 7])
    pair = pooled_categories(WindowPair.from_counts([90, 1, 2, 0, 7], [80, 2, 0, 3, 15]))
    assert (pair.baseline.tolist(), pair.current.tolist()) == ([90, 10], [80, 20])
    pair = pooled_categories(WindowPair.from_counts([90, 1], [80, 2]))
    assert (pair.baseline.tolist(), pair.current.tolist()) == ([90, 1], [80, 2])


def test_one_new_category_seen_once_is_no_drift():
    baseline = [500_000, 500_000, 0]
    assert compare_categories(WindowPair.from_counts(baseline, [50, 49, 1])).tests[0].p_value > 0.5


def test_categories_are_compared_whatever_their_order():
    before, after = {"click": 500, "type": 300, "wait": 9}, {"type": 200, "scroll": 60, "click": 90}
    found = compare_categories(WindowPair.from_categories(before, after))
    back = compare_categories(
        WindowPair.from_categories(dict(reversed(before.items())), dict(reversed(after.items())))
    )
    expected = stats.chi2_contingency([[500, 300, 0, 9], [90, 200, 60, 0]], correction=False)
    assert found.tests[0].p_value < 1e-20
    assert found.tests[0].p_value == pytest.approx(back.tests[0].p_value)
    assert found.effects[Effect.TOTAL_VARIATION] == pytest.approx(back.tests[0].effect_size)
    assert expected.pvalue < 1e-20


def test_categories_are_judged_by_what_changed_its_category():
    def verdict(current):
        found = compare_categories(WindowPair.from_categories({"click": 700, "type": 300}, current))
        return judge([ComparedMetric("shop", "actions", found, CATEGORY_RULE)])[0].state

    assert verdict({"click": 690, "type": 310}) is DriftState.STABLE
    assert verdict({"click": 500, "type": 500}) is DriftState.DRIFT
    assert verdict({}) is DriftState.NO_DATA
    assert verdict({"hover": 12}) is DriftState.INSUFFICIENT


def test_categories_that_are_all_rare_cannot_be_compared():
    n = 1_000_000
    ones, twos = np.zeros(n, np.int64), np.zeros(n, np.int64)
    ones[: n // 2], twos[n // 2 :] = 1, 1
    found = compare_categories(WindowPair.from_counts(ones, twos))
    assert found.reason == "no category is expected 5 times in both windows"
    assert found.tests[0].p_value is None


def test_small_tables_do_not_alarm_too_often():
    # Every table with a rare outcome under no change, by its exact chance: no simulation.
    for n1, n2, share in ((60, 40, 0.05), (200, 30, 0.02)):
        left, right = stats.binom(n1, share), stats.binom(n2, share)
        size = 0.0
        for a in range(round(left.ppf(1e-6)), round(left.isf(1e-6)) + 1):
            for b in range(round(right.ppf(1e-6)), round(right.isf(1e-6)) + 1):
                p = compare_shares((n1 - a, a), (n2 - b, b)).tests[0].p_value
                if p is not None and p <= 0.05:
                    size += left.pmf(a) * right.pmf(b)
        assert size <= 0.062, (n1, n2, share)


@pytest.mark.parametrize("most", [2**62, 2**63 - 1, 2**63, 2**70])
def test_more_values_than_can_be_summed_are_a_reason(most: int) -> None:
    reason = "the baseline window holds 2**62 values or more"
    assert compare_shares((5, most), (5, 5)).reason == reason
    assert compare_categories(WindowPair.from_categories({"a": most}, {"a": 5})).reason == reason
    both = compare_shares((most, most), (most, most))
    assert (both.reason, both.tests[0].p_value) == (reason, None)
