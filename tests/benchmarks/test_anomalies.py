"""The simulated years are what they are said to be, and so is the real series."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.anomalies import (
    DAYS,
    DETECTORS,
    HOURS_PER_DAY,
    LABELLED,
    WARM_UP,
    Event,
    Shift,
    Spike,
    cost_per_click,
    measure,
    real_outcomes,
    simulate,
    spikes_of_a_year,
)


@pytest.mark.parametrize("volume", [5, 500])
def test_a_year_has_so_many_requests_in_an_hour_and_comes_from_its_seed(volume):
    years = [simulate(np.random.default_rng(seed), volume) for seed in (1, 1, 2)]
    assert years[0].size == DAYS * HOURS_PER_DAY
    assert years[0].requests.mean() == pytest.approx(volume, rel=0.3)
    assert (years[0].cost_nanos == years[1].cost_nanos).all()
    assert not (years[0].cost_nanos == years[2].cost_nanos).all()
    each = years[0].cost_nanos.sum() / years[0].requests.sum()
    assert each == pytest.approx(10_000_000, rel=0.02)


def test_spikes_multiply_the_requests_and_shifts_what_each_costs():
    calm, spiked, shifted = (
        simulate(np.random.default_rng(3), 500, 1000, spikes, shifts)
        for spikes, shifts in (
            ((), ()),
            ([Spike(100, 6, 4)], ()),
            ((), [Shift(500, 2.0)]),
        )
    )
    within = slice(100, 106)
    more = spiked.requests[within].sum() / calm.requests[within].sum()
    assert more == pytest.approx(4, rel=0.3)
    assert (shifted.requests == calm.requests).all()
    assert np.allclose(shifted.cost_nanos[500:], 2 * calm.cost_nanos[500:], rtol=0, atol=2)
    assert (shifted.cost_nanos[:500] == calm.cost_nanos[:500]).all()


def test_every_kind_of_spike_comes_as_often_after_the_history():
    spikes = spikes_of_a_year(np.random.default_rng(4))
    kinds = [(spike.hours, spike.factor) for spike in spikes]
    assert {kinds.count(kind) for kind in kinds} == {4}
    assert len(set(kinds)) == 6
    starts = [spike.start for spike in spikes]
    assert starts[0] >= WARM_UP
    assert min(np.diff(starts)) > 24


def test_what_is_found_and_what_is_false_is_counted_in_hours_and_alarms():
    series = simulate(np.random.default_rng(5), 5, WARM_UP + 720)
    called = [3, WARM_UP + 1, WARM_UP + 3, WARM_UP + 100, WARM_UP + 500]
    events = [
        Event((6, 1), WARM_UP + 100, WARM_UP + 101, WARM_UP + 101),
        Event((6, 1), WARM_UP + 200, WARM_UP + 201, WARM_UP + 201),
    ]
    alarms = np.isin(np.arange(series.size), called)
    (outcome,) = measure(5, {"fixed": lambda _: alarms}, [(series, events)])
    assert outcome.found == {(6, 1): 0.5}
    assert outcome.quiet_hours == 718
    assert outcome.false_hours == pytest.approx(3 * 720 / 718)
    assert outcome.false_alarms == pytest.approx(2 * 720 / 718)


def test_the_real_series_is_the_sources():
    series = cost_per_click()
    assert series.size == 1647
    assert int(series.known.sum()) == 1643
    assert series.cost_nanos[0] == 9_179_000_000
    assert all(0 < series.index_of(end) < series.size for window in LABELLED for end in window)
    assert series.cost_nanos.argmax() == series.index_of(LABELLED[2][0]) + 27


def test_the_better_rule_finds_every_labelled_window_of_the_real_series():
    outcomes = {outcome.detector: outcome for outcome in real_outcomes()}
    assert list(outcomes) == list(DETECTORS)
    assert outcomes["hour of week"].windows_found == 3
