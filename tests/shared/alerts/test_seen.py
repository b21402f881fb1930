"""An end that is still to come does not freeze an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.alerts.seen import seen_to

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
NOON = NOW - HOUR / 2


@pytest.mark.parametrize(
    ("stored", "taken"),
    [
        (NOON - HOUR, NOON - HOUR),
        # A sweep by hand looks at the present hour.
        (NOON + HOUR, NOON + HOUR),
        (NOON + 2 * HOUR, NOON),
        (datetime(2199, 1, 1, tzinfo=UTC), NOON),
    ],
)
def test_no_window_was_seen_that_ends_after_the_present_hour(
    stored: datetime, taken: datetime
) -> None:
    assert seen_to(stored, NOW) == taken
