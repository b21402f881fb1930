"""Roll-ups and batches at the same time: no hour is left stale, and nobody waits for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from shared.database import TenantId, system_session, tenant_session
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import DirtyHour, ModelPerformance

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)


def action(at: datetime = HOUR) -> dict[str, Any]:
    return {
        "kind": "action",
        "event_id": str(uuid4()),
        "occurred_at": at.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "success": True,
        "latency_ms": 700,
    }


def lines(batch: Sequence[object]) -> list[bytes]:
    return [json.dumps(event).encode() for event in batch]


def send(tenant: TenantId, batch: Sequence[object]) -> int:
    with tenant_session(tenant) as session:
        return ingest(session, lines(batch), lambda _: CallCost(None, "none"), NOW).stored


def roll_up(tenant: TenantId) -> tuple[datetime, ...]:
    with tenant_session(tenant) as session:
        return roll_up_dirty_hours(session)


def actions(tenant: TenantId) -> int:
    """Of all rollups."""
    with tenant_session(tenant) as session:
        return int(session.scalar(sa.select(sa.func.sum(ModelPerformance.actions))) or 0)


def marks(tenant: TenantId) -> list[datetime]:
    with tenant_session(tenant) as session:
        return list(session.scalars(sa.select(DirtyHour.hour)))


def until_somebody_waits() -> None:
    """For a lock, in this test's own server."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with system_session() as session:
            if session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited for a lock within 20 s")


def test_a_batch_during_a_roll_up_marks_the_hour_again(tenant: TenantId) -> None:
    send(tenant, [action()])
    with ThreadPoolExecutor(1) as pool:
        with tenant_session(tenant) as session:
            assert roll_up_dirty_hours(session) == (HOUR,)
            stored = pool.submit(send, tenant, [action()])
            until_somebody_waits()
        assert stored.result() == 1
    assert actions(tenant) == 1
    assert marks(tenant) == [HOUR]
    assert roll_up(tenant) == (HOUR,)
    assert actions(tenant) == 2


def test_a_roll_up_waits_for_a_batch_that_has_marked_the_hour(tenant: TenantId) -> None:
    send(tenant, [action()])
    with ThreadPoolExecutor(1) as pool:
        with tenant_session(tenant) as session:
            ingest(session, lines([action()]), lambda _: CallCost(None, "none"), NOW)
            rolled = pool.submit(roll_up, tenant)
            until_somebody_waits()
        assert rolled.result() == (HOUR,)
    assert actions(tenant) == 2
    assert marks(tenant) == []


def test_two_roll_ups_at_once_sum_an_hour_once(tenant: TenantId) -> None:
    send(tenant, [action(), action()])
    with ThreadPoolExecutor(1) as pool:
        with tenant_session(tenant) as session:
            assert roll_up_dirty_hours(session) == (HOUR,)
            second = pool.submit(roll_up, tenant)
            until_somebody_waits()
        assert second.result() == ()
    assert actions(tenant) == 2


def test_batches_and_roll_ups_at_once_leave_nothing_stale(tenant: TenantId) -> None:
    batches = [[action(HOUR + timedelta(minutes=9 * n)) for n in range(30)] for _ in range(24)]
    batches = [batch[::-1] if n % 2 else batch for n, batch in enumerate(batches)]
    done = Event()

    def keep_rolling_up() -> int:
        rolled = 0
        while not done.is_set():
            rolled += len(roll_up(tenant))
        return rolled

    with ThreadPoolExecutor(5) as pool:
        rollers = [pool.submit(keep_rolling_up) for _ in range(2)]
        stored = sum(pool.map(lambda batch: send(tenant, batch), batches))
        done.set()
        assert sum(roller.result() for roller in rollers) > 0
    roll_up(tenant)
    assert stored == 24 * 30
    assert actions(tenant) == stored
    assert marks(tenant) == []
