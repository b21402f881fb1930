"""A batch that was acknowledged is stored, and its events are there once, whatever happens."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.jobs.contracts import IngestBatch, JobMessage
from shared.jobs.tables import JobRow
from shared.telemetry import batches
from shared.telemetry.batches import (
    BatchError,
    ComeAgainError,
    StoreFullError,
    accept,
    pack,
    unpack,
)
from shared.telemetry.tables import EventBatch, EventRow, RejectedEvent
from shared.tenancy.tenants import create_tenant
from tasks.ingest import ingest_batch


def action(**changes: object) -> bytes:
    event = {
        "kind": "action",
        "event_id": str(uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(),
        "success": True,
    }
    return json.dumps(event | changes).encode()


def send(tenant: TenantId, lines: list[bytes], batch_id: UUID | None = None) -> UUID:
    batch_id = batch_id or uuid4()
    with tenant_session(tenant) as session:
        accept(session, batch_id, pack(lines), len(lines))
    return batch_id


def deliver(tenant: TenantId, batch_id: UUID) -> str:
    """What the message of the batch's job makes a worker do."""
    with tenant_session(tenant) as session:
        wanted = sa.select(JobRow.id).where(JobRow.idempotency_key == str(batch_id))
        job_id = session.scalars(wanted).one()
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    said: str = ingest_batch.apply(kwargs=message).get()
    return said


def count(tenant: TenantId, table: Any) -> int:
    with tenant_session(tenant) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def result(tenant: TenantId, batch_id: UUID) -> Any:
    with tenant_session(tenant) as session:
        wanted = sa.select(JobRow.result).where(JobRow.idempotency_key == str(batch_id))
        return session.scalar(wanted)


def test_a_batch_is_a_row_until_its_events_are(tenant: TenantId, clean_redis: redis.Redis) -> None:
    batch_id = send(tenant, [action() for _ in range(20)])
    assert (count(tenant, EventBatch), count(tenant, EventRow)) == (1, 0)
    assert deliver(tenant, batch_id) == "succeeded"
    assert (count(tenant, EventBatch), count(tenant, EventRow)) == (0, 20)
    assert result(tenant, batch_id)["stored"] == 20


def test_a_second_message_stores_nothing_more(tenant: TenantId, clean_redis: redis.Redis) -> None:
    batch_id = send(tenant, [action()])
    assert [deliver(tenant, batch_id) for _ in range(2)] == ["succeeded", "not ours"]
    assert count(tenant, EventRow) == 1


def test_a_batch_that_is_sent_again_changes_nothing_before_and_after_it_is_stored(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    lines = [action()]
    batch_id = send(tenant, lines)
    send(tenant, lines, batch_id)
    deliver(tenant, batch_id)
    send(tenant, lines, batch_id)
    assert (count(tenant, EventBatch), count(tenant, EventRow)) == (0, 1)
    assert count(tenant, JobRow) == 1


def set_job(tenant: TenantId, batch_id: UUID, **values: Any) -> None:
    with tenant_session(tenant) as session:
        job = sa.update(JobRow).where(JobRow.idempotency_key == str(batch_id))
        session.execute(job.values(**values))


@pytest.mark.parametrize("ended", ["cancelled", "failed"])
@pytest.mark.parametrize("waits_still", [True, False])
def test_a_batch_that_was_not_stored_is_when_it_is_sent_again(
    tenant: TenantId, clean_redis: redis.Redis, ended: str, waits_still: bool
) -> None:
    lines = [action()]
    batch_id = send(tenant, lines)
    set_job(tenant, batch_id, status=ended, attempt=3, cancel_requested_at=sa.func.now())
    if not waits_still:
        with tenant_session(tenant) as session:
            session.execute(sa.delete(EventBatch))
    send(tenant, lines, batch_id)
    assert deliver(tenant, batch_id) == "succeeded"
    assert (count(tenant, EventBatch), count(tenant, EventRow)) == (0, 1)


def test_a_batch_that_is_being_cancelled_is_not_acknowledged(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    lines = [action()]
    batch_id = send(tenant, lines)
    set_job(tenant, batch_id, status="running", cancel_requested_at=sa.func.now())
    with pytest.raises(ComeAgainError, match="is being cancelled"):
        send(tenant, lines, batch_id)


def test_senders_of_one_batch_at_once_are_one(tenant: TenantId, clean_redis: redis.Redis) -> None:
    lines, batch_id = [action()], uuid4()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: send(tenant, lines, batch_id), range(8)))
    assert (count(tenant, EventBatch), count(tenant, JobRow)) == (1, 1)


