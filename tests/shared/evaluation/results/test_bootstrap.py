"""The bootstrap over tasks: against scipy's, and what it must say where there is little to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from shared.evaluation.results.bootstrap import bootstrap_interval
from shared.evaluation.results.clustering import Cluster

TOTALS = (4.0, -2.0, 9.0, 1.0, 0.0, 31.0, 5.0, -7.0, 2.0, 12.0, 3.0, 6.0)
SIZES = (4, 2, 5, 4, 3, 5, 4, 5, 1, 5, 2, 4)
CLUSTERS = tuple(map(Cluster, TOTALS, SIZES))


def mean(totals, sizes, axis=-1):
    return totals.sum(axis=axis) / sizes.sum(axis=axis)


def test_it_is_scipys_percentile_interval_at_the_expanded_level():
    n = len(TOTALS)
    # Hesterberg 2015: the level at which a percentile interval of a normal mean is Student's.
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    oracle = stats.bootstrap(
        (np.array(TOTALS), np.array(SIZES)), mean, paired=True, vectorized=True, n_resamples=40_000,
        confidence_level=1 - 2 * tail, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    found = bootstrap_interval(CLUSTERS, draws=40_000)
    assert found == pytest.approx((oracle.low, oracle.high), abs=0.06)


def test_the_same_episodes_give_the_same_interval_and_another_seed_hardly_another():
    assert bootstrap_interval(CLUSTERS) == bootstrap_interval(CLUSTERS)
    other = bootstrap_interval(CLUSTERS, seed=5)
    assert other != bootstrap_interval(CLUSTERS)
    assert other == pytest.approx(bootstrap_interval(CLUSTERS), abs=0.15)


def test_many_tasks_come_to_students_interval():
    values = np.random.default_rng(2).normal(3, 2, 400)
    low, high = bootstrap_interval([Cluster(value, 1) for value in values])
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.02)


def test_what_does_not_differ_has_no_interval():
    assert bootstrap_interval([]) is bootstrap_interval([Cluster(3, 2)]) is None
    assert bootstrap_interval([Cluster(0.3, 3), Cluster(0.1, 1), Cluster(0.2, 2)]) is None
    assert bootstrap_interval([Cluster(0, 1)] * 20) is None


@pytest.mark.parametrize(
    ("clusters", "more", "wrong"),
    [
        ([Cluster(1, 0), Cluster(1, 1)], {}, "without episodes"),
        (CLUSTERS, {"confidence": 1.0}, "confidence 1.0"),
        (CLUSTERS, {"draws": 0}, "0 draws"),
    ],
)
def test_what_is_no_sample_is_refused(clusters, more, wrong):
    with pytest.raises(ValueError, match=wrong):
        bootstrap_interval(clusters, **more)


@hypothesis_settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 6)), min_size=2, max_size=12),
    st.integers(-20, 20),
    st.integers(1, 9),
)
def test_it_moves_and_stretches_with_the_values_and_stays_within_them(tasks, shift, scale):
    clusters = [Cluster(total, n) for total, n in tasks]
    found = bootstrap_interval(clusters, draws=300)
    moved = bootstrap_interval(
        [Cluster(scale * one.total + shift * one.n, one.n) for one in clusters], draws=300
    )
    if found is None:
        assert moved is None
        return
    assert moved == pytest.approx(tuple(scale * end + shift for end in found), abs=1e-9)
    means = [one.total / one.n for one in clusters]
    assert min(means) - 1e-9 <= found.low <= found.high <= max(means) + 1e-9


def test_few_tasks_of_skewed_costs_are_covered_more_often_than_by_the_plain_one():
    random = np.random.default_rng(7)
    runs, tasks, expanded, plain = 250, 10, 0, 0
    for _ in range(runs):
        # Gamma of mean 2: skewed as costs are.
        values = random.gamma(1.0, 2.0, tasks)
        low, high = bootstrap_interval([Cluster(v, 1) for v in values], draws=400)
        expanded += low <= 2 <= high
        drawn = values[random.integers(tasks, size=(400, tasks))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        plain += low <= 2 <= high
    assert expanded / runs >= 0.85
    assert expanded > plain
