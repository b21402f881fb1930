"""What came late, again or out of range is counted by who sent it, once, and nothing else is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.hours import hour_of
from shared.jobs.contracts import JobMessage
from shared.jobs.tables import JobRow
from shared.telemetry.arrivals import FaultsOfHour, faults
from shared.telemetry.batches import accept, pack
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.reading import Window
from shared.telemetry.tables import EventBatch, EventFault, TelemetryName
from shared.tenancy.tables import Tenant
from tasks.ingest import ingest_batch

NOW = datetime.now(UTC)
DAY = Window(hour_of(NOW) - timedelta(hours=23), hour_of(NOW) + timedelta(hours=1))


def call(at: datetime = NOW, **changes: object) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": at.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
    } | changes


def send(tenant: TenantId, *batch: object, received_at: datetime = NOW) -> None:
    lines = [json.dumps(event).encode() for event in batch]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(None, "none"), NOW, received_at)


def counted(tenant: TenantId, window: Window = DAY) -> dict[tuple[str, str], FaultsOfHour]:
    with tenant_session(tenant) as session:
        found = faults(session, window)
    assert found is not None
    added = {}
    for subject, hours in found.items():
        added[subject] = FaultsOfHour()
        for hour in hours.values():
            added[subject].add(hour)
    return added


def test_what_comes_as_it_should_leaves_no_row(tenant: TenantId) -> None:
    send(tenant, call(), call(NOW - timedelta(minutes=59)), call(NOW + timedelta(minutes=5)))
    send(tenant, call(kind="telepathy"))
    assert counted(tenant) == {}


def test_late_is_what_came_more_than_an_hour_after_it_happened(tenant: TenantId) -> None:
    late = [call(NOW - timedelta(hours=hours)) for hours in (2, 2, 30)]
    send(tenant, call(), *late)
    send(tenant, call(NOW - timedelta(hours=2), function="search"))
    assert counted(tenant) == {
        ("checkout", "buyer@1"): FaultsOfHour(late=3, late_from_before=1),
        ("search", "buyer@1"): FaultsOfHour(late=1),
    }


def test_a_batch_that_waited_here_is_not_late(tenant: TenantId) -> None:
    then = NOW - timedelta(hours=5)
    send(tenant, call(then), received_at=then)
    assert counted(tenant) == {}


def test_what_is_sent_again_is_counted_and_not_called_late(tenant: TenantId) -> None:
    old, twice = call(NOW - timedelta(hours=3)), call()
    send(tenant, old, twice, received_at=NOW - timedelta(hours=2, minutes=30))
    send(tenant, old, twice, call(), *[call(function="search")] * 3)
    assert counted(tenant) == {
        ("checkout", "buyer@1"): FaultsOfHour(again=2),
        ("search", "buyer@1"): FaultsOfHour(again=2),
    }


def test_a_batch_that_the_transport_delivers_again_counts_nothing(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    packed, batch = pack([json.dumps(call()).encode()]), uuid4()
    for _ in range(2):
        # The sender repeats itself, then the broker does.
        with tenant_session(tenant) as session:
            accept(session, batch, packed, 1)
            job = session.scalars(sa.select(JobRow.id)).one()
        message = JobMessage(tenant_id=tenant, job_id=job).model_dump(mode="json")
        for _ in range(2):
            ingest_batch(**message)
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(EventBatch.id)).all() == []
    assert counted(tenant) == {}


def test_what_is_refused_for_its_range_is_counted_by_field_and_once(tenant: TenantId) -> None:
    tokens, wrong_clock = call(input_tokens=-1), call(NOW + timedelta(days=400))
    both = call(confidence=7, latency_ms=-1)
    for _ in range(2):
        send(tenant, tokens, wrong_clock, both, tokens)
    # Not for its range alone, and not of an agent.
    send(tenant, call(input_tokens=-1, colour="red"), call(input_tokens="many"))
    send(tenant, {**call(value=1e300, name="speed"), "kind": "metric"})
    # Of more digits than can be read.
    line = json.dumps(call(quality="Q")).replace('"Q"', "9" * 5_000).encode()
    with tenant_session(tenant) as session:
        ingest(session, [line], lambda _: CallCost(None, "none"), NOW)
    refused = counted(tenant)["checkout", "buyer@1"].out_of_range
    assert dict(refused) == {
        "llm_call.input_tokens": 1,
        "llm_call.occurred_at": 1,
        "llm_call.latency_ms": 1,
    }
    with tenant_session(tenant) as session:
        names = session.scalars(sa.select(TelemetryName.name)).all()
    assert "checkout" in names


def test_a_sender_that_repeats_months_leaves_one_row_of_it(tenant: TenantId) -> None:
    months = [call(NOW - timedelta(days=days)) for days in range(0, 90, 3)]
    send(tenant, *months, received_at=NOW - timedelta(hours=5))
    send(tenant, *months)
    with tenant_session(tenant) as session:
        again = session.scalars(sa.select(EventFault).where(EventFault.fault == "again"))
        assert [(row.n, row.happened) for row in again] == [(30, hour_of(NOW))]


@pytest.mark.parametrize("n", [1, 40])
def test_what_is_wrong_is_a_handful_of_rows_however_many_events(tenant: TenantId, n: int) -> None:
    send(tenant, *[call(NOW - timedelta(hours=2)) for _ in range(n)])
    send(tenant, *[call(NOW - timedelta(hours=2)) for _ in range(n)])
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(EventFault.n)).all() == [2 * n]


def test_of_what_came_before_it_was_counted_nothing_is_known(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        # A tenant that is new has nothing from before.
        assert faults(session, DAY) == {}
    older = TenantId(uuid4())
    with tenant_session(older) as session:
        session.add(Tenant(id=older, name=f"older-{older}", created_at=NOW - timedelta(days=9)))
        session.flush()
        assert faults(session, DAY) is None
        counted_from = session.scalars(sa.select(Tenant.faults_from)).one()
        assert faults(session, Window(counted_from, counted_from + timedelta(hours=1))) == {}