def test_bad_events_are_put_aside_and_the_rest_goes_in(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    batch_id = send(tenant, [action(), b"\xff\xfe", action(success="perhaps"), action()])
    deliver(tenant, batch_id)
    assert (count(tenant, EventRow), count(tenant, RejectedEvent)) == (2, 2)
    assert result(tenant, batch_id)["rejected"] == 2


@pytest.mark.parametrize(
    "packed",
    [
        b"no zlib",
        zlib.compress(b"x" * 100)[:-5],
        zlib.compress(b"\0" * (batches.MOST_BYTES + 1)),
        zlib.compress(b"{}\n" * (batches.MOST_EVENTS + 1)),
    ],
    ids=["other bytes", "a part", "a bomb", "more lines than were said"],
)
def test_a_batch_that_cannot_be_unpacked_is_told_and_let_go_of(
    tenant: TenantId, clean_redis: redis.Redis, packed: bytes
) -> None:
    batch_id = uuid4()
    with tenant_session(tenant) as session:
        accept(session, batch_id, packed, 10)
    assert deliver(tenant, batch_id) == "succeeded"
    assert count(tenant, EventBatch) == 0
    with tenant_session(tenant) as session:
        (kept,) = session.scalars(sa.select(RejectedEvent))
    assert kept.event == f"batch {batch_id}"
    assert result(tenant, batch_id)["rejected"] == 1


@pytest.mark.parametrize("events", [0, -1, batches.MOST_EVENTS + 1])
def test_a_batch_of_no_or_too_many_events_is_never_taken(tenant: TenantId, events: int) -> None:
    with tenant_session(tenant) as session, pytest.raises(BatchError, match="expected 1 to"):
        accept(session, uuid4(), pack([action()]), events)


def test_a_full_store_tells_senders_to_wait_and_takes_batches_again_later(
    tenant: TenantId, clean_redis: redis.Redis, with_environment: Callable[..., None]
) -> None:
    packed = len(pack([action()]))
    with_environment(MLOPS_BATCHES_BYTES=str(2 * packed + 50))
    first = send(tenant, [action()])
    send(tenant, [action()])
    with pytest.raises(StoreFullError) as refused:
        send(tenant, [action()])
    assert refused.value.retry_after > 0
    # Another tenant's store is its own.
    send(create_tenant(f"other-{uuid4()}"), [action()])
    deliver(tenant, first)
    send(tenant, [action()])


def test_nothing_is_acknowledged_that_is_rolled_back(tenant: TenantId) -> None:
    def broken() -> None:
        with tenant_session(tenant) as session:
            accept(session, uuid4(), pack([action()]), 1)
            raise RuntimeError("the connection broke")

    with pytest.raises(RuntimeError):
        broken()
    assert (count(tenant, EventBatch), count(tenant, JobRow)) == (0, 0)


def test_what_is_packed_is_unpacked() -> None:
    lines = [action() for _ in range(3)]
    assert unpack(pack(lines)) == lines
    assert unpack(pack([b"", b" ", b"x"])) == [b"x"]


def test_the_contract_names_the_batch() -> None:
    batch_id = uuid4()
    assert IngestBatch(batch_id=batch_id).model_dump(mode="json") == {
        "job": "ingest_batch",
        "batch_id": str(batch_id),
    }
