"""Four weeks of hourly checks: noise that comes in lumps is no alarm, and a lost field is one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from shared.drift.quality import (
    ColumnCounts,
    FunctionCounts,
    QualityCheck,
    QualityState,
    check_quality,
)
from shared.drift.quality_by_hour import Hours, confirmed, found_late

Ints = npt.NDArray[np.int64]
Series = tuple[Ints, Ints]
"How many were missing, of how many, by the hour."

BEGIN = datetime(2026, 10, 5, tzinfo=UTC)
DAY, WEEK = 24, 168
HOURS = DAY + 5 * WEEK
HOUR_OF_DAY = np.arange(HOURS) % DAY
SEASON = 1 + 0.8 * np.sin(2 * np.pi * HOUR_OF_DAY / DAY)


def counts(missing: int, events: int) -> FunctionCounts:
    return FunctionCounts(events, {"confidence": ColumnCounts(events, missing)})


def states(series: Series, first: int, last: int) -> list[tuple[QualityState, QualityState]]:
    """What each hour's check says by itself, and once it is confirmed: a day against its week."""
    missing, events = series
    hours = {
        BEGIN + timedelta(hours=h): counts(int(missing[h]), int(events[h])) for h in range(HOURS)
    }
    times = list(hours)
    found = []
    for end in range(first, last):
        now, before = slice(end - DAY, end), slice(end - DAY - WEEK, end - DAY)
        totals = [counts(int(missing[w].sum()), int(events[w].sum())) for w in (before, now)]
        (plain,) = check_quality(totals[0], totals[1])
        windows = [{at: hours[at] for at in times[w]} for w in (before, now)]
        (sure,) = confirmed([plain], (totals[0], totals[1]), (windows[0], windows[1]))
        found.append((plain.state, sure.state))
    return found


def in_tasks(rng: np.random.Generator, a_day: float, calls: int, bad: float) -> Series:
    """Tasks of so many calls, of which some miss the field in every call."""
    tasks = rng.poisson(a_day / DAY * SEASON)
    return rng.binomial(tasks, bad) * calls, tasks * calls


def wandering(rng: np.random.Generator) -> Series:
    """A share of 20 % that wanders by 8 points, over a day."""
    level = np.zeros(HOURS)
    for hour in range(1, HOURS):
        level[hour] = np.exp(-1 / DAY) * level[hour - 1] + 0.28 * rng.normal()
    events = rng.poisson(50 * SEASON)
    return rng.binomial(events, np.clip(0.2 + 0.08 * level, 0, 1)), events


def by_day_of_week(rng: np.random.Generator) -> Series:
    """Every tenth, and at weekends every fourth."""
    weekend = np.arange(HOURS) // DAY % 7 >= 5
    events = rng.poisson(50 * SEASON)
    return rng.binomial(events, np.where(weekend, 0.25, 0.1)), events


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: in_tasks(rng, 5, 20, 0.05),
        lambda rng: in_tasks(rng, 50, 20, 0.1),
        wandering,
        by_day_of_week,
    ],
    ids=["few tasks", "many tasks", "wandering", "weekends"],
)
def test_noise_in_lumps_is_never_broken_in_four_weeks(
    make: Callable[[np.random.Generator], Series],
) -> None:
    found = states(make(np.random.default_rng(3)), WEEK + DAY, HOURS)
    assert len(found) == 4 * WEEK
    # Each event by itself would have raised alarms.
    assert QualityState.BROKEN in {plain for plain, _ in found}
    assert QualityState.BROKEN not in {sure for _, sure in found}


@pytest.mark.parametrize(("a_day", "calls", "within"), [(1_000, 1, 8), (100, 20, 10), (5, 20, 30)])
def test_a_field_that_is_lost_is_broken_and_never_good(a_day: int, calls: int, within: int) -> None:
    missing, events = in_tasks(np.random.default_rng(3), a_day, calls, 0.0)
    lost = WEEK + DAY + 9
    missing[lost:] = events[lost:]
    found = [sure for _, sure in states((missing, events), lost, lost + 3 * DAY)]
    assert QualityState.BROKEN in found[:within]
    assert QualityState.GOOD not in found[within:]


def windows_to(series: Series, end: int) -> tuple[Hours, Hours]:
    """The hours of the week before a day that ends so, and of the day."""
    hours = {
        BEGIN + timedelta(hours=h): counts(int(series[0][h]), int(series[1][h]))
        for h in range(end - DAY - WEEK, end)
    }
    times = list(hours)
    return {at: hours[at] for at in times[:WEEK]}, {at: hours[at] for at in times[WEEK:]}


