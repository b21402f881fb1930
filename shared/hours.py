"""Whole hours (UTC), which rollups, windows and the timetable are made of. Times are aware."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

HOUR: Final = timedelta(hours=1)


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour that `at` is in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def next_hour(at: datetime) -> datetime:
    """The end of the hour that `at` is in."""
    return hour_of(at) + HOUR


def whole_hour_from(at: datetime) -> datetime:
    """`at` if an hour begins then, else the beginning of the next."""
    return hour_of(at + HOUR - timedelta.resolution)
