"""What people may ask of many jobs at once: to end, or to be done after all.

Rows are locked in the order of their identifiers, so that two who ask at once, and the workers
that renew their leases, wait for each other and do not block each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.jobs.tables import JobRow, JobStatus
from shared.settings import settings

JobIds = sa.Select[UUID]
"A query of the jobs' identifiers."


class Cancelling(NamedTuple):
    ended: int
    "Jobs that nobody had taken: they are cancelled."
    asked: int
    "Jobs that a worker holds: it hears of it within a second."


def cancel_all(session: Session, jobs: JobIds) -> Cancelling:
    """Cancel the queued ones of these jobs and ask the workers of the running ones to stop."""
    queued = JobRow.status == JobStatus.QUEUED.value
    statuses = session.scalars(
        sa.update(JobRow)
        .where(JobRow.id.in_(_locked(jobs, JobStatus.QUEUED, JobStatus.RUNNING)))
        .values(
            cancel_requested_at=sa.func.now(),
            status=sa.case((queued, JobStatus.CANCELLED.value), else_=JobRow.status),
            error=sa.case((queued, "cancelled"), else_=JobRow.error),
            finished_at=sa.case((queued, sa.func.now())),
        )
        .returning(JobRow.status)
        .execution_options(synchronize_session=False)
    ).all()
    ended = sum(status == JobStatus.CANCELLED for status in statuses)
    return Cancelling(ended, len(statuses) - ended)


def requeue_all(session: Session, jobs: JobIds) -> set[UUID]:
    """Queue the failed and cancelled ones of these jobs again; return which those were.

    Each gets as many new attempts as a new job has. Of two who ask at once the second finds them
    queued and changes nothing. Sent once the transaction has committed.
    """
    rows = session.execute(
        sa.update(JobRow)
        .where(JobRow.id.in_(_locked(jobs, JobStatus.FAILED, JobStatus.CANCELLED)))
        .values(
            status=JobStatus.QUEUED.value,
            max_attempts=JobRow.attempt + settings().job_max_attempts,
            cancel_requested_at=None,
            error=None,
            result=None,
            finished_at=None,
            not_before=sa.func.now(),
            sent_at=sa.func.now(),
        )
        .returning(JobRow.id, JobRow.kind, JobRow.queue, JobRow.tenant_id, JobRow.priority)
        .execution_options(synchronize_session=False)
    ).all()
    # Celery takes half a second to import, and only this needs it.
    from shared.jobs.submission import send_after_commit

    sent: list[dict[str, Any]] = [dict(row._mapping) for row in rows]
    send_after_commit(session, sent)
    return {row["id"] for row in sent}


def _locked(jobs: JobIds, *statuses: JobStatus) -> sa.Select[UUID]:
    # A CTE with a lock is evaluated once, before the update looks at any row.
    held = (
        sa.select(JobRow.id)
        .where(JobRow.id.in_(jobs), JobRow.status.in_([status.value for status in statuses]))
        .order_by(JobRow.id)
        .with_for_update()
        .cte("held")
    )
    return sa.select(held.c.id)
