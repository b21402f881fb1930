"""Storing a batch of events: priced, absorbed if sent again, its hours marked for the roll-up.

All of it happens in the session's transaction, so a batch is stored once or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_of
from shared.telemetry.errors import categorize, folded
from shared.telemetry.events import Event, LlmCallEvent, Rejected, parse_events
from shared.telemetry.names import OTHER, Names, beyond_the_caps
from shared.telemetry.redaction import redacted
from shared.telemetry.tables import EventRow, RejectedEvent
from shared.tenancy.tables import Tenant

LINE_SHOWN: Final = 2_000
"So much is kept of the line of an event that was refused."


@dataclass(frozen=True)
class CallCost:
    """What one model call cost: `nanos` is None if unknown, and then `reason` says why.

    Of a known cost `reason` says which price it was reckoned with.
    """

    nanos: int | None
    reason: str
    simulated: bool = False

    def __post_init__(self) -> None:
        if self.nanos is not None and not 0 <= self.nanos < 2**63:
            raise ValueError(f"a cost of {self.nanos} nano-dollars; expected 0 to 2**63 - 1")


PriceCall = Callable[[LlmCallEvent], CallCost]


@dataclass(frozen=True)
class IngestCounts:
    """What came of a batch. `duplicates` were stored before, or were twice in the batch."""

    stored: int
    duplicates: int
    rejected: tuple[Rejected, ...] = ()


def ingest(
    session: Session, lines: Sequence[bytes], price: PriceCall, now: datetime
) -> IngestCounts:
    """Validate a batch as it came, an event in JSON a line, and store what is valid.

    What is not is kept in `mlops.rejected_events` with its reason. `now` (aware) is what the
    times of the events are compared with.
    """
    events, rejected = parse_events(lines, now, _earliest(session, now))
    counts = store(session, events, price)
    put_aside(session, rejected)
    return IngestCounts(counts.stored, counts.duplicates, tuple(rejected))


def store(session: Session, events: Sequence[Event], price: PriceCall) -> IngestCounts:
    """Store valid events of the session's tenant; one that is there already changes nothing."""
    if not events:
        return IngestCounts(0, 0)
    tenant_id = tenant_of(session)
    renamed = beyond_the_caps(session, tenant_id, events)
    days = sorted({event.occurred_at.astimezone(UTC).date() for event in events})
    # Day by day: a batch with one event of last year needs no partitions for the days between.
    session.execute(_ENSURE_PARTITIONS, {"days": days})
    session.execute(_CREATE_BATCH)
    session.execute(_EMPTY_BATCH)
    _copy(session, [_row(tenant_id, event, price, renamed) for event in events])
    stored = session.execute(_STORE).all()
    total = sum(row.events for row in stored)
    if stored:
        session.execute(_MARK, {"hours": [row.hour for row in stored]})
    return IngestCounts(total, len(events) - total)


def _earliest(session: Session, now: datetime) -> datetime:
    """The time before which the tenant's events are not kept, or have been removed."""
    kept, removed_before = session.execute(sa.select(Tenant.event_days, Tenant.events_from)).one()
    earliest = now - timedelta(days=kept)
    return earliest if removed_before is None else max(earliest, removed_before)


def put_aside(session: Session, rejected: Sequence[Rejected]) -> None:
    """Keep what could not be stored, once however often it is sent, without its secrets."""
    if not rejected:
        return
    tenant_id = tenant_of(session)
    rows = [
        {
            "tenant_id": tenant_id,
            "digest": hashlib.sha256(refused.line or refused.event.encode()).digest(),
            "event": refused.event,
            "reason": refused.reason,
            "line": _shown(refused.line),
        }
        for refused in rejected
    ]
    session.execute(insert(RejectedEvent).on_conflict_do_nothing(), rows)


def _shown(line: bytes) -> str:
    """The beginning of a line, as text that can be stored, without secrets."""
    text = line[: 2 * LINE_SHOWN].decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
    return redacted(text)[:LINE_SHOWN]


_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_COLUMNS: Final = tuple(column.name for column in EventRow.__table__.columns)
_TYPES: Final = tuple(
    column.type.compile(dialect=_DIALECT).lower() for column in EventRow.__table__.columns
)
_LIST: Final = ", ".join(_COLUMNS)

_ENSURE_PARTITIONS: Final = sa.text(
    "SELECT mlops.ensure_event_partitions(day, day) FROM unnest(CAST(:days AS date[])) AS day"
)

# PostgreSQL refuses COPY into a table with row-level security, so a batch goes through a table
# of the connection's own. It is kept from one transaction to the next: making one each time
# would leave dead rows in the catalogue.
_CREATE_BATCH: Final = sa.text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS event_batch (LIKE mlops.events) ON COMMIT DELETE ROWS"
)
_EMPTY_BATCH: Final = sa.text("DELETE FROM pg_temp.event_batch")
_COPY: Final = f"COPY pg_temp.event_batch ({_LIST}) FROM STDIN (FORMAT BINARY)"

# In the order of the key: of two batches that share events, each waits for the other's rows, and
# in one order they cannot wait for each other.
_STORE: Final = sa.text(
    f"""
    WITH stored AS (
        INSERT INTO mlops.events ({_LIST})
        SELECT {_LIST} FROM pg_temp.event_batch ORDER BY occurred_at, event_id
        ON CONFLICT DO NOTHING
        RETURNING occurred_at
    )
    SELECT date_trunc('hour', occurred_at) AS hour, count(*) AS events FROM stored GROUP BY 1
    """  # noqa: S608 (column names of the mapping)
)

# Not DO NOTHING: only the update makes a roll-up that is about to take the mark wait for this
# transaction. Otherwise it would take it, sum the hour without these events, and leave no mark.
# In the order of the hours, so that two batches or a roll-up cannot wait for each other.
_MARK: Final = sa.text(
    """
    INSERT INTO mlops.dirty_hours (tenant_id, hour)
    SELECT CAST(current_setting('app.tenant') AS uuid), hour
    FROM unnest(CAST(:hours AS timestamptz[])) AS hour ORDER BY hour
    ON CONFLICT (tenant_id, hour) DO UPDATE SET marked_at = now()
    """
)


def _copy(session: Session, rows: Sequence[Sequence[Any]]) -> None:
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        write = copy.write_row
        for row in rows:
            write(row)


def _row(tenant_id: TenantId, event: Event, price: PriceCall, renamed: Names) -> list[Any]:
    """The values of `_COLUMNS`."""
    values = dict(vars(event))
    values["tenant_id"] = tenant_id
    values["attributes"] = event.stored_attributes()
    values["price_simulated"] = False
    if isinstance(event, LlmCallEvent):
        values["success"] = event.success
        cost = price(event)
        values["cost_nanos"] = cost.nanos
        values["cost_reason"] = cost.reason
        values["price_simulated"] = cost.simulated
    error_type, message = values.get("error_type"), values.get("error_message")
    if error_type is not None or message is not None:
        values["error_category"] = categorize(error_type, message).value
        values["error_shape"] = folded(message or str(error_type))
    for field, name in renamed:
        if values.get(field) == name:
            values[field] = OTHER
    return [values.get(column) for column in _COLUMNS]