@pytest.mark.parametrize(("a_day", "calls"), [(1_000, 1), (100, 20), (5, 20)])
def test_a_field_that_was_lost_days_ago_is_found_by_the_first_who_looks(
    a_day: int, calls: int
) -> None:
    missing, events = in_tasks(np.random.default_rng(3), a_day, calls, 0.0)
    end = WEEK + 3 * DAY + 9
    for late in (2, 4, 6):
        lost = end - late * DAY
        gone = (np.where(np.arange(HOURS) < lost, missing, events), events)
        before, now = windows_to(gone, end)
        found = found_late("confidence", (before, now))
        assert found is not None, late
        # Measured against what came before the loss, which is no part of what is usual.
        assert (found.state, found.value, found.baseline) == (QualityState.BROKEN, 1.0, 0.0)
        since = next(
            at for at in before if at >= BEGIN + timedelta(hours=lost) and before[at].events
        )
        assert found.reason.endswith(f"; none since {since:%Y-%m-%d %H:%M} UTC")
    back = (np.where(np.arange(HOURS) < end - 3, gone[0], 0), events)
    assert found_late("confidence", windows_to(back, end)) is None


@pytest.mark.parametrize("days", [(0,), (0, 1, 2, 3, 4)], ids=["Mondays", "all but weekends"])
def test_a_field_that_comes_on_some_days_of_the_week_is_not_found_lost(
    days: tuple[int, ...],
) -> None:
    events = np.random.default_rng(3).poisson(50 * SEASON)
    there = np.isin(np.arange(HOURS) // DAY % 7, days)
    series = (np.where(there, 0, events), events)
    for end in range(WEEK + DAY, HOURS):
        assert found_late("confidence", windows_to(series, end)) is None


def test_a_field_that_comes_in_bursts_is_lost_once_it_is_away_twice_as_long_as_ever() -> None:
    """54 hours with it and 36 without, time and again; then it stays away."""
    events = np.random.default_rng(3).poisson(50 * SEASON) + 1
    there = np.arange(HOURS) % 90 < 54
    stays_away = 2 * 90 + 54
    there[stays_away:] = False
    series = (np.where(there, 0, events), events)
    # In hours without events nothing can be missing.
    series[0][stays_away + 6 : stays_away + 12] = series[1][stays_away + 6 : stays_away + 12] = 0
    found = [
        end - stays_away
        for end in range(WEEK + DAY, stays_away + WEEK)
        if found_late("confidence", windows_to(series, end)) is not None
    ]
    assert min(found) == 2 * 36 + 6


def test_what_is_broken_without_a_baseline_is_sure_of_several_hours_alone() -> None:
    total = FunctionCounts(960, {}, duplicates=40)

    def confirm(hours: dict[datetime, FunctionCounts]) -> QualityState:
        return confirmed(check_quality(None, total), (None, total), ({}, hours))[0].state

    day = [BEGIN + timedelta(hours=hour) for hour in range(DAY)]
    even = {at: FunctionCounts(40, {}, duplicates=2 - at.hour % 3 % 2) for at in day}
    at_once = {at: FunctionCounts(40, {}, duplicates=40 if at == day[3] else 0) for at in day}
    assert confirm(even) is QualityState.BROKEN
    assert confirm(at_once) is QualityState.WARNING


def test_hours_of_a_baseline_that_hold_nothing_are_unknown_and_no_share_of_0() -> None:
    """A long baseline, of which nothing of the field is in the hours that are looked at."""
    before, now = counts(350, 1_000), counts(240, 480)
    found = check_quality(before, now)
    assert found[0].state is QualityState.BROKEN
    hours = {BEGIN + timedelta(hours=h): counts(10, 20) for h in range(DAY)}
    empty = {BEGIN - timedelta(hours=h): counts(0, 0) for h in range(1, DAY)}
    (unsure,) = confirmed(found, (before, now), (empty, hours))
    assert unsure.state is QualityState.WARNING
    assert unsure.reason.endswith(
        "; may be chance, as the baseline's last hours hold none to compare with"
    )


def test_a_column_is_constant_if_that_is_no_chance_of_its_hours() -> None:
    for commonest, state in ((0.2, QualityState.BROKEN), (0.9, QualityState.WARNING)):
        before = FunctionCounts(
            1_000, {"quality": ColumnCounts(1_000, 0, distinct=9, commonest=int(1_000 * commonest))}
        )
        now = FunctionCounts(240, {"quality": ColumnCounts(240, 0, distinct=1, commonest=240)})
        hour = FunctionCounts(10, {"quality": ColumnCounts(10, 0, distinct=1, commonest=10)})
        hours = {BEGIN + timedelta(hours=h): hour for h in range(DAY)}
        found = confirmed(check_quality(before, now), (before, now), ({}, hours))
        assert next(f for f in found if f.check is QualityCheck.CONSTANT).state is state
