"""Storing a batch of events: priced, absorbed if sent again, its hours marked for the roll-up.

All of it happens in the session's transaction, so a batch is stored once or not at all, and what
was wrong with it (see `arrivals`) is counted once or not at all.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.telemetry.arrivals import (
    LATE_AFTER,
    Arrived,
    Faults,
    count_faults,
    out_of_range,
)
from shared.telemetry.errors import categorize, folded
from shared.telemetry.events import (
    OF_NO_AGENT,
    Event,
    ExposureEvent,
    LlmCallEvent,
    Rejected,
    parse_events,
)
from shared.telemetry.exposures import expose
from shared.telemetry.names import CAPS, OTHER, Names, beyond_the_caps
from shared.telemetry.queries import pack_query
from shared.telemetry.refused_lines import shown
from shared.telemetry.tables import EventRow, RejectedEvent
from shared.tenancy.tables import Tenant


@dataclass(frozen=True)
class CallCost:
    """What one model call cost: `nanos` is None if unknown, and then `reason` says why.

    Of a known cost `reason` says which price it was reckoned with.
    """

    nanos: int | None
    reason: str
    simulated: bool = False
    provider: str | None = None
    "Whose model it must have been, where the caller did not say."

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
    session: Session,
    lines: Sequence[bytes],
    price: PriceCall,
    now: datetime,
    received_at: datetime | None = None,
) -> IngestCounts:
    """Validate a batch as it came, an event in JSON a line, and store what is valid.

    What is not is kept in `mlops.rejected_events` with its reason. `now` (aware) is what the
    times of the events are compared with, and when they were received if `received_at` does not
    say that they have waited here: an event is not late because we are.
    """
    received = received_at or now
    with _uncollected():
        events, rejected = parse_events(lines, now, _earliest(session, now))
        of_rejected = _names_of(out_of_range(rejected, received))
        counts, refused_names = _store(session, events, price, received, of_rejected)
    new = put_aside(session, rejected)
    if new:
        count_faults(session, received, _renamed(out_of_range(new, received), refused_names))
    return IngestCounts(counts.stored, counts.duplicates, tuple(rejected))


def store(
    session: Session,
    events: Sequence[Event],
    price: PriceCall,
    received_at: datetime | None = None,
) -> IngestCounts:
    """Store valid events of the session's tenant; one that is there already changes nothing.

    What came late or again is counted if `received_at` (aware) says when they came.
    """
    return _store(session, events, price, received_at, frozenset())[0]


def _store(
    session: Session,
    events: Sequence[Event],
    price: PriceCall,
    received_at: datetime | None,
    other_names: Names,
) -> tuple[IngestCounts, Names]:
    """`store`, and which names are beyond the caps: of the events, and of `other_names`."""
    exposures = [event for event in events if isinstance(event, ExposureEvent)]
    if not exposures:
        return _store_observed(session, events, price, received_at, other_names)
    observed = [event for event in events if not isinstance(event, ExposureEvent)]
    counts, refused = _store_observed(session, observed, price, received_at, other_names)
    exposed = expose(session, exposures)
    again = len(exposures) - exposed
    return IngestCounts(counts.stored + exposed, counts.duplicates + again), refused


def _store_observed(
    session: Session,
    events: Sequence[Event],
    price: PriceCall,
    received_at: datetime | None,
    other_names: Names,
) -> tuple[IngestCounts, Names]:
    """`_store`, of events that are no exposures."""
    rows = [_row(event, price) for event in events]
    used = _names_in(rows) | other_names
    # Before any row is written: who waits for names while others wait for its rows would never
    # get them.
    refused = beyond_the_caps(session, used) if used else used
    if not rows:
        return IngestCounts(0, 0), refused
    _rename(rows, refused)
    session.execute(_CREATE_BATCH)
    session.execute(_EMPTY_BATCH)
    _copy(session, rows)
    session.execute(_ENSURE_PARTITIONS)
    late_before = None if received_at is None else received_at - LATE_AFTER
    stored = session.execute(_STORE, {"late_before": late_before}).all()
    total = sum(row.events for row in stored)
    if stored:
        session.execute(_MARK, {"hours": sorted({row.hour for row in stored})})
    if received_at is not None:
        faults = _late(stored)
        if total < len(rows):
            faults |= _duplicates(rows, stored, received_at)
        if faults:
            count_faults(session, received_at, faults)
    return IngestCounts(total, len(events) - total), refused


def _late(stored: Sequence[sa.Row[Any]]) -> Faults:
    return Faults(
        {Arrived.late(row.model, row.function, row.hour): row.late for row in stored if row.late}
    )


def _duplicates(
    rows: Sequence[Sequence[Any]], stored: Sequence[sa.Row[Any]], received_at: datetime
) -> Faults:
    """What was in the batch, and is not among what was stored of it."""
    came = Counter((row[_MODEL], row[_FUNCTION]) for row in rows if row[_KIND] not in OF_NO_AGENT)
    for row in stored:
        came[row.model, row.function] -= row.of_agents
    return Faults({Arrived.again(*each, received_at): n for each, n in came.items() if n > 0})


def _names_of(faults: Faults) -> Names:
    return frozenset(
        pair for one in faults for pair in (("model", one.model), ("function", one.function))
    )


def _renamed(faults: Faults, refused: Names) -> Faults:
    """With the names beyond the caps replaced, as those of stored events are."""
    renamed = Faults()
    for one, n in faults.items():
        model, function = (
            OTHER if (field, name) in refused else name
            for field, name in (("model", one.model), ("function", one.function))
        )
        renamed[one.of(model, function)] += n
    return renamed


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looks for garbage: a batch makes 100,000 objects that are in no cycle.

    Going through them, and through all that the process holds, takes as long as validating them.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _earliest(session: Session, now: datetime) -> datetime:
    """The time before which the tenant's events are not kept, or have been removed."""
    kept, removed_before = session.execute(sa.select(Tenant.event_days, Tenant.events_from)).one()
    earliest = now - timedelta(days=kept)
    return earliest if removed_before is None else max(earliest, removed_before)


