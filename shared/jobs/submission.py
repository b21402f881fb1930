"""Submitting: the row first, in the submitter's transaction, then the message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared import broker
from shared.broker import NORMAL_PRIORITY, Message
from shared.database import TenantId, tenant_of, tenant_session
from shared.jobs.contracts import Contract
from shared.jobs.errors import InvalidJobError
from shared.jobs.tables import JobRow, JobStatus
from shared.settings import settings

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def submit(
    tenant_id: TenantId,
    job: Contract,
    *,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
) -> UUID:
    """Store and send one job; return its identifier.

    The same `idempotency_key` for the same kind of job returns the first one's identifier and
    submits nothing. When the broker is away the job waits in its row until the sweeper sends it.
    """
    with tenant_session(tenant_id) as session:
        return enqueue(session, job, idempotency_key=idempotency_key, not_before=not_before)


def enqueue(
    session: Session,
    job: Contract,
    *,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
    priority: int = NORMAL_PRIORITY,
) -> UUID:
    """`submit` within the caller's transaction: stored with it, sent once it has committed."""
    row = _row(tenant_of(session), job, priority) | {"idempotency_key": idempotency_key}
    if not_before is not None:
        row["not_before"] = _checked_time(job, not_before)
    stored: UUID | None = session.scalar(
        insert(JobRow).values(row).on_conflict_do_nothing().returning(JobRow.id)
    )
    if stored is None:
        return session.scalars(
            sa.select(JobRow.id).where(
                JobRow.kind == job.kind(), JobRow.idempotency_key == idempotency_key
            )
        ).one()
    # A job for later is sent by the sweeper when its time has come.
    if not_before is None or not_before <= datetime.now(UTC):
        send_after_commit(session, [row])
    return stored


def enqueue_unless_queued(tenant_id: TenantId, job: Contract) -> bool:
    """Store the job in a transaction of its own unless one of its kind is queued already."""
    with tenant_session(tenant_id) as session:
        waiting = sa.select(JobRow.id).where(
            JobRow.kind == job.kind(), JobRow.status == JobStatus.QUEUED
        )
        if session.scalar(waiting.limit(1)) is not None:
            return False
        enqueue(session, job)
    return True


def enqueue_all(
    session: Session,
    jobs: Sequence[tuple[UUID, Contract]],
    *,
    priority: int = NORMAL_PRIORITY,
) -> None:
    """`enqueue` for many jobs whose identifiers the caller has chosen."""
    tenant_id = tenant_of(session)
    rows = [_row(tenant_id, job, priority) | {"id": job_id} for job_id, job in jobs]
    if rows:
        session.execute(sa.insert(JobRow), rows)
        send_after_commit(session, rows)


def storable(text: str) -> str:
    """What PostgreSQL's text can hold of it, at most 200 characters."""
    return text[:200].replace("\x00", "").encode("utf-8", "replace").decode()


def record_refused(
    session: Session, kind: object, payload: dict[str, Any], error: str, *, idempotency_key: str
) -> None:
    """A job that came by message and is not valid: a failed row, for its sender to find."""
    session.execute(
        insert(JobRow)
        .values(
            id=uuid4(),
            idempotency_key=idempotency_key,
            tenant_id=tenant_of(session),
            kind=storable(str(kind)),
            queue="control",
            payload=payload,
            status=JobStatus.FAILED,
            max_attempts=0,
            error=error,
            finished_at=sa.func.now(),
        )
        .on_conflict_do_nothing()
    )


def _checked_time(job: Contract, not_before: datetime) -> datetime:
    """`InvalidJobError` for a time that PostgreSQL or Python would not give back."""
    if not_before.tzinfo is None or not EARLIEST <= not_before <= LATEST:
        raise InvalidJobError(
            f"job {job.kind()}: not_before must be a time with a zone, of the years 2000 to 2199"
        )
    return not_before


def _row(tenant_id: TenantId, job: Contract, priority: int) -> dict[str, Any]:
    payload = job.model_dump(mode="json")
    try:
        json.dumps(payload, allow_nan=False)
    except ValueError:
        raise InvalidJobError(
            f"job {job.kind()} holds NaN or infinity: JSON has neither, null says unknown"
        ) from None
    return {
        "id": uuid4(),
        "tenant_id": tenant_id,
        "kind": job.kind(),
        "queue": job.queue.value,
        "payload": payload,
        "priority": priority,
        "max_attempts": settings().job_max_attempts,
    }


def send_after_commit(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Send the messages of stored rows once the caller's transaction has committed."""
    messages = [
        Message(row["kind"], row["queue"], row["tenant_id"], row["id"], row["priority"])
        for row in rows
    ]
    if not messages:
        return

    @event.listens_for(session, "after_commit", once=True)
    def _send(_: Session) -> None:
        broker.publish(messages)
