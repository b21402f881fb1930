"""Batches on their way: stored as one compressed row before they are acknowledged.

A message can be lost, so a sender is told "taken" only once its batch is a row of PostgreSQL. The
transaction that stores the events deletes that row; what is left over is found by the sweeper,
because the batch's job is a row as well.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.jobs.contracts import IngestBatch
from shared.jobs.requests import requeue_all
from shared.jobs.submission import enqueue
from shared.jobs.tables import JobRow, JobStatus
from shared.settings import settings
from shared.telemetry.packing import pack as pack
from shared.telemetry.tables import EventBatch

MOST_EVENTS: Final = 5_000
MOST_BYTES: Final = 64 * 2**20
"Of a batch once it is unpacked."

RETRY_AFTER_SECONDS: Final = 10.0


class BatchError(ValueError):
    """A batch that can never be taken; the message is one line for the sender."""


class ComeAgainError(Exception):
    """A batch that cannot be taken now: the sender is to come again after `retry_after` seconds."""

    retry_after = RETRY_AFTER_SECONDS


class StoreFullError(ComeAgainError):
    """Too much is waiting to be stored."""

    def __init__(self, waiting_bytes: int, limit: int) -> None:
        super().__init__(
            f"{waiting_bytes} bytes of telemetry are waiting to be stored, and at most {limit} may;"
            f" send again in {RETRY_AFTER_SECONDS:g} s"
        )


def unpack(packed: bytes) -> list[bytes]:
    """The lines of a batch, empty ones left out. Raises `BatchError`."""
    unpacking = zlib.decompressobj()
    try:
        # Never more than fits: a few bytes can be made to unpack to gigabytes.
        body = unpacking.decompress(packed, MOST_BYTES + 1)
    except zlib.error as error:
        raise BatchError(f"a batch is events as JSON lines, compressed by zlib: {error}") from None
    if len(body) > MOST_BYTES:
        raise BatchError(f"a batch has at most {MOST_BYTES} bytes once it is unpacked")
    if not unpacking.eof:
        raise BatchError("the batch breaks off: its end is missing")
    lines = body.count(b"\n") + 1
    if lines > MOST_EVENTS:
        raise BatchError(f"a batch of {lines} lines; expected at most {MOST_EVENTS}")
    return [line for line in body.split(b"\n") if line.strip()]


def accept(session: Session, batch_id: UUID, packed: bytes, events: int) -> None:
    """Store a batch and ask for its events to be stored, in the session's transaction.

    A batch that was accepted before changes nothing, also once its events are stored; if its job
    was cancelled or failed it is done after all. Raises `StoreFullError` where the tenant has as
    much waiting as `MLOPS_BATCHES_BYTES` allows, `ComeAgainError` while the batch is being
    cancelled, and `BatchError`.
    """
    if not 1 <= events <= MOST_EVENTS:
        raise BatchError(f"a batch of {events} events; expected 1 to {MOST_EVENTS}")
    if not packed or len(packed) > MOST_BYTES:
        raise BatchError(f"a batch of {len(packed)} bytes; expected 1 to {MOST_BYTES}")
    # The job stays after the batch has gone, and says that it was there. Of two senders of one
    # batch the second looks when the first has committed.
    session.execute(_ONE_AT_A_TIME, {"batch": str(batch_id)})
    known = sa.select(JobRow.id).where(
        JobRow.kind == IngestBatch.kind(), JobRow.idempotency_key == str(batch_id)
    )
    job = session.execute(
        known.add_columns(JobRow.status, JobRow.cancel_requested_at)
    ).one_or_none()
    if job is None:
        _keep(session, batch_id, packed, events)
        enqueue(session, IngestBatch(batch_id=batch_id), idempotency_key=str(batch_id))
    elif job.status in (JobStatus.CANCELLED, JobStatus.FAILED):
        if session.get(EventBatch, (tenant_of(session), batch_id)) is None:
            _keep(session, batch_id, packed, events)
        requeue_all(session, known)
    elif job.status == JobStatus.RUNNING and job.cancel_requested_at is not None:
        # Its worker may have seen that, and then stores nothing.
        raise ComeAgainError(f"batch {batch_id} is being cancelled; send it again later")


def _keep(session: Session, batch_id: UUID, packed: bytes, events: int) -> None:
    limit = settings().batches_bytes
    waiting = int(session.scalar(sa.select(sa.func.sum(EventBatch.size_bytes))) or 0)
    if waiting + len(packed) > limit:
        raise StoreFullError(waiting, limit)
    session.add(
        EventBatch(
            tenant_id=tenant_of(session),
            id=batch_id,
            events=events,
            body=packed,
            size_bytes=len(packed),
        )
    )
    session.flush()


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.event_batches ' || current_setting('app.tenant') || :batch, 0))"
)


@dataclass(frozen=True)
class Taken:
    lines: list[bytes]
    received_at: datetime
    "When it was accepted, however long it has waited since."


def take(session: Session, batch_id: UUID) -> Taken | None:
    """A batch, which is deleted with the session's transaction; None if it is gone.

    Raises `BatchError`.
    """
    batch = session.execute(
        sa.delete(EventBatch)
        .where(EventBatch.id == batch_id)
        .returning(EventBatch.body, EventBatch.received_at)
    ).one_or_none()
    return None if batch is None else Taken(unpack(batch.body), batch.received_at)
