"""Claim, renew, and end a job: the statements that make two workers on one job harmless.

A claim raises the row's `attempt` and leaves its own identifier there. Everything a worker writes
afterwards is fenced on that identifier: when its lease ran out and another worker took the job
over, they differ and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.jobs.contracts import CONTRACTS
from shared.jobs.errors import LeaseLostError
from shared.jobs.tables import JobRow, JobStatus


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds until its lease runs out."""

    tenant_id: TenantId
    job_id: UUID
    id: UUID
    "Of this claim: the fence."
    kind: str
    payload: Mapping[str, Any]
    attempt: int
    max_attempts: int
    worker: str

    @property
    def last_attempt(self) -> bool:
        return self.attempt >= self.max_attempts


# Nobody waits for a claim to be on disk: one that a crash forgets is claimed again, and the fence
# stops the worker that held it.
_CLAIM = sa.text(
    """
    UPDATE mlops.jobs SET status = 'running', attempt = attempt + 1, worker = :worker,
        claim_id = :claim_id,
        lease_expires_at = now() + :lease, started_at = now(), finished_at = NULL
    WHERE id = :job_id AND attempt < max_attempts AND cancel_requested_at IS NULL
      AND ((status = 'queued' AND not_before <= now())
           OR (status = 'running' AND lease_expires_at < now()))
    RETURNING kind, payload, attempt, max_attempts, set_config('synchronous_commit', 'off', true)
    """
).bindparams(sa.bindparam("lease", type_=sa.Interval))

_HOLD = sa.text(
    """
    SELECT true FROM mlops.jobs
    WHERE id = :job_id AND claim_id = :claim_id AND status = 'running' FOR UPDATE
    """
)

_END = sa.text(
    """
    UPDATE mlops.jobs SET error = :error, lease_expires_at = NULL,
        -- What was cancelled meanwhile is not queued again.
        status = CASE WHEN :status = 'queued' AND cancel_requested_at IS NOT NULL
                      THEN 'cancelled' ELSE :status END,
        result = CAST(:result AS jsonb),
        payload = CASE WHEN :keeps_payload THEN payload ELSE CAST('{}' AS json) END,
        finished_at = CASE WHEN :status = 'queued' AND cancel_requested_at IS NULL
                           THEN NULL ELSE now() END,
        not_before = now() + :wait
    WHERE id = :job_id AND claim_id = :claim_id AND status = 'running'
    """
).bindparams(
    sa.bindparam("wait", type_=sa.Interval),
    sa.bindparam("status", type_=sa.Text),
    sa.bindparam("error", type_=sa.Text),
    sa.bindparam("keeps_payload", type_=sa.Boolean),
)


def claim(tenant_id: TenantId, job_id: UUID, *, worker: str, lease_seconds: float) -> Claim | None:
    """Take the job, or None when it is not to be had: ended, held by another, or not yet due."""
    claim_id = uuid4()
    with tenant_session(tenant_id) as session:
        row = session.execute(
            _CLAIM,
            {
                "job_id": job_id,
                "claim_id": claim_id,
                "worker": worker,
                "lease": timedelta(seconds=lease_seconds),
            },
        ).one_or_none()
    if row is None:
        return None
    return Claim(
        tenant_id, job_id, claim_id, row.kind, row.payload, row.attempt, row.max_attempts, worker
    )


def renew(session: Session, claims: Collection[UUID], lease_seconds: float) -> set[UUID]:
    """Prolong the leases of these claims; return those that still hold their job."""
    # In the order in which all lock who lock many jobs.
    held = (
        sa.select(JobRow.id)
        .where(JobRow.claim_id.in_(claims), JobRow.status == JobStatus.RUNNING)
        .order_by(JobRow.id)
        .with_for_update()
        .cte("held")
    )
    rows = session.execute(
        sa.update(JobRow)
        .where(JobRow.id.in_(sa.select(held.c.id)))
        .values(lease_expires_at=sa.func.now() + timedelta(seconds=lease_seconds))
        .returning(JobRow.claim_id)
    )
    return {claim_id for claim_id in rows.scalars() if claim_id is not None}


def cancel_requested(session: Session, job_ids: list[UUID]) -> set[UUID]:
    """Those of the jobs that somebody wants cancelled."""
    return set(
        session.scalars(
            sa.select(JobRow.id).where(
                JobRow.id.in_(job_ids), JobRow.cancel_requested_at.is_not(None)
            )
        )
    )


def hold(session: Session, claim: Claim) -> None:
    """Lock the row of a held job, so that what follows in this transaction is fenced.

    Raises `LeaseLostError` when the job was taken over or ended.
    """
    held = session.scalar(_HOLD, {"job_id": claim.job_id, "claim_id": claim.id})
    if held is None:
        raise LeaseLostError(f"job {claim.job_id}: attempt {claim.attempt} is no longer ours")


def succeed(session: Session, claim: Claim, result: Mapping[str, Any]) -> None:
    _end(session, claim, JobStatus.SUCCEEDED, None, result)


def fail(
    session: Session, claim: Claim, error: str, result: Mapping[str, Any] | None = None
) -> None:
    """End the job for good; its error is kept and `mlops job retry` can queue it again."""
    _end(session, claim, JobStatus.FAILED, error, result)


def give_back(session: Session, claim: Claim, error: str) -> None:
    """Queue the job again after a pause that doubles with each attempt; fail it after the last."""
    if claim.last_attempt:
        fail(session, claim, error)
    else:
        _end(session, claim, JobStatus.QUEUED, error, None, wait=pause_after(claim.attempt))


def end_cancelled(session: Session, claim: Claim, result: Mapping[str, Any] | None = None) -> None:
    _end(session, claim, JobStatus.CANCELLED, "cancelled", result)


def pause_after(attempt: int) -> timedelta:
    """2, 4, 8 ... seconds, at most five minutes."""
    return timedelta(seconds=min(2.0**attempt, 300.0))


def _end(
    session: Session,
    claim: Claim,
    status: JobStatus,
    error: str | None,
    result: Mapping[str, Any] | None,
    wait: timedelta = timedelta(0),
) -> None:
    keeps = status is not JobStatus.SUCCEEDED or CONTRACTS[claim.kind].keeps_payload
    ended = session.execute(
        _END,
        {
            "job_id": claim.job_id,
            "claim_id": claim.id,
            "status": status.value,
            "error": error,
            "result": _json(result),
            "keeps_payload": keeps,
            "wait": wait,
        },
    )
    if ended.rowcount != 1:  # type: ignore[attr-defined]
        raise LeaseLostError(f"job {claim.job_id}: attempt {claim.attempt} is no longer ours")


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)
