"""A batch of telemetry through its job: stored, priced, and what was refused named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.jobs.contracts import IngestEvents, JobMessage
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.telemetry.tables import EventRow
from tasks.ingest import REASONS_KEPT, ingest_events, store_events


def call(provider: str = "stand-in", **changes: object) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "provider": provider,
        "llm_model": provider,
        "latency_ms": 420,
        "input_tokens": 1000,
        "cached_input_tokens": 0,
        "output_tokens": 10,
    } | changes


def test_calls_are_stored_with_their_price_or_the_reason_why_there_is_none(
    session: Session,
) -> None:
    store_events(session, IngestEvents(events=(call(), call(provider="unheard-of"))))
    rows = {row.provider: row for row in session.scalars(sa.select(EventRow))}
    simulated, unknown = rows["stand-in"], rows["unheard-of"]
    assert simulated.cost_nanos == 1000 * 400 + 10 * 1600
    assert simulated.price_simulated
    assert simulated.cost_reason
    assert unknown.cost_nanos is None
    assert not unknown.price_simulated
    assert unknown.cost_reason == "no price is known for unheard-of/unheard-of"


def test_the_result_counts_what_was_refused_and_names_the_first(session: Session) -> None:
    bad = [call(latency_ms=-1) for _ in range(REASONS_KEPT + 5)]
    good = call()
    result = store_events(session, IngestEvents(events=(good, *bad, good)))
    assert (result["stored"], result["duplicates"], result["rejected"]) == (1, 1, len(bad))
    assert [item["event"] for item in result["reasons"]] == [
        event["event_id"] for event in bad[:REASONS_KEPT]
    ]
    assert "latency_ms" in result["reasons"][0]["reason"]


def test_a_job_that_is_delivered_twice_stores_its_batch_once(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    job_id = submit(tenant, IngestEvents(events=(call(), call(kind="telepathy"))))
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    assert [ingest_events(**message), ingest_events(**message)] == ["succeeded", "not ours"]
    with tenant_session(tenant) as session:
        job = session.get_one(JobRow, job_id)
        assert job.status == "succeeded"
        assert job.result is not None
        assert (job.result["stored"], job.result["rejected"]) == (1, 1)
        # The events are in their table now, and not a second time in the job.
        assert job.payload == {}
