"""What is called an anomaly, what is not, and what nothing can be said of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.anomalies import (
    WARM_UP,
    Shift,
    Spike,
    hour_of_week,
    measure,
    simulate,
    spiked_years,
    spikes_of_a_year,
)
from shared.costs.anomalies import CostRule, CostState, Sensitivity, judge
from shared.costs.hourly import MOST_NANOS, HourCost, HourlySeries
from shared.costs.spread import Spread, gamma_limits, gamma_scores

MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY, WEEK = 24, 168
DOLLAR = 10**9


def series_of(cost, *, known=None, requests=None, unpriced=None):
    cost = np.asarray(cost, dtype=np.int64)
    nothing = np.zeros(cost.size, dtype=np.int64)
    return HourlySeries(
        MONDAY,
        cost,
        np.ones(cost.size, dtype=np.bool_) if known is None else known,
        nothing if requests is None else requests,
        nothing if unpriced is None else unpriced,
    )


def with_cost(series, index, nanos):
    cost = series.cost_nanos.copy()
    cost[index] = nanos
    return HourlySeries(series.starts_at, cost, series.known, series.requests, series.unpriced)


def first_hours(series, size):
    arrays = (series.cost_nanos, series.known, series.requests, series.unpriced)
    return HourlySeries(series.starts_at, *(array[:size] for array in arrays))


def last(series, **sensitivity):
    return judge(series, series.ends_at - HOUR, Sensitivity(**sensitivity))[0]


# Hours


def test_an_hour_that_is_not_given_had_no_calls_and_one_without_a_cost_is_not_known():
    hours = [HourCost(MONDAY, 5, 1), HourCost(MONDAY + 2 * HOUR, None, 3, 3)]
    series = HourlySeries.from_hours(hours, MONDAY, MONDAY + 4 * HOUR)
    assert series.known.tolist() == [True, True, False, True]
    assert series.cost_nanos.tolist() == [5, 0, 0, 0]
    assert series.requests.tolist() == [1, 0, 3, 0]
    assert series.complete.tolist() == [True, True, False, True]


def test_hours_are_told_apart_when_the_clock_is_set_back():
    berlin = ZoneInfo("Europe/Berlin")
    night = datetime(2025, 10, 26, 2, tzinfo=berlin)
    hours = [HourCost(night, 1, 1), HourCost(night.replace(fold=1), 2, 1)]
    day = datetime(2025, 10, 26, tzinfo=berlin)
    series = HourlySeries.from_hours(hours, day, day + timedelta(days=1))
    assert series.size == 25
    assert series.cost_nanos.tolist()[2:4] == [1, 2]
    assert series.starts_at == datetime(2025, 10, 25, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ([HourCost(MONDAY, 1, 1)] * 2, "given twice"),
        ([HourCost(MONDAY - HOUR, 1, 1)], "expected 2025-03-03"),
        ([HourCost(MONDAY + HOUR / 2, 1, 1)], "the beginning of an hour"),
        ([HourCost(MONDAY.replace(tzinfo=None), 1, 1)], "has no zone"),
        ([HourCost(MONDAY, -1, 1)], "cost -1 of an hour"),
        ([HourCost(MONDAY, 1, -1)], "number of requests -1"),
    ],
)
def test_hours_that_cannot_be_are_refused(hours, message):
    with pytest.raises(ValueError, match=message):
        HourlySeries.from_hours(hours, MONDAY, MONDAY + DAY * HOUR)


# The literal rule


def test_above_five_times_the_mean_of_the_week_before_is_an_anomaly_and_exactly_five_is_not():
    history = np.tile([1, 3], WEEK // 2) * DOLLAR
    assert not last(series_of([*history, 10 * DOLLAR])).five_times.anomalous
    found = last(series_of([*history, 10 * DOLLAR + 1])).five_times
    assert found.anomalous
    assert found.expected_nanos == 2 * DOLLAR
    assert found.limit_nanos == 10 * DOLLAR
    assert found.score == pytest.approx(5)


def test_the_mean_looks_back_168_hours_and_leaves_out_what_is_not_known():
    cost = np.array([10**6] + [7] * 100 + [1] * 68 + [6])
    known = np.ones(170, dtype=np.bool_)
    known[1:101] = False
    found = last(series_of(cost, known=known)).five_times
    assert found.expected_nanos == 1
    assert found.anomalous


def test_the_literal_rule_needs_a_day_and_some_cost():
    assert last(series_of([1] * 23 + [100])).five_times.state is CostState.INSUFFICIENT
    assert last(series_of([1] * 24 + [100])).five_times.state is CostState.ANOMALY
    assert last(series_of([0] * 24 + [100])).five_times.state is CostState.INSUFFICIENT


# The rule by the hour of the week


@pytest.mark.proof
def test_nine_of_ten_spikes_of_six_times_are_found_at_500_requests_in_an_hour():
    rng = np.random.default_rng(1)
    spikes = [spike for spike in spikes_of_a_year(rng) if spike.factor == 6]
    spikes += [Spike(spike.start + 6 * DAY, spike.hours, 6) for spike in spikes]
    alarms = hour_of_week(simulate(rng, 500, spikes=spikes))
    found = [alarms[spike.start : spike.start + spike.hours].any() for spike in spikes]
    assert len(found) == 16
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("volume", [5, pytest.param(500, marks=pytest.mark.proof)])
def test_there_is_at_most_one_false_alarm_in_thirty_days(volume):
    outcome = measure(volume, {"hour of week": hour_of_week}, spiked_years(volume)[:1])[0]
    assert outcome.quiet_hours > 300 * DAY
    assert outcome.false_alarms <= 1


def test_an_hour_that_is_always_dear_is_none_but_another_one_like_it_is():
    rng = np.random.default_rng(3)
    cost = rng.normal(DOLLAR, DOLLAR / 20, 9 * WEEK).astype(np.int64)
    cost[3::WEEK] *= 20  # every Monday at three
    verdicts = judge(series_of(cost), MONDAY + 8 * WEEK * HOUR)
    assert not any(verdict.hour_of_week.anomalous for verdict in verdicts)
    on_tuesday = with_cost(series_of(cost), 8 * WEEK + DAY + 3, 20 * DOLLAR)
    verdict = judge(on_tuesday, MONDAY + (8 * WEEK + DAY + 3) * HOUR)[0]
    assert verdict.hour_of_week.anomalous
    assert verdict.hour_of_week.expected_nanos == pytest.approx(DOLLAR, rel=0.1)


def test_spikes_of_the_history_do_not_raise_what_is_expected():
    calm = simulate(np.random.default_rng(4), 500, 8 * WEEK + DAY)
    cost = calm.cost_nanos.copy()
    for start in (2 * WEEK + 10, 4 * WEEK + 10, 7 * WEEK + 10):  # the same hours of Mondays
        cost[start : start + 6] *= 10
    spiked = series_of(cost, requests=calm.requests)
    at = slice(10, 16)
    before, after = (
        [verdict.hour_of_week.expected_nanos for verdict in judge(series)[-DAY:][at]]
        for series in (
            first_hours(calm, 8 * WEEK + 16),
            first_hours(HourlySeries(calm.starts_at, *arrays(spiked)), 8 * WEEK + 16),
        )
    )
    assert sum(after) == pytest.approx(sum(before), rel=0.35)


def arrays(series):
    return series.cost_nanos, series.known, series.requests, series.unpriced


def test_a_new_level_is_an_anomaly_at_first_and_the_new_level_after_two_weeks():
    rng = np.random.default_rng(5)
    cost = rng.normal(DOLLAR, DOLLAR / 10, 12 * WEEK)
    cost[8 * WEEK :] *= 3
    verdicts = [verdict.hour_of_week for verdict in judge(series_of(cost.astype(np.int64)))]
    assert all(verdict.anomalous for verdict in verdicts[8 * WEEK : 8 * WEEK + DAY])
    assert not any(verdict.anomalous for verdict in verdicts[10 * WEEK :])


def test_growth_raises_hardly_any():
    rng = np.random.default_rng(6)
    cost = rng.normal(DOLLAR, DOLLAR / 10, 26 * WEEK) * np.exp(np.arange(26 * WEEK) * 0.01 / DAY)
    verdicts = judge(series_of(cost.astype(np.int64)))
    assert sum(verdict.hour_of_week.anomalous for verdict in verdicts) <= 6  # one in 30 days


def test_a_constant_series_has_no_anomaly_until_it_changes():
    series = series_of([DOLLAR] * (8 * WEEK))
    states = {verdict.hour_of_week.state for verdict in judge(series)[WEEK:]}
    assert states == {CostState.NORMAL}
    assert not last(with_cost(series, -1, DOLLAR * 11 // 10)).hour_of_week.anomalous
    assert last(with_cost(series, -1, 2 * DOLLAR)).hour_of_week.anomalous


def test_where_nothing_was_ever_spent_only_an_amount_that_matters_is_an_anomaly():
    series = series_of([0] * (8 * WEEK))
    assert last(series).hour_of_week.state is CostState.NORMAL
    assert last(with_cost(series, -1, DOLLAR // 20)).hour_of_week.state is CostState.NORMAL
    found = last(with_cost(series, -1, 5 * DOLLAR)).hour_of_week
    assert found.anomalous
    assert (found.expected_nanos, found.score) == (0, None)


def test_nobody_is_woken_for_less_than_the_minimum():
    series = series_of([1000] * (8 * WEEK) + [10**8 + 1000])
    assert not last(series).hour_of_week.anomalous
    assert last(with_cost(series, -1, 10**8 + 2000)).hour_of_week.anomalous
    assert last(series, minimum_excess_nanos=10**6).hour_of_week.anomalous


def test_a_week_is_needed():
    assert last(series_of([DOLLAR] * (WEEK + 1))).hour_of_week.state is CostState.NORMAL
    assert last(series_of([DOLLAR] * WEEK)).hour_of_week.state is CostState.INSUFFICIENT
    unknown = np.ones(WEEK + 1, dtype=np.bool_)
    unknown[50] = False
    series = series_of([DOLLAR] * (WEEK + 1), known=unknown)
    assert last(series).hour_of_week.state is CostState.INSUFFICIENT


def test_after_one_week_with_a_spike_the_spike_is_not_what_is_expected():
    rng = np.random.default_rng(7)
    cost = rng.normal(DOLLAR, DOLLAR / 20, WEEK + DAY).astype(np.int64)
    cost[5:8] *= 10
    cost[WEEK + 6] *= 10
    verdict = judge(series_of(cost), MONDAY + (WEEK + 6) * HOUR)[0].hour_of_week
    assert verdict.anomalous


def test_gaps_in_the_history_are_left_out_and_are_not_zeros():
    rng = np.random.default_rng(8)
    cost = rng.normal(DOLLAR, DOLLAR / 20, 8 * WEEK + 1).astype(np.int64)
    known = rng.random(8 * WEEK + 1) < 0.5
    known[-1] = True
    found = last(series_of(np.where(known, cost, 0), known=known)).hour_of_week
    assert found.state is CostState.NORMAL
    assert found.expected_nanos == pytest.approx(DOLLAR, rel=0.1)


def test_an_hour_that_is_not_known_is_never_normal():
    known = np.ones(8 * WEEK, dtype=np.bool_)
    known[-1] = False
    series = series_of([DOLLAR] * (8 * WEEK), known=known, requests=np.full(8 * WEEK, 10))
    verdict = last(series)
    assert {v.state for v in verdict.all} == {CostState.UNKNOWN}
    assert {v.observed_nanos for v in verdict.all} == {None}


def test_the_known_part_of_an_hour_is_enough_for_an_anomaly_but_not_for_none():
    unpriced = np.zeros(8 * WEEK, dtype=np.int64)
    unpriced[-1] = 3
    series = series_of([DOLLAR] * (8 * WEEK), unpriced=unpriced)
    assert last(series).hour_of_week.state is CostState.UNKNOWN
    found = last(with_cost(series, -1, 6 * DOLLAR))
    assert found.five_times.anomalous
    assert found.hour_of_week.anomalous
    assert "$6.00 or more" in found.hour_of_week.explanation


# The cost per request


@pytest.mark.parametrize(("volume", "factor"), [(5, 2.0), (50, 1.5), (500, 1.3)])
def test_a_shift_of_the_cost_per_request_is_found_within_a_day(volume, factor):
    shift = Shift(4 * WEEK + 10, factor)
    series = simulate(np.random.default_rng(9), volume, 6 * WEEK, shifts=[shift])
    alarms = [verdict.per_request.anomalous for verdict in judge(series)]
    assert any(alarms[shift.start : shift.start + DAY])
    assert sum(alarms[2 * WEEK : shift.start]) <= 1


def test_more_requests_are_no_anomaly_of_the_cost_per_request():
    spike = Spike(4 * WEEK + 10, 6, 6)
    series = simulate(np.random.default_rng(10), 50, 5 * WEEK, spikes=[spike])
    verdicts = judge(series)[spike.start : spike.start + spike.hours]
    assert any(verdict.hour_of_week.anomalous for verdict in verdicts)
    assert not any(verdict.per_request.anomalous for verdict in verdicts)


def test_an_hour_without_requests_has_no_cost_per_request():
    series = simulate(np.random.default_rng(11), 50, 4 * WEEK)
    series.requests[-1] = 0
    verdict = last(with_cost(series, -1, 0)).per_request
    assert verdict.state is CostState.NO_DATA
    assert verdict.limit_nanos is None


# All rules


def test_a_verdict_is_the_same_whenever_it_is_asked_for():
    series = simulate(np.random.default_rng(12), 20, 5 * WEEK + 30)
    together = judge(series, MONDAY.replace(month=1, day=6) + 3 * WEEK * HOUR)
    since = 3 * WEEK
    for index in range(since, series.size, 37):
        alone = last(first_hours(series, index + 1))
        assert alone == together[index - since]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_series_gives_verdicts_that_agree_with_their_numbers(data):
    size = data.draw(st.integers(1, 400))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    typical = data.draw(st.sampled_from([0, 1, 10**6, DOLLAR, 10**15]))
    cost = np.rint(rng.exponential(1, size) * typical * (rng.random(size) < rng.random()))
    cost = np.minimum(cost, MOST_NANOS)
    series = series_of(
        cost,
        known=rng.random(size) < data.draw(st.sampled_from([0.3, 0.95, 1])),
        requests=rng.poisson(data.draw(st.sampled_from([0.1, 10, 10**6])), size),
        unpriced=(rng.random(size) < data.draw(st.sampled_from([0, 0.1]))).astype(np.int64),
    )
    minimum = data.draw(st.sampled_from([0, 10**8]))
    verdicts = judge(series, sensitivity=Sensitivity(minimum_excess_nanos=minimum))
    assert len(verdicts) == size
    for index, hour in enumerate(verdicts):
        for verdict in hour.all:
            assert verdict.starts_at == series.hour_at(index)
            assert verdict.explanation
            if verdict.limit_nanos is not None and verdict.rule is CostRule.HOUR_OF_WEEK:
                assert verdict.limit_nanos >= verdict.expected_nanos + minimum
            if verdict.anomalous:
                assert verdict.observed_nanos >= verdict.limit_nanos
            if verdict.state is CostState.NORMAL:
                assert series.complete[index]
                assert verdict.observed_nanos <= verdict.limit_nanos
            if not series.complete[index]:
                assert verdict.state is not CostState.NORMAL


@given(st.integers(2, 1000))
@settings(max_examples=6, deadline=None)
def test_the_currency_does_not_matter(factor):
    series = simulate(np.random.default_rng(13), 30, 3 * WEEK, spikes=[Spike(400, 6, 6)])
    in_another = HourlySeries(series.starts_at, series.cost_nanos * factor, *arrays(series)[1:])
    since = series.hour_at(2 * WEEK)
    here = judge(series, since, Sensitivity(minimum_excess_nanos=0))
    there = judge(in_another, since, Sensitivity(minimum_excess_nanos=0))
    assert [v.hour_of_week.state for v in here] == [v.hour_of_week.state for v in there]
    assert [v.per_request.state for v in here] == [v.per_request.state for v in there]


def test_a_verdict_is_told_in_one_line():
    found = last(with_cost(series_of([DOLLAR] * (8 * WEEK)), -1, 9 * DOLLAR))
    assert found.five_times.explanation == (
        "2025-04-27 23:00 UTC: $9.00, above the limit of $5.00; "
        "the mean of the week before is $1.00"
    )
    assert found.hour_of_week.explanation.startswith("2025-04-27 23:00 UTC: $9.00, above the limit")
    assert found.per_request.explanation == ("2025-04-27 23:00 UTC: no data: there was no request")


def test_what_cannot_be_asked_is_refused():
    series = series_of([DOLLAR] * WEEK)
    with pytest.raises(ValueError, match="since 2024-"):
        judge(series, MONDAY.replace(year=2024))
    with pytest.raises(ValueError, match="false alarms per week"):
        Sensitivity(false_alarms_per_week=0)
    with pytest.raises(ValueError, match="minimum excess -1"):
        Sensitivity(minimum_excess_nanos=-1)
    assert judge(series, series.ends_at) == ()


# The spread


def test_the_spread_of_a_negative_binomial_is_found_beside_strays():
    rng = np.random.default_rng(14)
    levels = np.exp(rng.uniform(0, 8, 4000))
    rates = rng.gamma(1 / 0.04, 0.04 * levels)
    values = rng.poisson(rates / 3) * 3.0  # each counts three
    values[::200] *= 8
    found = Spread.fit(levels, values - levels, 0, 0)
    assert found.per_level == pytest.approx(3, rel=0.3)
    assert found.per_square == pytest.approx(0.04, rel=0.3)


@pytest.mark.parametrize("shape", [1, 3, 30, 1000])
def test_scores_are_those_of_a_gamma_variable(shape):
    means, variances = np.full(4, 7.0), np.full(4, 49.0 / shape)
    scores = np.array([0.5, 1.5, 2.5, 3.5])
    limits = gamma_limits(means, variances, scores)
    assert gamma_scores(limits, means, variances) == pytest.approx(scores)
    exact = stats.norm.isf(stats.gamma(shape, scale=7 / shape).sf(limits))
    assert scores == pytest.approx(exact, abs=0.12)


def test_what_has_no_spread_has_no_tail():
    nothing = np.zeros(2)
    assert gamma_scores(np.array([0.0, 1.0]), nothing, nothing).tolist() == [0, np.inf]
    assert gamma_limits(nothing, nothing, 3.0).tolist() == [0, 0]
    assert Spread.fit(nothing, nothing, 2.0, 0.5) == Spread(2.0, 0.5)


def test_the_history_before_the_simulated_spikes_is_long_enough():
    assert min(spike.start for spike in spikes_of_a_year(np.random.default_rng(0))) >= WARM_UP
