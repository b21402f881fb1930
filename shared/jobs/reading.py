"""Looking at jobs, and what people may ask of them: cancel and retry."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_session
from shared.jobs.contracts import Queue
from shared.jobs.errors import JobError, UnknownJobError
from shared.jobs.requests import cancel_all, requeue_all
from shared.jobs.tables import JobRow

_UUID_DIGITS = 32


@dataclass(frozen=True)
class QueueDepth:
    """Jobs of one queue, over all tenants; the age (seconds) is None when none waits."""

    queued: int
    running: int
    oldest_queued_seconds: float | None


def find(session: Session, identifier: str) -> JobRow:
    """The job with this identifier or unique prefix of one; raises `UnknownJobError`."""
    digits = identifier.strip().lower().replace("-", "")
    if not 1 <= len(digits) <= _UUID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise UnknownJobError(f"no job {identifier[:100]!r}: an identifier is hexadecimal")
    first, last = (UUID(digits.ljust(_UUID_DIGITS, end)) for end in "0f")
    rows = session.scalars(sa.select(JobRow).where(JobRow.id.between(first, last)).limit(2)).all()
    if not rows:
        raise UnknownJobError(f"no job {identifier!r}; `mlops job list` shows what there is")
    if len(rows) > 1:
        raise UnknownJobError(f"more than one job starts with {identifier!r}: give more of it")
    return rows[0]


def cancel(tenant_id: TenantId, identifier: str) -> JobRow:
    """Cancel a queued job now; ask the worker of a running one to stop. Ended jobs stay as is."""
    with tenant_session(tenant_id) as session:
        job = find(session, identifier)
        cancel_all(session, sa.select(JobRow.id).where(JobRow.id == job.id))
        session.refresh(job)
        return job


def retry(tenant_id: TenantId, identifier: str) -> JobRow:
    """Queue a failed or cancelled job again, with as many new attempts as a new job has."""
    with tenant_session(tenant_id) as session:
        job = find(session, identifier)
        if job.max_attempts == 0:
            raise JobError(f"job {job.id} was refused ({job.error}): submit a corrected one")
        if (job.result or {}).get("final"):
            raise JobError(
                f"job {job.id} ended with a result that counts ({job.error}): submit a new run"
            )
        if not requeue_all(session, sa.select(JobRow.id).where(JobRow.id == job.id)):
            raise JobError(
                f"job {job.id} is {job.status}: only failed or cancelled ones are retried"
            )
        session.refresh(job)
        return job


def depths() -> dict[str, QueueDepth]:
    """How much waits and runs in each queue, over all tenants; never hangs."""
    with system_session() as session:
        session.execute(sa.text("SET LOCAL statement_timeout = '2s'"))
        rows = session.execute(
            sa.text(
                "SELECT queue, queued, running, oldest_queued_seconds FROM mlops.queue_depths()"
            )
        )
        held = {queue: QueueDepth(*counts) for queue, *counts in rows}
    return {queue.value: held.get(queue.value, QueueDepth(0, 0, None)) for queue in Queue}
