"""What an hour usually has: learned from the others like it, and from no change of level."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from shared.drift.level_changes import changes_of_level, changes_of_share
from shared.drift.seasons import departures, share_departures, spread_of
from shared.drift.sequential import Detector

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOURS = [MONDAY + timedelta(hours=n) for n in range(24 * 28)]
WEEKEND = np.array([at.weekday() >= 5 for at in HOURS])


def known(series):
    return np.array([value for _, value in series if value is not None])


def test_an_hour_is_not_part_of_what_it_is_compared_with():
    series = [(at, float(at.hour)) for at in HOURS]
    series[100] = (HOURS[100], 1000.0)
    found = dict(departures(series))
    assert found[HOURS[100]] == 1000.0 - HOURS[100].hour
    # The other three Mondays' median is no more than nudged by it.
    assert known(departures(series)).tolist().count(0.0) == len(HOURS) - 1


def test_weekends_are_compared_with_weekends_before_there_are_three_weeks():
    series = [(at, float(at.hour - 50 * (at.weekday() >= 5))) for at in HOURS[: 24 * 14]]
    assert set(known(departures(series))) == {0.0}


def test_unknown_stays_unknown_and_a_single_value_departs_from_nothing():
    assert departures([(HOURS[0], None), (HOURS[1], 7.0)]) == [(HOURS[0], None), (HOURS[1], 0.0)]
    assert share_departures([(HOURS[0], None), (HOURS[1], (1, 2))]) == [
        (HOURS[0], None),
        (HOURS[1], None),
    ]
    assert spread_of([(HOURS[0], 1.0)]) is None


def test_departures_of_shares_are_standard_however_few_there_are():
    rng = np.random.default_rng(4)
    sizes = rng.poisson(np.where(WEEKEND, 6, 20))
    counted = [
        (at, (int(rng.binomial(n, 0.02)), int(n))) for at, n in zip(HOURS, sizes, strict=True)
    ]
    found = known(share_departures(counted))
    assert found.mean() == pytest.approx(0, abs=0.1)
    assert found.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("detector", Detector)
def test_neither_weekends_nor_few_events_are_changes(detector):
    """In 200 series each there is 0.01 at most: see `changes_of_level`, `changes_of_share`."""
    rng = np.random.default_rng(6)
    changes = 0
    for _ in range(5):
        values = rng.normal(100 - 20 * WEEKEND, 10)
        changes += len(
            changes_of_level(list(zip(HOURS, values.tolist(), strict=True)), detector).changes
        )
        counts = [(at, (int(rng.binomial(20, 0.02)), 20)) for at in HOURS]
        changes += len(changes_of_share(counts, detector).changes)
    assert changes == 0
