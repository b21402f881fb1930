"""What is wrong with events as they come: late, sent again, or refused for a value out of range.

*Late* is an event that came more than an hour after it happened: a sweep may have looked at its
hour without it. *Again* is one whose identifier was stored before, or was twice in its batch: some
sender sends it twice. A batch that is delivered again, or that its sender repeats under the same
identifier, is no new batch and counts nothing. *Out of range* is an event that was refused for
nothing but its numbers or its time.

They are counted by the hour in which they came. An hour, model and function without any has no
row, so that what comes as it should costs nothing. Metrics of a sender's own and samples of
machines are in no rollup of an agent, and are not counted here either.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.hours import hour_of
from shared.telemetry.events import OF_NO_AGENT, UNKNOWN, Name, Rejected
from shared.telemetry.reading import Window
from shared.telemetry.tables import EventFault
from shared.tenancy.tables import Tenant

LATE_AFTER: Final = timedelta(hours=1)


class Fault(StrEnum):
    LATE = "late"
    AGAIN = "again"
    OUT_OF_RANGE = "out_of_range"


class Arrived(NamedTuple):
    """What is counted together. `field` is `kind.field`, or empty.

    `happened` is the hour of what is late, and of the others that in which they came: nobody asks
    when those happened, and a sender that repeats a year has one row of it.
    """

    fault: Fault
    model: str
    function: str
    field: str
    happened: datetime

    @classmethod
    def late(cls, model: str, function: str, happened: datetime) -> Arrived:
        return cls(Fault.LATE, model, function, "", happened)

    @classmethod
    def again(cls, model: str, function: str, received_at: datetime) -> Arrived:
        return cls(Fault.AGAIN, model, function, "", hour_of(received_at))

    def of(self, model: str, function: str) -> Arrived:
        """The same of another model and function."""
        return self._replace(model=model, function=function)


Faults = Counter[Arrived]


def out_of_range(refused: Iterable[Rejected], received_at: datetime) -> Faults:
    """Those that were refused for their range, as if they had happened when they came.

    When they did happen may be what is out of range.
    """
    found = Faults()
    for one in refused:
        if one.out_of_range is None or one.out_of_range.partition(".")[0] in OF_NO_AGENT:
            continue
        # Its line was read before, and nothing was wrong with it but its numbers.
        sent = _Sent.model_validate_json(one.line)
        happened = hour_of(received_at)
        counted = Arrived(Fault.OUT_OF_RANGE, sent.model, sent.function, one.out_of_range, happened)
        found[counted] += 1
    return found


class _Sent(BaseModel):
    """Of an event, whose it is."""

    model: Name = UNKNOWN
    function: Name = UNKNOWN


def count_faults(session: Session, received_at: datetime, faults: Faults) -> None:
    """Add to what the tenant's hour of `received_at` (aware) holds already."""
    if not faults:
        return
    fixed = {"tenant_id": tenant_of(session), "hour": hour_of(received_at)}
    statement = insert(EventFault)
    statement = statement.on_conflict_do_update(
        index_elements=[column.name for column in EventFault.__table__.primary_key],
        set_={"n": EventFault.n + statement.excluded.n},
    )
    # In the order of the key: two batches that add to the same rows cannot wait for each other.
    rows = [fixed | one._asdict() | {"n": n} for one, n in sorted(faults.items())]
    session.execute(statement, rows)


def remove_old_faults(session: Session) -> int:
    """Remove the tenant's counts of hours that no check can read; return how many rows.

    Those are from before its events, more than 35 days and the longest baseline ago, and from
    before any window that was set as a baseline.
    """
    return int(session.scalar(sa.text("SELECT mlops.remove_old_event_faults()")) or 0)


@dataclass
class FaultsOfHour:
    """What came in one hour, of one function and model."""

    late: int = 0
    late_from_before: int = 0
    "Of these, what happened before the window that is looked at."
    again: int = 0
    out_of_range: Counter[str] = field(default_factory=Counter)
    "By `kind.field`."

    def add(self, other: FaultsOfHour) -> None:
        self.late += other.late
        self.late_from_before += other.late_from_before
        self.again += other.again
        self.out_of_range.update(other.out_of_range)


def faults(
    session: Session, window: Window
) -> dict[tuple[str, str], Mapping[datetime, FaultsOfHour]] | None:
    """By function and model, and by the hour in which they came; who has none is not there.

    None if part of the window is from before faults were counted, or from before those that are
    kept.
    """
    counted_from, made_at = session.execute(sa.select(Tenant.faults_from, Tenant.created_at)).one()
    # Before there was a tenant nothing came.
    if window.start < counted_from and made_at < counted_from:
        return None
    found: defaultdict[tuple[str, str], defaultdict[datetime, FaultsOfHour]] = defaultdict(
        lambda: defaultdict(FaultsOfHour)
    )
    rows = session.scalars(
        sa.select(EventFault).where(EventFault.hour >= window.start, EventFault.hour < window.end)
    )
    for row in rows:
        one = found[row.function, row.model][row.hour.astimezone(UTC)]
        if row.fault == Fault.LATE:
            one.late += row.n
            one.late_from_before += row.n if row.happened < window.start else 0
        elif row.fault == Fault.AGAIN:
            one.again += row.n
        else:
            one.out_of_range[row.field] += row.n
    return dict(found)
