"""Whatever is killed on the way, every event of an acknowledged batch is stored once."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

import mlops
from shared import broker
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import RollUp
from shared.jobs.tables import JobRow
from shared.redis_client import redis_client
from shared.telemetry.batches import accept, pack
from shared.tenancy.tenants import create_tenant

BATCHES, EVENTS = 24, 2_000

pytestmark = pytest.mark.timeout(300)


class Sender:
    """Batches of model calls of a tenant of its own, and what must have become of them."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.tenant: TenantId = create_tenant(f"telemetry-{uuid.uuid4()}")
        now = datetime.now(UTC).isoformat()
        self.batches = [(uuid.uuid4(), [_call(now) for _ in range(EVENTS)]) for _ in range(BATCHES)]

    def send(self, batches: Sequence[tuple[uuid.UUID, list[bytes]]] | None = None) -> None:
        for batch_id, lines in self.batches if batches is None else batches:
            with tenant_session(self.tenant) as session:
                accept(session, batch_id, pack(lines), len(lines))

    def stored(self) -> int:
        return self._scalar("SELECT count(*) FROM mlops.events")

    def under_way(self) -> None:
        self._cluster.until(lambda: self.stored() > 0, "the first events")
        assert self._scalar("SELECT count(*) FROM mlops.event_batches"), "all is stored already"

    def assert_each_event_is_there_once(self) -> None:
        left = "SELECT count(*) FROM mlops.event_batches"
        self._cluster.until(lambda: self._scalar(left) == 0, "every batch to be stored")
        assert self.stored() == BATCHES * EVENTS
        rolled = mlops.submit(RollUp(), tenant_id=self.tenant).wait(180)
        assert rolled.status == "succeeded", rolled.error
        assert (
            self._scalar("SELECT sum(llm_calls) FROM mlops.model_performance") == BATCHES * EVENTS
        )
        assert self._scalar("SELECT count(*) FROM mlops.rejected_events") == 0

    def messages(self) -> list[broker.Message]:
        with tenant_session(self.tenant) as session:
            rows = session.execute(
                sa.select(JobRow.kind, JobRow.queue, JobRow.tenant_id, JobRow.id)
            )
            return [broker.Message(*row) for row in rows]

    def _scalar(self, query: str) -> int:
        with tenant_session(self.tenant) as session:
            return int(session.scalar(sa.text(query)) or 0)


def _call(at: str) -> bytes:
    return json.dumps(
        {
            "kind": "llm_call",
            "event_id": str(uuid.uuid4()),
            "occurred_at": at,
            "model": "buyer@1",
            "function": "checkout",
            "provider": "stand-in",
            "llm_model": "stand-in",
            "latency_ms": 5,
            "input_tokens": 10,
            "output_tokens": 1,
        }
    ).encode()


@pytest.fixture
def sender(cluster: Any) -> Sender:
    return Sender(cluster)


def test_killing_the_worker_in_mid_batch(cluster: Any, sender: Sender) -> None:
    sender.send()
    for _ in range(2):
        sender.under_way()
        worker = cluster.process("ingest")
        for process in (*worker.children(recursive=True), worker):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
    sender.assert_each_event_is_there_once()


def test_every_batch_and_every_message_sent_twice(cluster: Any, sender: Sender) -> None:
    sender.send()
    sender.send(sender.batches[::-1])
    for _ in range(2):
        assert broker.publish(sender.messages())
    sender.assert_each_event_is_there_once()
    # Also of what is stored by now nothing comes again.
    sender.send()
    assert broker.publish(sender.messages())
    sender.assert_each_event_is_there_once()


def test_emptying_redis_while_batches_wait(cluster: Any, sender: Sender) -> None:
    sender.send()
    sender.under_way()
    redis_client().flushall()
    sender.assert_each_event_is_there_once()
