"""Request volume against the same hours of earlier weeks, with few weeks and hours missing."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from scipy import stats

from shared.drift.effects import Effect, magnitude
from shared.drift.verdicts import ComparedMetric, DriftState, judge
from shared.drift.volume import VOLUME_RULE, HourlyRequests, compare_volume, expected_hours

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = 168


def history(rng, weeks, level=50.0, week_varies=0.1, factor=1.0, hours=24):
    """Weeks with nights and quiet weekends, and `hours` more that bring `factor` times as much."""
    n = weeks * WEEK + hours
    hour = np.arange(n)
    usual = level * (1 + 0.8 * np.sin(hour % 24 / 24 * 2 * math.pi)) * np.where(
        hour // 24 % 7 < 5, 1, 0.2
    )  # fmt: skip
    usual = usual * rng.lognormal(0, week_varies, weeks + 1)[hour // WEEK]
    usual[-hours:] *= factor
    return rng.poisson(usual)


def series(requests, known=None):
    requests = np.asarray(requests)
    known = np.ones(requests.size, bool) if known is None else known
    return HourlyRequests(MONDAY, np.where(known, requests, 0), known)


def verdict(found):
    return judge([ComparedMetric("shop", "volume", found.comparison, VOLUME_RULE)])[0]


def test_a_season_is_no_drift_and_half_of_the_usual_is():
    rng = np.random.default_rng(1)
    assert verdict(compare_volume(series(history(rng, 6)))).state is DriftState.STABLE
    found = compare_volume(series(history(rng, 6, factor=0.4)))
    assert verdict(found).state is DriftState.DRIFT
    assert found.observed < found.low < found.expected < found.high
    # The Saturday after a Friday has a fifth of its requests, as every Saturday.
    requests = history(rng, 6, hours=6 * 24)
    found = compare_volume(series(requests))
    assert found.observed < requests[-48:-24].sum() / 2
    assert verdict(found).state is DriftState.STABLE


def test_every_hour_stands_beside_what_is_expected_of_it():
    requests = history(np.random.default_rng(8), 6)
    requests[-3] = 0
    dead = np.ones(requests.size, bool)
    dead[-1] = False
    found = compare_volume(series(requests, dead))
    hours = expected_hours(series(requests, dead))
    assert [hour.at for hour in hours[-2:]] == [
        MONDAY + timedelta(hours=n) for n in (requests.size - 2, requests.size - 1)
    ]
    assert hours[-1][1:] == (None, None, None, None)
    assert sum(hour.expected for hour in hours[:-1]) == pytest.approx(found.expected)
    assert sum(hour.observed for hour in hours[:-1]) == found.observed
    within = [hour.low <= hour.observed <= hour.high for hour in hours[:-1]]
    assert (sum(within), within[-2]) == (22, False)
    assert {hour[2:] for hour in expected_hours(series([1, 2]), 2)} == {(None, None, None)}


def test_no_request_at_all_is_drift_and_no_collector_is_no_data():
    requests = history(np.random.default_rng(2), 6)
    requests[-24:] = 0
    assert verdict(compare_volume(series(requests))).state is DriftState.DRIFT
    dead = np.ones(requests.size, bool)
    dead[-24:] = False
    found = compare_volume(series(requests, dead))
    assert verdict(found).state is DriftState.NO_DATA
    assert found.observed is found.expected is None
    assert found.comparison.reason == "no current hour is known"


def test_for_whole_weeks_it_is_the_quasi_poisson_comparison_of_sums():
    rng = np.random.default_rng(3)
    requests = rng.poisson(20, 5 * WEEK) * np.repeat([1, 2, 1, 3, 2], WEEK)
    found = compare_volume(series(requests), hours=WEEK)
    sums = requests.reshape(5, WEEK).sum(axis=1)[:4]
    observed, mean = requests[-WEEK:].sum(), sums.mean()
    dispersion = ((sums - mean) ** 2 / mean).sum() / 3
    total = observed + sums.sum()
    deviance = 2 * (
        observed * math.log(observed / (total / 5))
        + sums.sum() * math.log(sums.sum() / (0.8 * total))
    )
    assert (found.observed, found.expected) == (observed, pytest.approx(mean))
    assert found.dispersion == pytest.approx(dispersion)
    test = found.comparison.tests[0]
    assert abs(test.statistic) == pytest.approx(math.sqrt(deviance / dispersion))
    assert test.p_value == pytest.approx(stats.f.sf(deviance / dispersion, 1, 3))


def test_hours_that_nobody_knows_are_not_hours_without_requests():
    rng = np.random.default_rng(4)
    requests = np.tile(rng.integers(10, 200, WEEK), 6)[: 5 * WEEK + 24]
    known = rng.random(requests.size) > 0.3
    found = compare_volume(series(requests, known))
    # Each week is the same: what is missing takes nothing away from what is expected.
    assert found.expected == pytest.approx(found.observed, rel=1e-9)
    assert verdict(found).state is DriftState.STABLE


def test_weeks_of_different_levels_with_different_gaps_are_told_apart():
    # Two levels, and the high weeks lack the busy hours: means of hours would be wrong.
    profile = np.r_[np.full(12, 10), np.full(12, 100)]
    requests, known = np.zeros(4 * WEEK + 24, int), np.ones(4 * WEEK + 24, bool)
    for week, level in enumerate((1, 3, 1, 3, 2)):
        requests[week * WEEK : week * WEEK + 24] = level * profile
    for week in (1, 3):
        known[week * WEEK + 12 : week * WEEK + 18] = False
    found = compare_volume(series(requests, known), hours=24)
    assert found.weeks == 4
    # The hours that only two weeks have are not compared at all.
    assert found.comparison.n_current == 18
    assert found.expected == pytest.approx(2 * (profile[:12].sum() + profile[18:].sum()))


@pytest.mark.parametrize(("weeks", "week_varies"), [(3, 0.3), (5, 0.0), (8, 0.2)])
def test_few_weeks_do_not_alarm_too_often(weeks, week_varies):
    rng = np.random.default_rng([weeks, 5])
    runs = 200
    alarms = sum(
        compare_volume(series(history(rng, weeks, week_varies=week_varies)))
        .comparison.tests[0]
        .p_value
        <= 0.05
        for _ in range(runs)
    )
    assert alarms / runs <= 0.06 + 4 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(
    ("requests", "hours", "reason"),
    [
        (np.ones(0, int), 24, "no current hour is known"),
        (np.ones(24, int), 24, "no earlier week is known"),
        (np.ones(2 * WEEK + 24, int), 24, "2 earlier weeks are known; expected at least 3"),
        (np.zeros(5 * WEEK, int), 24, "there was no request in any of these hours"),
    ],
)
def test_what_cannot_be_compared_says_why(requests, hours, reason):
    found = compare_volume(series(requests), hours)
    assert found.comparison.reason == reason
    assert found.comparison.tests[0].p_value is None
    assert not verdict(found).drift_detected
    assert verdict(found).state in {DriftState.NO_DATA, DriftState.INSUFFICIENT}


def test_requests_where_there_never_were_any_are_drift():
    requests = np.zeros(5 * WEEK + 24, int)
    requests[-24:] = 10
    found = compare_volume(series(requests))
    assert verdict(found).state is DriftState.DRIFT
    assert (found.expected, found.observed) == (0, 240)
    assert math.isfinite(found.comparison.effects[Effect.VOLUME_RATIO])


def test_an_hour_without_requests_is_known_only_while_something_was_collected():
    hours = [MONDAY + timedelta(hours=n) for n in range(4)]
    found = HourlyRequests.from_hours(
        {hours[0]: 7, hours[3]: 2}, MONDAY, MONDAY + timedelta(hours=4), alive=[hours[1]]
    )
    assert found.requests.tolist() == [7, 0, 0, 2]
    assert found.known.tolist() == [True, True, False, True]


def test_half_and_double_are_as_far_from_the_usual():
    assert magnitude(Effect.VOLUME_RATIO, 0.5) == magnitude(Effect.VOLUME_RATIO, 2) == 1
    assert magnitude(Effect.VOLUME_RATIO, 0) == math.inf


def test_hours_that_are_none_are_refused():
    with pytest.raises(ValueError, match="expected the beginning of an hour"):
        HourlyRequests.from_hours({}, MONDAY, MONDAY + timedelta(minutes=90), [])
    with pytest.raises(ValueError, match="expected UTC"):
        HourlyRequests(
            MONDAY.astimezone(timezone(timedelta(hours=1))), np.ones(1, int), np.ones(1, bool)
        )
    with pytest.raises(ValueError, match="-1 requests"):
        series([-1])
    with pytest.raises(ValueError, match="expected one per hour"):
        HourlyRequests(MONDAY, np.ones(2, int), np.ones(1, bool))
    with pytest.raises(ValueError, match="169 hours"):
        compare_volume(series([1]), 169)
