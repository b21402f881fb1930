"""The row comes first: a job is stored with its transaction and sent when that has committed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import redis
import sqlalchemy as sa

from shared import broker
from shared.broker import queue_lengths
from shared.database import TenantId, tenant_session
from shared.jobs.claims import claim
from shared.jobs.contracts import IngestEvents, Queue, RollUp, WriteCard
from shared.jobs.errors import InvalidJobError
from shared.jobs.submission import enqueue, submit
from shared.jobs.tables import JobRow
from shared.local.ephemeral import temporary_services


def test_a_submitted_job_is_a_row_and_a_message(tenant: TenantId, clean_redis: redis.Redis) -> None:
    job_id = submit(tenant, RollUp())
    with tenant_session(tenant) as session:
        assert session.get_one(JobRow, job_id).status == "queued"
    assert queue_lengths()[Queue.COSTS] == 1


def test_what_is_rolled_back_is_never_sent(tenant: TenantId, clean_redis: redis.Redis) -> None:
    with pytest.raises(RuntimeError), tenant_session(tenant) as session:
        enqueue(session, RollUp())
        raise RuntimeError("the caller's own trouble")
    assert queue_lengths()[Queue.COSTS] == 0
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 0


def test_the_same_idempotency_key_submits_once_even_from_many_at_once(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with ThreadPoolExecutor(6) as threads:
        ids = set(threads.map(lambda _: submit(tenant, RollUp(), idempotency_key="k"), range(12)))
    assert len(ids) == 1
    assert queue_lengths()[Queue.COSTS] == 1


def test_one_bad_event_does_not_keep_its_batch_from_being_stored(tenant: TenantId) -> None:
    """What PostgreSQL's text cannot hold is the receiver's to refuse, event by event."""
    bad = "\x00 and \ud800"
    job_id = submit(tenant, IngestEvents(events=({"kind": "x", "model": bad}, {"kind": "y"})))
    found = claim(tenant, job_id, worker="w", lease_seconds=30)
    assert found is not None
    assert found.payload["events"][0]["model"] == bad


def test_what_json_cannot_say_is_refused_before_anything_is_stored(tenant: TenantId) -> None:
    with pytest.raises(InvalidJobError, match="NaN or infinity"):
        submit(tenant, IngestEvents(events=({"kind": "x", "confidence": float("nan")},)))


def test_a_key_belongs_to_its_kind_and_tenant(tenant: TenantId) -> None:
    first = submit(tenant, RollUp(), idempotency_key="k")
    assert submit(tenant, WriteCard(model="m"), idempotency_key="k") != first


def test_a_job_is_kept_when_the_broker_goes_away_under_a_process_that_knew_it(
    tenant: TenantId, with_environment: Callable[..., None], tmp_path: Path
) -> None:
    """Its connections are there and dead, which is another error than none to be had."""
    with temporary_services(tmp_path) as other:
        with_environment(REDIS_URL=other.redis_url)
        broker.celery_app.cache_clear()
        submit(tenant, RollUp())
        psutil.Process(other.redis_pid).kill()
        job_id = submit(tenant, RollUp())
        broker.celery_app().close()
        broker.celery_app.cache_clear()
    with tenant_session(tenant) as session:
        assert session.get_one(JobRow, job_id).status == "queued"


def test_a_job_whose_time_has_come_already_is_sent_at_once(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    submit(tenant, RollUp(), not_before=datetime.now(UTC) - timedelta(hours=1))
    assert queue_lengths()[Queue.COSTS] == 1


def test_a_job_is_kept_while_the_broker_is_away(
    tenant: TenantId, with_environment: Callable[..., None]
) -> None:
    with_environment(REDIS_URL="redis://127.0.0.1:1/0")
    broker.celery_app.cache_clear()
    try:
        job_id = submit(tenant, RollUp())
    finally:
        broker.celery_app().close()
        broker.celery_app.cache_clear()
    with tenant_session(tenant) as session:
        assert session.get_one(JobRow, job_id).status == "queued"
