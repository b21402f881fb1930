"""The slots of the timetable: what makes a second beat, or a backlog of ticks, harmless."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from shared.database import system_session
from shared.jobs.tables import TimetableSlot

SLOTS_KEPT = 10
"A slot tells something only while a tick of its time may still come."


def slot_of(now: datetime, every: timedelta) -> datetime:
    """The beginning of the slot that `now` lies in; slots are counted from 1970."""
    since_epoch = now.timestamp()
    return datetime.fromtimestamp(since_epoch - since_epoch % every.total_seconds(), UTC)


def is_done(entry: str, slot: datetime) -> bool:
    """Whether the work of this slot was done."""
    with system_session() as session:
        return session.get(TimetableSlot, (entry, slot)) is not None


def mark_done(entry: str, slot: datetime, every: timedelta) -> None:
    """Say so, after the work: what is marked before it is lost with a worker that is killed."""
    with system_session() as session:
        session.execute(
            sa.delete(TimetableSlot).where(
                TimetableSlot.entry == entry, TimetableSlot.slot < slot - SLOTS_KEPT * every
            )
        )
        session.execute(
            insert(TimetableSlot).values(entry=entry, slot=slot).on_conflict_do_nothing()
        )
