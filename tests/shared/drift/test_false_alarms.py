"""A week's budget of false alarms holds, also where every sweep sees nearly the same data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.drift.comparison import Comparison
from shared.drift.effects import Effect
from shared.drift.false_alarms import expected_false_alarms, false_discovery_rate
from shared.drift.statistics import chi_square, mann_whitney
from shared.drift.verdicts import ComparedMetric, MetricRule, judge
from shared.drift.window_pair import WindowPair

ANY_EFFECT = MetricRule(minimum_effect=1e-9, minimum_values=2)


def test_the_budget_is_shared_among_the_weeks_sweeps():
    assert false_discovery_rate(168) == pytest.approx(1 / 168)
    assert false_discovery_rate(168, budget=0.1) == pytest.approx(0.1 / 168)
    assert expected_false_alarms(168, false_discovery_rate(168)) == pytest.approx(1)


def test_few_sweeps_are_not_allowed_more_than_a_single_one():
    assert false_discovery_rate(7) == 0.05
    assert expected_false_alarms(7, 0.05) == pytest.approx(0.35)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_budget_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="sweeps per week"):
        false_discovery_rate(value)
    with pytest.raises(ValueError, match="budget"):
        false_discovery_rate(168, value)


def test_rates_that_are_none_are_refused():
    with pytest.raises(ValueError, match="false discovery rate"):
        expected_false_alarms(10, 0)
    with pytest.raises(ValueError, match="sweeps per week"):
        expected_false_alarms(-1, 0.05)


def two_tests(pair):
    tests = (mann_whitney(pair), chi_square(pair))
    return Comparison(tests, {Effect.KS_DISTANCE: 1.0}, pair.n_baseline, pair.n_current, None)


def test_overlapping_windows_keep_the_budget():
    # A day against the three days before it, every hour, and two tests of two metrics that share
    # their data. Fewer sweeps a week than in the product, so that enough of them alarm to count.
    rng = np.random.default_rng(9)
    weeks, sweeps, budget = 40, 20, 1.0
    rate = false_discovery_rate(sweeps, budget)
    alarming = episodes = 0
    for _ in range(weeks):
        hours = rng.multinomial(12, np.full(24, 1 / 24), size=4 * 24 + sweeps).cumsum(axis=0)
        quiet = True
        for sweep in range(sweeps):
            middle, end = sweep + 72, sweep + 95
            before, now = hours[middle] - hours[sweep], hours[end] - hours[middle]
            metrics = [
                ComparedMetric(
                    "shop", name, two_tests(WindowPair.from_counts(old, new)), ANY_EFFECT
                )
                for name, old, new in (("a", before, now), ("b", before[::2], now[::2]))
            ]
            alarm = any(verdict.drift_detected for verdict in judge(metrics, rate))
            alarming += alarm
            episodes += alarm and quiet
            quiet = not alarm
    assert episodes <= alarming
    # Weeks are independent, their sweeps are not: at worst all alarm together.
    assert alarming / weeks <= budget + 4 * math.sqrt(budget * sweeps / weeks)
    assert episodes / weeks <= budget + 4 * math.sqrt(budget / weeks)
