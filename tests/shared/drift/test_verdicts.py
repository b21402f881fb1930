"""The rule by which a sweep calls a metric stable, warning or drift, or says that it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shared.drift.comparison import compare
from shared.drift.effects import Effect
from shared.drift.verdicts import (
    ComparedMetric,
    DriftState,
    MetricRule,
    benjamini_hochberg,
    judge,
)
from shared.drift.window_pair import WindowPair


def metric(baseline, current, **rule):
    pair = WindowPair.from_arrays(baseline, current)
    return ComparedMetric("search", "latency_ms", compare(pair), MetricRule(**rule))


def normal(seed, n, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, n)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_adjustment_is_scipys(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(expected, rel=1e-12)


def test_nothing_is_adjusted_to_nothing():
    assert benjamini_hochberg([]).size == 0


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="outside 0 to 1"):
        benjamini_hochberg([0.5, p])


def test_a_large_and_significant_shift_is_drift():
    (verdict,) = judge([metric(normal(1, 2000), normal(2, 2000, mean=1))])
    assert verdict.state is DriftState.DRIFT
    assert verdict.drift_detected
    assert verdict.p_value < verdict.threshold == 0.05
    assert verdict.effect_name is Effect.KS_DISTANCE
    assert verdict.effect_size == pytest.approx(0.38, abs=0.03)
    assert verdict.reason is None


def test_a_significant_shift_below_the_minimum_is_a_warning_and_below_half_of_it_is_stable():
    shifted = normal(1, 100_000), normal(2, 100_000, mean=0.1)
    states = {
        minimum: judge([metric(*shifted, minimum_effect=minimum)])[0]
        for minimum in (0.03, 0.06, 0.5)
    }
    assert all(verdict.p_value < 1e-10 for verdict in states.values())
    assert [verdict.state for verdict in states.values()] == [
        DriftState.DRIFT,
        DriftState.WARNING,
        DriftState.STABLE,
    ]


def test_a_large_effect_that_chance_explains_is_stable():
    (verdict,) = judge([metric(normal(1, 40), normal(3, 40), minimum_effect=0.05)])
    assert verdict.effect_size >= 0.05
    assert verdict.p_value > 0.05
    assert verdict.state is DriftState.STABLE


def test_no_drift_stays_quiet_over_many_metrics():
    metrics = [
        metric(normal([seed, 0], 200), normal([seed, 1], 200), minimum_effect=0.01)
        for seed in range(100)
    ]
    unadjusted = sum(any(test.p_value < 0.05 for test in item.comparison.tests) for item in metrics)
    assert unadjusted >= 4
    assert not any(verdict.drift_detected for verdict in judge(metrics))


def test_the_family_is_every_test_of_every_metric():
    metrics = [metric(normal([s, 0], 300), normal([s, 1], 300, mean=s / 20)) for s in range(8)]
    verdicts = judge(metrics)
    family = [test.p_value for item in metrics for test in item.comparison.tests]
    expected = stats.false_discovery_control(family).reshape(8, 4)
    for verdict, row in zip(verdicts, expected, strict=True):
        assert verdict.adjusted_p_values == pytest.approx(row, rel=1e-12)
        assert verdict.p_value == min(verdict.adjusted_p_values)


@pytest.mark.parametrize(
    ("baseline", "current", "state", "reason"),
    [
        ([], [1] * 50, DriftState.NO_DATA, "the baseline window is empty"),
        ([1, 2] * 25, [], DriftState.NO_DATA, "the current window is empty"),
        (
            list(range(50)),
            [1, 2],
            DriftState.INSUFFICIENT,
            "the current window holds 2 values; expected at least 30",
        ),
        ([5] * 50, [5] * 50, DriftState.INSUFFICIENT, "all values of both windows are equal"),
        (
            [1.0] * 49 + [float("nan")],
            [1.0] * 50,
            DriftState.INSUFFICIENT,
            "1 values of the baseline are NaN or infinite",
        ),
    ],
)
def test_what_cannot_be_judged_is_never_stable(baseline, current, state, reason):
    (verdict,) = judge([metric(baseline, current)])
    assert (verdict.state, verdict.reason) == (state, reason)
    assert not verdict.drift_detected
    assert verdict.p_value is None


def test_what_was_not_tested_is_not_taken_for_unchanged():
    found = metric(normal(1, 200), normal(2, 200, mean=0.4))
    untested = [
        replace(test, p_value=None, reason="one outcome alone") for test in found.comparison.tests
    ]
    comparison = replace(found.comparison, tests=tuple(untested))
    (verdict,) = judge([replace(found, comparison=comparison)])
    assert (verdict.state, verdict.reason) == (DriftState.INSUFFICIENT, "one outcome alone")


def test_a_metric_that_cannot_be_judged_is_not_counted_in_the_family():
    shifted = metric(normal(1, 200), normal(2, 200, mean=0.4))
    alone = judge([shifted])[0]
    among = judge([metric([], [1]), shifted, metric([1, 2], [3, 4])])
    assert among[1] == alone
    assert [verdict.state for verdict in among] == [
        DriftState.NO_DATA,
        DriftState.DRIFT,
        DriftState.INSUFFICIENT,
    ]


def test_two_constants_that_differ_are_drift():
    (verdict,) = judge([metric([3] * 50, [4] * 50)])
    assert verdict.state is DriftState.DRIFT
    assert verdict.effect_size == 1


def test_the_rule_names_the_effect():
    wider = normal(1, 3000), 3 * normal(2, 3000)
    by_rank = judge([metric(*wider, effect=Effect.AUC, minimum_effect=0.1)])[0]
    by_shape = judge([metric(*wider, effect=Effect.JENSEN_SHANNON, minimum_effect=0.1)])[0]
    assert by_rank.state is DriftState.STABLE
    assert by_shape.state is DriftState.DRIFT


def test_an_effect_that_cannot_be_told_is_no_finding():
    pair = WindowPair.from_counts([30, 40], [40, 30])
    rule = MetricRule(effect=Effect.WASSERSTEIN)
    (verdict,) = judge([ComparedMetric("search", "tokens", compare(pair), rule)])
    assert verdict.state is DriftState.INSUFFICIENT
    assert verdict.reason == "wasserstein cannot be told"


def test_an_empty_sweep_has_no_verdicts():
    assert judge([]) == ()


@pytest.mark.parametrize("alpha", [0, 1, -0.05, float("nan")])
def test_a_false_discovery_rate_outside_0_to_1_is_refused(alpha):
    with pytest.raises(ValueError, match="false discovery rate"):
        judge([], alpha=alpha)


def test_a_rule_that_nothing_could_meet_or_miss_is_refused():
    with pytest.raises(ValueError, match="minimum effect 0"):
        MetricRule(minimum_effect=0)
    with pytest.raises(ValueError, match="minimum values 1"):
        MetricRule(minimum_values=1)
