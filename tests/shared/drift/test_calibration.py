"""Whole sweeps without drift stay quiet as often as they promise; known shifts are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from shared.drift.comparison import compare, compare_categories, compare_shares
from shared.drift.verdicts import ComparedMetric, DriftState, MetricRule, judge
from shared.drift.window_pair import WindowPair

SAMPLERS = {
    "continuous": lambda rng, n: rng.normal(size=n),
    "discrete": lambda rng, n: rng.poisson(40, size=n),
    "heavily tied": lambda rng, n: rng.integers(0, 4, size=n),
    "skewed": lambda rng, n: rng.lognormal(3, 2, size=n),
    "constant": lambda rng, n: np.full(n, 7),
}
SIZES = [(300, 200), (60, 40), (1000, 100), (31, 400)]
ALPHA = 0.05
ANY_EFFECT = MetricRule(minimum_effect=1e-9)
"So small that significance alone decides: the minimum effect may not be what keeps it quiet."


@pytest.mark.parametrize("sweeps", [300, pytest.param(2000, marks=pytest.mark.proof)])
def test_sweeps_without_drift_are_quiet_and_so_is_each_test(sweeps):
    rng = np.random.default_rng(5)
    alarming, by_test = 0, {kind: np.zeros(4) for kind in SAMPLERS}
    for sweep in range(sweeps):
        n_baseline, n_current = SIZES[sweep % len(SIZES)]
        metrics = [
            ComparedMetric(
                "shop",
                kind,
                compare(
                    WindowPair.from_arrays(draw(rng, n_baseline), draw(rng, n_current)),
                ),
                ANY_EFFECT,
            )
            for kind, draw in SAMPLERS.items()
        ]
        verdicts = judge(metrics, ALPHA)
        alarming += any(verdict.drift_detected for verdict in verdicts)
        assert verdicts[-1].state is DriftState.INSUFFICIENT
        for metric in metrics:
            by_test[metric.metric_name] += [
                test.p_value is not None and test.p_value <= ALPHA
                for test in metric.comparison.tests
            ]
    assert alarming <= stats.binom.isf(1e-4, sweeps, ALPHA)
    # Anderson-Darling's p-value of ties may be a tenth too small, see its docstring.
    most = stats.binom.isf(1e-4 / 20, sweeps, 1.1 * ALPHA)
    assert all((alarms <= most).all() for alarms in by_test.values()), by_test


def test_categories_and_shares_without_drift_are_quiet():
    rng = np.random.default_rng(6)
    common, runs = np.r_[0.5, 0.3, 0.1, np.full(50, 0.002)], 400
    alarms = np.zeros(2)
    for _ in range(runs):
        pair = WindowPair.from_counts(rng.multinomial(900, common), rng.multinomial(100, common))
        shares = [rng.binomial(n, 0.02) for n in (900, 100)]
        found = (
            compare_categories(pair),
            compare_shares((900 - shares[0], shares[0]), (100 - shares[1], shares[1])),
        )
        alarms += [c.tests[0].p_value is not None and c.tests[0].p_value <= ALPHA for c in found]
    assert (alarms <= stats.binom.isf(1e-5, runs, ALPHA)).all(), alarms


@pytest.mark.parametrize(
    ("shifted", "n", "power"),
    [
        (lambda rng, n: rng.normal(0.5, 1, n), 300, 0.9),
        (lambda rng, n: rng.normal(1.0, 1, n), 100, 0.9),
        (lambda rng, n: rng.normal(0.0, 2, n), 300, 0.9),
    ],
)
def test_known_shifts_are_found_among_quiet_metrics_with_the_stated_power(shifted, n, power):
    # The table is in docs/drift-statistics.md: 20 metrics, the default rule.
    rng = np.random.default_rng([8, n])
    quiet = [
        ComparedMetric(
            "shop", "", compare(WindowPair.from_arrays(rng.normal(size=n), rng.normal(size=n)))
        )
        for _ in range(19)
    ]
    runs = 60
    found = 0
    for _ in range(runs):
        pair = WindowPair.from_arrays(rng.normal(size=n), shifted(rng, n))
        found += judge([ComparedMetric("shop", "", compare(pair)), *quiet])[0].drift_detected
    assert found / runs >= power - 4 * math.sqrt(power * (1 - power) / runs)


def test_ten_million_events_that_moved_by_a_thousandth_are_no_drift():
    bins = np.full(1_000, 10_000)
    moved = bins + np.where(np.arange(1_000) < 500, 20, -20)
    (verdict,) = judge(
        [ComparedMetric("shop", "", compare(WindowPair.from_counts(bins, moved, np.arange(1_000))))]
    )
    assert verdict.p_value < ALPHA
    assert verdict.state is DriftState.STABLE
