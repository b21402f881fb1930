from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.hours import HOUR, hour_of, next_hour, whole_hour_from

MUMBAI = timezone(timedelta(hours=5, minutes=30))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("zone", [UTC, MUMBAI])
def test_an_hour_is_one_of_utc_in_whatever_zone_it_is_told(zone: timezone) -> None:
    at = (NOON + timedelta(minutes=10)).astimezone(zone)
    assert (hour_of(at), next_hour(at), whole_hour_from(at)) == (NOON, NOON + HOUR, NOON + HOUR)
    assert hour_of(at).utcoffset() == timedelta(0)


@pytest.mark.parametrize("zone", [UTC, MUMBAI])
def test_the_beginning_of_an_hour_is_whole_by_itself(zone: timezone) -> None:
    at = NOON.astimezone(zone)
    assert (hour_of(at), next_hour(at), whole_hour_from(at)) == (NOON, NOON + HOUR, NOON)
