"""Up to when an open alert has been seen: what looks further back than that is no news to it."""

from __future__ import annotations

from datetime import datetime

from shared.hours import hour_of, next_hour


def seen_to(stored: datetime, now: datetime) -> datetime:
    """The end of the newest window of an alert, as it was stored.

    No window ends after the present hour. A stored end that does would have the alert left as it
    is until then, so the beginning of the present hour is taken for it: where windows of the
    timetable end.
    """
    return stored if stored <= next_hour(now) else hour_of(now)
