"""Queue `ingest`: one batch of telemetry per message."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.pricing import call_cost, tenant_prices
from shared.jobs.contracts import IngestBatch, IngestEvents
from shared.jobs.execution import Record, in_transaction
from shared.jobs.leases import Lease
from shared.jobs.tables import JobRow
from shared.telemetry.batches import BatchError, take
from shared.telemetry.events import Rejected
from shared.telemetry.ingestion import ingest, put_aside
from tasks.declaring import job_task, transactional_task

log = logging.getLogger(__name__)

REASONS_KEPT = 10
"How many of a batch's refused events the job's result names."


def store_events(
    session: Session, job: IngestEvents, received_at: datetime | None = None
) -> Mapping[str, Any]:
    """Store the events of a job that holds them itself; they came when it was asked for."""
    lines = [json.dumps(event).encode() for event in job.events]
    return _stored(session, lines, received_at or datetime.now(UTC))


def _store_as_asked(job: IngestEvents, lease: Lease) -> Record:
    def step(session: Session, job: IngestEvents) -> Mapping[str, Any]:
        asked = sa.select(JobRow.created_at).where(JobRow.id == lease.claim.job_id)
        return store_events(session, job, session.scalars(asked).one())

    return in_transaction(step)(job, lease)


def store_batch(session: Session, job: IngestBatch) -> Mapping[str, Any]:
    """Store the events of a batch that was accepted, and let go of it."""
    try:
        batch = take(session, job.batch_id)
    except BatchError as error:
        # It will not get better, and nobody waits for it any more: what it was is kept.
        refused = [Rejected(f"batch {job.batch_id}", str(error), b"")]
        put_aside(session, refused)
        return _result(0, 0, refused)
    return {"gone": True} if batch is None else _stored(session, batch.lines, batch.received_at)


def _stored(session: Session, lines: Sequence[bytes], received_at: datetime) -> Mapping[str, Any]:
    price = partial(call_cost, tenant_prices(session))
    counts = ingest(session, lines, price, datetime.now(UTC), received_at)
    if counts.rejected:
        log.warning("refused %d of %d events", len(counts.rejected), len(lines))
    return _result(counts.stored, counts.duplicates, counts.rejected)


def _result(stored: int, duplicates: int, rejected: Sequence[Rejected]) -> Mapping[str, Any]:
    """What a batch came to; the first of the events that were refused are named."""
    return {
        "stored": stored,
        "duplicates": duplicates,
        "rejected": len(rejected),
        "reasons": [
            {"event": refused.event, "reason": refused.reason}
            for refused in rejected[:REASONS_KEPT]
        ],
    }


ingest_events = job_task(IngestEvents, lambda _: _store_as_asked)
ingest_batch = transactional_task(IngestBatch, store_batch)