def put_aside(session: Session, rejected: Sequence[Rejected]) -> list[Rejected]:
    """Keep what could not be stored, once however often it is sent, as `shown` does.

    Returns those that were not there before, each once.
    """
    if not rejected:
        return []
    tenant_id = tenant_of(session)
    by_digest = {
        hashlib.sha256(refused.line or refused.event.encode()).digest(): refused
        for refused in rejected
    }
    rows = [
        {
            "tenant_id": tenant_id,
            "digest": digest,
            "event": refused.event,
            "reason": refused.reason,
            "line": shown(refused.line),
        }
        # In the order of the key: two batches with the same lines cannot wait for each other.
        for digest, refused in sorted(by_digest.items(), key=itemgetter(0))
    ]
    new = session.scalars(
        insert(RejectedEvent).on_conflict_do_nothing().returning(RejectedEvent.digest), rows
    )
    return [by_digest[digest] for digest in new]


_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_COPIED: Final = tuple(
    column for column in EventRow.__table__.columns if column.name != "tenant_id"
)
COPIED_COLUMNS: Final = tuple(column.name for column in _COPIED)
COPIED_TYPES: Final = tuple(column.type.compile(dialect=_DIALECT).lower() for column in _COPIED)
_LIST: Final = ", ".join(COPIED_COLUMNS)

