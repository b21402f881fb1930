"""Jobs through claim, run and finish against bare Celery tasks that do nothing.

Ours are real jobs: rows that a worker process of the product, as `mlops up` runs it, claims and
ends, on a PostgreSQL that writes its log to disk. The job is the cheapest there is: `roll_up` for a
tenant without changed hours. The peer's worker has the same Redis and the same Celery settings,
task events for Flower included (without those a no-op takes half the time). Both have one prefork
child and take from a queue that was filled beforehand, so submitting is not part of the time: it
runs from the claim of the first counted job to the claim after the last.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import redis
import sqlalchemy as sa
from celery import Celery

from benchmarks.bare_celery import GATE, MARK, MARKS, NOOP, WAIT, bare
from benchmarks.measure import Figure, MeasurementError, interleaved_values
from benchmarks.services import measured_services, python_process
from shared import broker
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import Queue, RollUp
from shared.jobs.submission import enqueue, enqueue_all
from shared.jobs.tables import JobRow, JobStatus
from shared.local.programs import WORKER_ENVIRONMENT, worker
from shared.tenancy.tenants import create_tenant

JOBS = 300
WARM = 30
"Jobs before the counted ones: connections are made, and the queue has been filled."
PATIENCE_SECONDS = 120.0

QUEUE = Queue.COSTS.value


def figures() -> Iterator[Figure]:
    """Jobs a second of one worker with one child."""
    with measured_services() as servers:
        peer_url = urlsplit(servers.redis_url)._replace(path="/1").geturl()
        command = worker(QUEUE).command
        peer_command = (*command[:2], "benchmarks.bare_celery", *command[3:])
        with (
            python_process(*command, **WORKER_ENVIRONMENT),
            python_process(*peer_command, **WORKER_ENVIRONMENT, REDIS_URL=peer_url),
            redis.Redis.from_url(peer_url, decode_responses=True) as peer,
            bare(peer_url) as celery,
        ):
            medians = interleaved_values(_jobs_a_second, lambda: _bare_tasks_a_second(peer, celery))
    yield Figure(
        "per_second",
        *medians,
        "jobs/s",
        "bare Celery no-ops",
        target=0.25,
        more_is_better=True,
    )


def _jobs_a_second() -> float:
    """Fill the queue while its first job's row is locked, let go, and read the rows' times."""
    tenant = create_tenant(f"benchmark-{uuid.uuid4()}")
    with tenant_session(tenant) as session:
        # A job with a time of its own is not sent when it is stored: it is locked before that.
        first = enqueue(session, RollUp(), not_before=datetime.now(UTC))
    others = [uuid.uuid4() for _ in range(WARM + JOBS)]
    with tenant_session(tenant) as gate:
        gate.execute(sa.select(JobRow.id).where(JobRow.id == first).with_for_update())
        broker.publish([broker.Message(RollUp.kind(), QUEUE, tenant, first)])
        with tenant_session(tenant) as session:
            enqueue_all(session, [(identifier, RollUp()) for identifier in others])
    _wait(lambda: _ended(tenant) == 1 + len(others), "jobs")
    with tenant_session(tenant) as session:
        started = session.scalars(
            sa.select(JobRow.started_at)
            .where(JobRow.status == JobStatus.SUCCEEDED, JobRow.attempt == 1)
            .order_by(JobRow.started_at)
        ).all()
    if len(started) != 1 + len(others):
        raise MeasurementError(
            f"{len(started)} of {1 + len(others)} jobs succeeded at their first attempt"
        )
    return JOBS / (started[-1] - started[WARM]).total_seconds()


def _ended(tenant: TenantId) -> int:
    with tenant_session(tenant) as session:
        return session.scalar(
            sa.select(sa.func.count()).select_from(JobRow).where(JobRow.finished_at.is_not(None))
        )


def _bare_tasks_a_second(peer: redis.Redis, celery: Celery) -> float:
    """Fill the queue while its first task waits, let go, and read the times around the counted."""
    peer.delete(GATE, MARKS)
    tasks = [WAIT, *[NOOP] * WARM, MARK, *[NOOP] * JOBS, MARK]
    with celery.producer_pool.acquire(block=True) as producer, producer.batch():
        for task in tasks:
            celery.send_task(task, queue=QUEUE, producer=producer)
    peer.rpush(GATE, "open")
    _wait(lambda: peer.llen(MARKS) == 2, "bare Celery's tasks")
    begun, ended = (float(mark) for mark in peer.lrange(MARKS, 0, -1))
    return JOBS / (ended - begun)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementError(f"{what} did not end within {PATIENCE_SECONDS:g} s")
        time.sleep(0.1)
