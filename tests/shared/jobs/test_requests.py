"""Many jobs at once: cancelled, or queued again, once however many ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from shared import broker
from shared.database import TenantId, tenant_session
from shared.jobs.claims import claim, end_cancelled, fail, succeed
from shared.jobs.contracts import Queue, RollUp
from shared.jobs.requests import cancel_all, requeue_all
from shared.jobs.submission import enqueue
from shared.jobs.tables import JobRow

ALL = sa.select(JobRow.id)


@pytest.fixture
def jobs(tenant: TenantId, clean_redis: redis.Redis) -> Iterator[dict[str, UUID]]:
    """One job of each status, by status."""
    with tenant_session(tenant) as session:
        made = {
            status: enqueue(session, RollUp())
            for status in ("queued", "running", "succeeded", "failed", "cancelled")
        }
    for status, job_id in made.items():
        if status != "queued":
            held = claim(tenant, job_id, worker="w", lease_seconds=60)
            assert held is not None
            with tenant_session(tenant) as session:
                match status:
                    case "succeeded":
                        succeed(session, held, {})
                    case "failed":
                        fail(session, held, "no luck", {"outcome": "environment_error"})
                    case "cancelled":
                        end_cancelled(session, held)
    clean_redis.flushall()
    yield made
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(status="cancelled"))


def statuses(tenant: TenantId) -> dict[UUID, str]:
    with tenant_session(tenant) as session:
        return {row.id: row.status for row in session.execute(sa.select(JobRow.id, JobRow.status))}


def test_the_queued_end_at_once_and_the_running_are_asked_to(
    tenant: TenantId, jobs: dict[str, UUID]
) -> None:
    with tenant_session(tenant) as session:
        assert cancel_all(session, ALL) == (1, 1)
    after = statuses(tenant)
    assert after == {job_id: status for status, job_id in jobs.items()} | {
        jobs["queued"]: "cancelled"
    }
    with tenant_session(tenant) as session:
        asked = session.scalars(
            sa.select(JobRow.id).where(JobRow.cancel_requested_at.is_not(None))
        ).all()
    assert set(asked) == {jobs["queued"], jobs["running"]}


def test_only_what_failed_or_was_cancelled_is_queued_again(
    tenant: TenantId, jobs: dict[str, UUID]
) -> None:
    with tenant_session(tenant) as session:
        assert requeue_all(session, ALL) == {jobs["failed"], jobs["cancelled"]}
    assert broker.queue_lengths()[Queue.COSTS] == 2
    for status in ("failed", "cancelled"):
        again = claim(tenant, jobs[status], worker="w", lease_seconds=60)
        assert again is not None
        assert (again.attempt, again.last_attempt) == (2, False)


def test_of_those_who_ask_at_once_one_queues_each_job(
    tenant: TenantId, jobs: dict[str, UUID]
) -> None:
    together = threading.Barrier(4)
    counts: list[int] = []

    def ask() -> None:
        with tenant_session(tenant) as session:
            session.execute(sa.text("SELECT 1"))
            together.wait()
            counts.append(len(requeue_all(session, ALL)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 2]
    assert broker.queue_lengths()[Queue.COSTS] == 2
