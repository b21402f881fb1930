"""The sweeper: sends what was never received, and frees what a dead worker held."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from shared import broker
from shared.database import TenantId, system_session, tenant_session
from shared.jobs.contracts import Queue
from shared.jobs.tables import JobRow, JobStatus

AT_MOST = 5_000
"Jobs looked at in one sweep; the next one takes the rest."


@dataclass(frozen=True)
class Swept:
    freed: int
    failed: int
    sent: int


def sweep(patience_seconds: float) -> Swept:
    """Free jobs whose lease ran out, then send every job whose message must be missing.

    Raises `redis.RedisError` when the broker is away: which queues are empty is not known then.
    """
    endings = _free_expired()
    lengths = broker.queue_lengths()
    return Swept(
        freed=endings[JobStatus.QUEUED],
        failed=endings[JobStatus.FAILED] + endings[JobStatus.CANCELLED],
        sent=_send_missing([queue for queue, n in lengths.items() if n == 0], patience_seconds),
    )


def _free_expired() -> Counter[JobStatus]:
    with system_session() as session:
        found = session.execute(
            sa.text("SELECT tenant_id, job_id FROM mlops.jobs_with_expired_leases(:n)"),
            {"n": AT_MOST},
        ).all()
    by_tenant: dict[TenantId, list[UUID]] = defaultdict(list)
    for tenant_id, job_id in found:
        by_tenant[TenantId(tenant_id)].append(job_id)
    endings: Counter[JobStatus] = Counter()
    for tenant_id, job_ids in by_tenant.items():
        with tenant_session(tenant_id) as session:
            # The conditions are checked again: the worker may have come back meanwhile.
            statuses = session.scalars(
                sa.update(JobRow)
                .where(
                    JobRow.id.in_(job_ids),
                    JobRow.status == JobStatus.RUNNING,
                    JobRow.lease_expires_at < sa.func.now(),
                )
                .values(
                    status=sa.case(
                        (JobRow.cancel_requested_at.is_not(None), JobStatus.CANCELLED.value),
                        (JobRow.attempt >= JobRow.max_attempts, JobStatus.FAILED.value),
                        else_=JobStatus.QUEUED.value,
                    ),
                    error=sa.func.format(
                        "attempt %s of %s: worker %s went away and its lease ran out",
                        JobRow.attempt,
                        JobRow.max_attempts,
                        JobRow.worker,
                    ),
                    finished_at=sa.case(
                        (JobRow.attempt >= JobRow.max_attempts, sa.func.now()),
                        (JobRow.cancel_requested_at.is_not(None), sa.func.now()),
                    ),
                    lease_expires_at=None,
                    # Due now, and after its last message: the next step sends it.
                    not_before=sa.func.now(),
                )
                .returning(JobRow.status)
            )
            endings.update(JobStatus(status) for status in statuses)
    return endings


def _send_missing(empty_queues: list[Queue], patience_seconds: float) -> int:
    with system_session() as session:
        found = session.execute(
            sa.text(
                "SELECT tenant_id, job_id, kind, queue, priority"
                " FROM mlops.jobs_to_send(:empty, :patience, :n)"
            ).bindparams(sa.bindparam("patience", type_=sa.Interval)),
            {
                "empty": [queue.value for queue in empty_queues],
                "patience": timedelta(seconds=patience_seconds),
                "n": AT_MOST,
            },
        ).all()
    messages = [
        broker.Message(row.kind, row.queue, row.tenant_id, row.job_id, row.priority)
        for row in found
    ]
    if not messages or not broker.publish(messages):
        return 0
    by_tenant: dict[TenantId, list[UUID]] = defaultdict(list)
    for row in found:
        by_tenant[TenantId(row.tenant_id)].append(row.job_id)
    for tenant_id, job_ids in by_tenant.items():
        with tenant_session(tenant_id) as session:
            session.execute(
                sa.update(JobRow)
                .where(JobRow.id.in_(job_ids))
                .values(sent_at=sa.func.clock_timestamp(), sends=JobRow.sends + 1)
            )
    return len(messages)