# PostgreSQL refuses COPY into a table with row-level security, so a batch goes through a table
# of the connection's own. It is kept from one transaction to the next: making one each time
# would leave dead rows in the catalogue. Made by a query, it has no constraints to check.
_CREATE_BATCH: Final = sa.text(
    f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS event_batch ON COMMIT DELETE ROWS
    AS SELECT {_LIST} FROM mlops.events WITH NO DATA
    """  # noqa: S608 (column names of the mapping)
)
_EMPTY_BATCH: Final = sa.text("DELETE FROM pg_temp.event_batch")
_COPY: Final = f"COPY pg_temp.event_batch ({_LIST}) FROM STDIN (FORMAT BINARY)"

# Day by day: a batch with one event of last year needs no partitions for the days between.
_ENSURE_PARTITIONS: Final = sa.text(
    """
    SELECT mlops.ensure_event_partitions(day, day) FROM (
        SELECT DISTINCT CAST(occurred_at AS date) AS day FROM pg_temp.event_batch ORDER BY day
    ) AS days
    """
)

# What most events have the same of is not copied: it is put in here.
_FILLED: Final = {
    "attributes": "coalesce(attributes, '{}')",
    "price_simulated": "coalesce(price_simulated, false)",
}
_SELECTED: Final = ", ".join(_FILLED.get(name, name) for name in COPIED_COLUMNS)

# In the order of the key: of two batches that share events, each waits for the other's rows, and
# in one order they cannot wait for each other.
_STORE: Final = sa.text(
    f"""
    WITH stored AS (
        INSERT INTO mlops.events (tenant_id, {_LIST})
        SELECT CAST(current_setting('app.tenant') AS uuid), {_SELECTED}
        FROM pg_temp.event_batch ORDER BY occurred_at, event_id
        ON CONFLICT DO NOTHING
        RETURNING occurred_at, event_id, unit_id, kind, model, function
    ),
    of_units AS (
        INSERT INTO mlops.unit_events (tenant_id, occurred_at, event_id)
        SELECT CAST(current_setting('app.tenant') AS uuid), occurred_at, event_id
        FROM stored WHERE unit_id IS NOT NULL
    )
    SELECT date_trunc('hour', occurred_at) AS hour, model, function, count(*) AS events,
        count(*) FILTER (WHERE kind NOT IN {OF_NO_AGENT}) AS of_agents,
        count(*) FILTER (
            WHERE occurred_at < CAST(:late_before AS timestamptz) AND kind NOT IN {OF_NO_AGENT}
        ) AS late
    FROM stored GROUP BY 1, 2, 3
    """  # noqa: S608 (column names of the mapping)
)

# Not DO NOTHING: only the update makes a roll-up that is about to take the mark wait for this
# transaction. Otherwise it would take it, sum the hour without these events, and leave no mark.
# In the order of the hours, so that two batches or a roll-up cannot wait for each other. The time
# of the first mark stays: it says how long the hour has been waiting to be summed.
_MARK: Final = sa.text(
    """
    INSERT INTO mlops.dirty_hours (tenant_id, hour)
    SELECT CAST(current_setting('app.tenant') AS uuid), hour
    FROM unnest(CAST(:hours AS timestamptz[])) AS hour ORDER BY hour
    ON CONFLICT (tenant_id, hour) DO UPDATE SET marked_at = dirty_hours.marked_at
    """
)


def _copy(session: Session, rows: Sequence[Sequence[Any]]) -> None:
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(COPIED_TYPES)
        write = copy.write_row
        for row in rows:
            write(row)


_EMPTY: Final = dict.fromkeys(COPIED_COLUMNS)
_values = itemgetter(*COPIED_COLUMNS)
_PLACES: Final = {name: COPIED_COLUMNS.index(name) for name in CAPS}
_KIND, _MODEL, _FUNCTION = (COPIED_COLUMNS.index(name) for name in ("kind", "model", "function"))


def _row(event: Event, price: PriceCall) -> list[Any]:
    """The values of `COPIED_COLUMNS`."""
    values = {**_EMPTY, **vars(event)}
    values["attributes"] = event.stored_attributes() or None
    if isinstance(event, LlmCallEvent):
        values["success"] = event.success
        if event.query_measures is not None:
            values["query_measures"] = pack_query(event.query_measures)
        cost = price(event)
        values["cost_nanos"] = cost.nanos
        values["cost_reason"] = cost.reason
        values["price_simulated"] = cost.simulated
        if cost.provider is not None:
            values["provider"] = cost.provider
    error_type, message = values["error_type"], values["error_message"]
    # A task that was not solved is a failure of the agent, and an error only if it says one.
    failed = values["success"] is False and event.kind in ("action", "page_load")
    if failed or error_type is not None or message is not None:
        values["error_category"] = categorize(error_type, message).value
        values["error_shape"] = folded(message or error_type or "(no message)")
    return list(_values(values))


def _names_in(rows: Sequence[Sequence[Any]]) -> Names:
    """The names that rows have in the fields that have a cap."""
    return frozenset(
        (field, name)
        for field, place in _PLACES.items()
        for name in set(map(itemgetter(place), rows))
        if name
    )


def _rename(rows: Sequence[list[Any]], refused: Names) -> None:
    for field, place in _PLACES.items():
        names = {name for of, name in refused if of == field}
        if names:
            for row in rows:
                if row[place] in names:
                    row[place] = OTHER
