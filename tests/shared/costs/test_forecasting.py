"""The forecast of a period's cost: its interval holds as often as it says, or nothing is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.anomalies import simulate
from shared.costs.forecasting import ForecastState, forecast, student_quantile
from shared.costs.hourly import HourlySeries

MONDAY = datetime(2025, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY, WEEK = 24, 168
DOLLAR = 10**9


def series_of(cost, *, known=None, unpriced=None):
    cost = np.asarray(cost, dtype=np.int64)
    nothing = np.zeros(cost.size, dtype=np.int64)
    return HourlySeries(
        MONDAY,
        cost,
        np.ones(cost.size, dtype=np.bool_) if known is None else known,
        nothing,
        nothing if unpriced is None else unpriced,
    )


def at(hours):
    return MONDAY + hours * HOUR


def coverage(make, history, gone, period, runs):
    """How many of `runs` forecasts at 90 % held what came. All in hours but `runs`."""
    held = 0
    for run in range(runs):
        cost = make(np.random.default_rng([run, history, gone]), history + period)
        found = forecast(series_of(cost[: history + gone]), at(history), at(history + period))
        held += found.low_nanos <= cost[history:].sum() <= found.high_nanos
    return held


def unlikely(held, runs):
    """Whether so few would hold in one of a thousand cases only, were 90 % true."""
    return stats.binom.cdf(held, runs, 0.9) < 0.001


def with_seasons(rng, hours):
    """Hours of the day, days of the week, and a level that wanders for days at a time."""
    return simulate(rng, 50, hours).cost_nanos


def without_memory(rng, hours):
    return rng.gamma(4, DOLLAR / 4, hours).astype(np.int64)


def growing(rng, hours):
    """Half a percent every day."""
    return (with_seasons(rng, hours) * np.exp(0.005 / DAY * np.arange(hours))).astype(np.int64)


def sparse(rng, hours):
    return simulate(rng, 1, hours).cost_nanos


@pytest.mark.parametrize("make", [with_seasons, without_memory, growing, sparse])
@pytest.mark.parametrize(
    ("history", "gone", "period"),
    [
        (2 * WEEK, 10, WEEK),
        (8 * WEEK, 10, 30 * DAY),
        (8 * WEEK, 20 * DAY, 30 * DAY),
        (13 * WEEK, 3 * DAY + 5, WEEK),
    ],
)
def test_nine_of_ten_intervals_hold_what_came(make, history, gone, period):
    runs = 60
    assert not unlikely(coverage(make, history, gone, period, runs), runs)


def test_the_interval_is_of_use():
    widths = []
    for run in range(20):
        cost = with_seasons(np.random.default_rng([run, 5]), 8 * WEEK + 15 * DAY)
        found = forecast(series_of(cost), at(8 * WEEK), at(8 * WEEK + 30 * DAY))
        widths.append((found.high_nanos - found.low_nanos) / found.total_nanos)
    assert np.median(widths) < 0.3


def test_a_season_without_noise_is_forecast_exactly():
    week = np.arange(1, WEEK + 1).reshape(7, DAY)
    week = np.outer(week[:, 0], week[0]).ravel() * 1000  # (day of week) x (hour of day)
    cost = np.tile(week, 12)
    found = forecast(series_of(cost[: 9 * WEEK + 50]), at(8 * WEEK), at(12 * WEEK))
    assert found.total_nanos == pytest.approx(4 * week.sum(), rel=1e-9)
    assert found.low_nanos == pytest.approx(found.high_nanos, rel=1e-6)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_figure_and_never_goes_below_what_is_spent(data):
    history, gone = data.draw(st.integers(0, 60 * DAY)), data.draw(st.integers(0, 30 * DAY))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = history + gone
    typical = data.draw(st.sampled_from([0, 1, DOLLAR, 10**14]))
    cost = np.rint(rng.pareto(1.5, size).clip(max=50) * typical * (rng.random(size) < rng.random()))
    known = rng.random(size) < data.draw(st.sampled_from([0.4, 1]))
    series = series_of(np.where(known, cost, 0), known=known)
    confidence = data.draw(st.sampled_from([0.5, 0.9, 0.95]))
    found = forecast(series, at(history), at(history + 30 * DAY), confidence)
    assert found.spent_nanos == int(series.cost_nanos[history:].sum())
    assert found.explanation
    assert (found.total_nanos is None) == (found.state is ForecastState.INSUFFICIENT)
    assert (found.reason is not None) == (found.state is ForecastState.INSUFFICIENT)
    if found.total_nanos is not None:
        assert found.spent_nanos <= found.low_nanos <= found.total_nanos <= found.high_nanos


def test_two_weeks_of_history_are_needed():
    series = series_of([DOLLAR] * (14 * DAY - 1))
    found = forecast(series, at(0), at(30 * DAY))
    assert found.state is ForecastState.INSUFFICIENT
    assert (found.total_nanos, found.low_nanos, found.high_nanos) == (None, None, None)
    assert found.spent_nanos == (14 * DAY - 1) * DOLLAR
    assert found.reason == "13 known days; expected at least 14"
    more = forecast(series_of([DOLLAR] * (14 * DAY)), at(0), at(30 * DAY))
    assert more.state is ForecastState.FORECAST
    assert more.total_nanos == pytest.approx(720 * DOLLAR)


def test_what_began_at_the_very_end_has_no_forecast():
    """All forecasts of the time before would have been of nothing: none says how sure this is."""
    for begun in (1, DAY, 2 * DAY):
        cost = np.zeros(21 * DAY)
        cost[-begun:] = DOLLAR
        found = forecast(series_of(cost), at(0), at(30 * DAY))
        assert found.state is ForecastState.INSUFFICIENT
        assert found.reason.startswith("it was begun too lately")
        assert (found.spent_nanos, found.total_nanos) == (begun * DOLLAR, None)


def test_nothing_is_forecast_from_nothing():
    found = forecast(series_of([0] * (20 * DAY)), at(0), at(30 * DAY))
    assert found.state is ForecastState.INSUFFICIENT
    assert found.reason == "nothing was spent in 20 days"


def test_nothing_is_forecast_from_what_is_long_ago():
    known = np.arange(30 * DAY) < 22 * DAY
    found = forecast(series_of(known * DOLLAR, known=known), at(0), at(31 * DAY))
    assert found.reason == "nothing is known of the last 7 days"


def test_what_is_not_known_is_not_forecast_as_zero_and_is_told():
    cost = np.full(25 * DAY, DOLLAR)
    known = np.ones(cost.size, dtype=np.bool_)
    known[20 * DAY : 20 * DAY + 6] = False
    cost[~known] = 0
    found = forecast(series_of(cost, known=known), at(0), at(30 * DAY))
    assert found.state is ForecastState.AT_LEAST
    assert found.unknown_hours == 6
    # The hours that are left are forecast as ever; those that are not known are not made up.
    assert found.total_nanos == pytest.approx((30 * DAY - 6) * DOLLAR)
    assert found.explanation.startswith(
        "$594.00 spent up to 2025-01-31 00:00 UTC, not counting what is unknown of 6 hours"
    )
    assert "; at least $714.00 by 2025-02-05 00:00 UTC" in found.explanation


def test_calls_without_a_price_make_every_figure_the_least():
    unpriced = np.zeros(20 * DAY, dtype=np.int64)
    unpriced[-1] = 5
    series = series_of([DOLLAR] * (20 * DAY), unpriced=unpriced)
    found = forecast(series, at(0), at(30 * DAY))
    assert found.state is ForecastState.AT_LEAST
    assert (found.unknown_hours, found.unpriced_calls) == (1, 5)
    next_period = forecast(series, at(20 * DAY), at(30 * DAY))
    assert next_period.state is ForecastState.AT_LEAST
    assert next_period.unknown_hours == 0


def test_a_period_that_is_over_cost_what_was_spent():
    series = series_of([DOLLAR] * (7 * DAY))
    found = forecast(series, at(0), at(7 * DAY))
    assert found.state is ForecastState.COMPLETE
    assert found.low_nanos == found.total_nanos == found.high_nanos == 168 * DOLLAR
    assert found.explanation == "$168.00 spent up to 2025-01-13 00:00 UTC, which was the end"


def test_a_week_before_its_first_hour_is_forecast_from_its_history_alone():
    cost = without_memory(np.random.default_rng(1), 4 * WEEK)
    found = forecast(series_of(cost), at(4 * WEEK), at(5 * WEEK))
    assert found.spent_nanos == 0
    assert found.low_nanos < 168 * DOLLAR < found.high_nanos


def test_what_cannot_be_forecast_is_refused():
    series = series_of([DOLLAR] * (20 * DAY))
    for period in (
        (at(-1), at(30 * DAY)),
        (at(0), at(20 * DAY - 1)),
        (at(21 * DAY), at(30 * DAY)),
        (at(20 * DAY), at(20 * DAY)),
    ):
        with pytest.raises(ValueError, match="of a period from"):
            forecast(series, *period)
    with pytest.raises(ValueError, match="confidence 1"):
        forecast(series, at(0), at(30 * DAY), confidence=1)


@pytest.mark.parametrize("degrees", [2, 2.5, 4, 10, 100])
@pytest.mark.parametrize("probability", [0.75, 0.9, 0.95, 0.975])
def test_the_quantile_is_students(probability, degrees):
    exact = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(exact, rel=0.02)
