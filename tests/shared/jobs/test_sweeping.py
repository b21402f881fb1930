"""The sweeper finds what was lost, and only that."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
import sqlalchemy as sa

from shared.broker import lists_of
from shared.database import TenantId, tenant_session
from shared.jobs import reading
from shared.jobs.claims import claim
from shared.jobs.contracts import Queue, RollUp
from shared.jobs.submission import enqueue, submit
from shared.jobs.sweeping import sweep
from shared.jobs.tables import JobRow

PATIENCE = 0.05


def job(tenant: TenantId, job_id: object) -> JobRow:
    with tenant_session(tenant) as session:
        return session.get_one(JobRow, job_id)


def messages(client: redis.Redis, job_id: object) -> int:
    """How often the job waits in its queue; other tests' jobs wait there too."""
    waiting = [message for key in lists_of(Queue.COSTS) for message in client.lrange(key, 0, -1)]
    return sum(str(job_id) in message for message in waiting)


def end_all(tenant: TenantId) -> None:
    """Leave nothing behind that another test's sweep would find."""
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(status="cancelled"))


@pytest.fixture(autouse=True)
def _nothing_left(tenant: TenantId, clean_redis: redis.Redis) -> object:
    yield
    end_all(tenant)


def test_a_lost_message_is_sent_again(tenant: TenantId, clean_redis: redis.Redis) -> None:
    job_id = submit(tenant, RollUp())
    clean_redis.flushall()
    time.sleep(2 * PATIENCE)
    assert sweep(PATIENCE).sent >= 1
    assert messages(clean_redis, job_id) == 1
    assert job(tenant, job_id).sends == 2


def test_a_message_that_is_still_waiting_is_not_sent_again(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    time.sleep(2 * PATIENCE)
    sweep(PATIENCE)
    assert job(tenant, job_id).sends == 1


def test_a_job_for_later_is_sent_when_its_time_has_come(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    job_id = submit(tenant, RollUp(), not_before=datetime.now(UTC) + timedelta(seconds=0.5))
    sweep(PATIENCE)
    assert messages(clean_redis, job_id) == 0
    time.sleep(0.6)
    sweep(PATIENCE)
    assert messages(clean_redis, job_id) == 1


def test_a_dead_workers_job_is_queued_again_and_says_why(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    claim(tenant, job_id, worker="costs@gone", lease_seconds=0.05)
    time.sleep(0.1)
    swept = sweep(PATIENCE)
    assert swept.freed >= 1
    found = job(tenant, job_id)
    assert found.status == "queued"
    assert found.error == "attempt 1 of 3: worker costs@gone went away and its lease ran out"
    assert found.sends == 2


def test_a_job_that_kills_every_worker_ends(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    for _ in range(3):
        assert claim(tenant, job_id, worker="w", lease_seconds=0.05)
        time.sleep(0.1)
        sweep(PATIENCE)
    assert job(tenant, job_id).status == "failed"


def test_a_cancelled_job_of_a_dead_worker_ends_cancelled(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    claim(tenant, job_id, worker="w", lease_seconds=0.05)
    reading.cancel(tenant, str(job_id))
    time.sleep(0.1)
    sweep(PATIENCE)
    assert job(tenant, job_id).status == "cancelled"


def test_a_worker_that_still_renews_keeps_its_job(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    claim(tenant, job_id, worker="w", lease_seconds=30)
    sweep(PATIENCE)
    assert job(tenant, job_id).status == "running"


def test_what_is_sent_again_keeps_its_priority(tenant: TenantId, clean_redis: redis.Redis) -> None:
    with tenant_session(tenant) as session:
        job_id = enqueue(session, RollUp(), priority=0)
    clean_redis.flushall()
    time.sleep(2 * PATIENCE)
    sweep(PATIENCE)
    first = clean_redis.lrange(lists_of(Queue.COSTS)[0], 0, -1)
    assert [str(job_id) in message for message in first] == [True]
