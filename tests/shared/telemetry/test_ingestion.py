"""A batch is stored once, whatever is sent twice, and its hours are marked."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_session
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, IngestCounts, ingest
from shared.telemetry.names import CAPS, OTHER
from shared.telemetry.refused_lines import LINE_SHOWN
from shared.telemetry.tables import DirtyHour, EventRow, RejectedEvent, TelemetryName
from shared.tenancy.tenants import create_tenant

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


def call(at: datetime = HOUR, **changes: object) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": at.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1-mini",
        "latency_ms": 420,
        "input_tokens": 900,
        "output_tokens": 30,
    } | changes


def lines(*events: object) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def priced(event: LlmCallEvent) -> CallCost:
    return CallCost((event.input_tokens or 0) * 400, "a price", simulated=True)


def send(tenant: TenantId, batch: Sequence[object]) -> IngestCounts:
    with tenant_session(tenant) as session:
        return ingest(session, lines(*batch), priced, NOW)


def marks(session: Session) -> list[datetime]:
    return list(session.scalars(sa.select(DirtyHour.hour).order_by(DirtyHour.hour)))


def clear_marks(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        session.execute(sa.delete(DirtyHour))


def test_every_field_is_stored(session: Session) -> None:
    common = {
        "occurred_at": (HOUR + timedelta(microseconds=1)).isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "variant": "b",
        "task_id": str(uuid4()),
    }
    batch = [
        call(
            **common,
            first_token_ms=80,
            cached_input_tokens=100,
            cache_write_tokens=7,
            reasoning_tokens=11,
            total_tokens=930,
            query_length=3000,
            query_measures={
                "characters": 13,
                "words": 2,
                "word_characters": 11,
                "letters": 10,
                "hashes": [7, 65_535],
            },
            confidence=0.75,
            quality=0.5,
            error_type="rate_limit",
            error_message="429: try again in 17 s",
            attributes={"retry": 1, "note": 'a "quoted" Ünïcode note'},
        ),
        {
            "kind": "action",
            "event_id": str(uuid4()),
            **common,
            "action": "click",
            "success": False,
            "error_type": "timeout",
            "latency_ms": 5,
            "dom_nodes": 200,
        },
        {
            "kind": "page_load",
            "event_id": str(uuid4()),
            **common,
            "url": "https://u:p@shop.test/cart?token=secret",
            "latency_ms": 80,
        },
        {"kind": "task_end", "event_id": str(uuid4()), **common, "success": None, "outcome": "x"},
        {
            "kind": "metric",
            "event_id": str(uuid4()),
            **common,
            "name": "speed",
            "value": -1.5,
            "unit": "m/s",
        },
        {
            "kind": "system",
            "event_id": str(uuid4()),
            **common,
            "host": "worker-1",
            "cpu_percent": 12.5,
        },
    ]
    assert ingest(session, lines(*batch), priced, NOW) == IngestCounts(len(batch), 0)
    llm, action, page, ended, measured, sampled = (
        session.get_one(
            EventRow,
            (
                session.scalar(sa.select(DirtyHour.tenant_id)),
                common["occurred_at"],
                event["event_id"],
            ),
        )
        for event in batch
    )
    assert (llm.model, llm.function, llm.variant) == ("buyer@1", "checkout", "b")
    assert str(llm.task_id) == common["task_id"]
    assert (llm.input_tokens, llm.cached_input_tokens, llm.output_tokens) == (900, 100, 30)
    assert (llm.query_length, llm.confidence, llm.latency_ms) == (3000, 0.75, 420)
    # How many hashes, four counts, the hashes.
    assert llm.query_measures == struct.pack("<7H", 2, 13, 2, 11, 10, 7, 65_535)
    assert (llm.cache_write_tokens, llm.reasoning_tokens, llm.total_tokens) == (7, 11, 930)
    assert (llm.first_token_ms, llm.quality) == (80, 0.5)
    assert (llm.success, llm.error_type) == (False, "rate_limit")
    assert (llm.error_message, llm.error_category) == ("429: try again in 17 s", "rate_limit")
    assert llm.error_shape == "<n>: try again in <n> s"
    assert (llm.cost_nanos, llm.cost_reason, llm.price_simulated) == (360_000, "a price", True)
    assert llm.attributes == {"retry": 1, "note": 'a "quoted" Ünïcode note'}
    assert (action.success, action.error_type, action.dom_nodes) == (False, "timeout", 200)
    assert (action.cost_nanos, action.cost_reason, action.price_simulated) == (None, None, False)
    assert (action.action, action.attributes) == ("click", {})
    assert (page.success, page.attributes) == (True, {"url": "https://shop.test/cart"})
    assert (ended.success, ended.latency_ms, ended.attributes) == (None, None, {"outcome": "x"})
    assert (measured.name, measured.value) == ("speed", -1.5)
    assert measured.attributes == {"unit": "m/s"}
    assert (sampled.host, sampled.attributes) == ("worker-1", {"cpu_percent": 12.5})
    assert {row.success for row in (measured, sampled)} == {None}


def test_a_batch_sent_twice_is_stored_once_and_marks_nothing_again(tenant: TenantId) -> None:
    batch = [call(HOUR + timedelta(minutes=n)) for n in range(50)]
    assert send(tenant, batch) == IngestCounts(50, 0)
    clear_marks(tenant)
    assert send(tenant, batch) == IngestCounts(0, 50)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 50
        assert marks(session) == []


def test_an_event_that_is_twice_in_a_batch_is_stored_once(tenant: TenantId) -> None:
    event = call()
    assert send(tenant, [event, event]) == IngestCounts(1, 1)


def test_two_batches_in_one_transaction_are_kept_apart(session: Session) -> None:
    assert ingest(session, lines(call()), priced, NOW) == IngestCounts(1, 0)
    assert ingest(session, lines(call()), priced, NOW) == IngestCounts(1, 0)


def test_only_hours_with_new_events_are_marked(tenant: TenantId) -> None:
    old = call(HOUR)
    send(tenant, [old])
    clear_marks(tenant)
    later = HOUR + timedelta(hours=1)
    # 30 minutes off UTC, where an hour of the clock is not an hour of the rollups.
    shifted = datetime.fromisoformat(f"{(later + timedelta(hours=5.5)):%Y-%m-%dT%H:%M}+05:30")
    send(tenant, [old, call(shifted)])
    with tenant_session(tenant) as session:
        assert marks(session) == [later]


def test_bad_events_are_counted_and_the_rest_is_stored(tenant: TenantId) -> None:
    bad = [
        call(input_tokens=-1),
        call(datetime(1990, 1, 1, tzinfo=UTC)),
        call(NOW + timedelta(days=1)),
        call(model="a\x00b"),
        call(kind="telepathy"),
    ]
    counts = send(tenant, [call(), *bad, call()])
    assert (counts.stored, counts.duplicates) == (2, 0)
    assert [refused.event for refused in counts.rejected] == [event["event_id"] for event in bad]


def test_a_batch_of_bad_events_stores_nothing(tenant: TenantId) -> None:
    counts = send(tenant, [call(input_tokens=-1)])
    assert (counts.stored, len(counts.rejected)) == (0, 1)


def test_a_late_event_finds_a_partition_of_its_own_day_alone(tenant: TenantId) -> None:
    late, today = NOW - timedelta(days=89), NOW
    assert send(tenant, [call(late), call(today)]) == IngestCounts(2, 0)
    with tenant_session(tenant) as session:
        names = [
            session.scalar(sa.text("SELECT to_regclass(:name)"), {"name": f"mlops.events_{day}"})
            for day in (f"{late:%Y%m%d}", f"{late + timedelta(days=1):%Y%m%d}")
        ]
    assert names[0] is not None
    assert names[1] is None


def test_a_transaction_that_fails_stores_nothing(tenant: TenantId) -> None:
    event = call()

    def taken_over() -> None:
        with tenant_session(tenant) as session:
            ingest(session, lines(event), priced, NOW)
            raise RuntimeError("the job was taken over")

    with pytest.raises(RuntimeError):
        taken_over()
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 0
        assert marks(session) == []
    assert send(tenant, [event]) == IngestCounts(1, 0)


def test_an_unknown_cost_is_stored_as_unknown(session: Session) -> None:
    ingest(session, lines(call()), lambda _: CallCost(None, "no price is known"), NOW)
    row = session.scalars(sa.select(EventRow)).one()
    assert (row.cost_nanos, row.cost_reason) == (None, "no price is known")


@pytest.mark.parametrize("nanos", [-1, 2**63])
def test_a_cost_out_of_range_is_a_mistake_in_the_price(nanos: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        CallCost(nanos, "a price")


def test_tenants_do_not_see_each_others_events(tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid4()}")
    event = call()
    assert send(tenant, [event]) == IngestCounts(1, 0)
    # The same identifier at another tenant is another event.
    assert send(other, [event, call()]) == IngestCounts(2, 0)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 1
        assert marks(session) == [HOUR]


@pytest.mark.parametrize("shared", [True, False], ids=["the same events", "the same hours"])
def test_two_batches_that_wait_for_each_others_rows_wait_in_one_order(
    tenant: TenantId, shared: bool
) -> None:
    earlier, later = call(HOUR - timedelta(hours=1)), call(HOUR)
    second = [later, earlier] if shared else [call(HOUR), call(HOUR - timedelta(hours=1))]
    with ThreadPoolExecutor(1) as pool:
        with tenant_session(tenant) as session:
            ingest(session, lines(earlier), priced, NOW)
            other = pool.submit(send, tenant, second)
            until_somebody_waits()
            ingest(session, lines(later), priced, NOW)
        assert other.result() == (IngestCounts(0, 2) if shared else IngestCounts(2, 0))


def until_somebody_waits() -> None:
    """For a lock, in this test's own server."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with system_session() as session:
            if session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited for a lock within 20 s")


def test_batches_that_share_events_at_once_neither_deadlock_nor_store_twice(
    tenant: TenantId,
) -> None:
    batch = [call(HOUR - timedelta(minutes=n)) for n in range(300)]
    with ThreadPoolExecutor(4) as pool:
        orders = [batch, batch[::-1], batch[150:] + batch[:150], batch[::2] + batch[1::2]] * 3
        counts = list(pool.map(lambda order: send(tenant, order), orders))
    assert sum(count.stored for count in counts) == 300
    assert sum(count.duplicates for count in counts) == 300 * 11
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 300


def test_a_rejected_event_is_kept_once_with_its_reason_and_without_secrets(
    tenant: TenantId,
) -> None:
    key = "sk-proj-abcdefghijklmnopqrst"
    bad = call(input_tokens=-1, model=key)
    for _ in range(2):
        assert len(send(tenant, [bad, call()]).rejected) == 1
    with tenant_session(tenant) as session:
        (kept,) = session.scalars(sa.select(RejectedEvent))
    assert kept.event == bad["event_id"]
    assert "input_tokens" in kept.reason
    assert '"input_tokens": -1' in kept.line
    assert key not in kept.line


def test_lists_and_json_in_strings_keep_no_secret_of_what_was_rejected(tenant: TenantId) -> None:
    secret = "c4n4ry1234"
    batch: list[Any] = [
        call(password=["x", secret]),
        call(headers=[["Authorization", secret], ["Cookie", secret]]),
        call(body=json.dumps({"inner": json.dumps({"token": secret})})),
        call(credentials={"user": [{"deep": secret}]}),
        [["X-Api-Key", secret]],
        call(note="x" * 5_000 + "end", api_key=secret),
    ]
    assert len(send(tenant, batch).rejected) == len(batch)
    with tenant_session(tenant) as session:
        kept = session.scalars(sa.select(RejectedEvent.line)).all()
    assert len(kept) == len(batch)
    assert not any(secret in line for line in kept)
    assert sum("[redacted]" in line for line in kept) == 3


@pytest.mark.parametrize("length", [1, 1_000], ids=["short", "cut off"])
def test_of_a_text_in_place_of_its_measures_nothing_is_kept(tenant: TenantId, length: int) -> None:
    text = 'find "me" a quokka ' * length
    assert len(send(tenant, [call(query=text), call(query_measures=text)]).rejected) == 2
    with tenant_session(tenant) as session:
        kept = session.scalars(sa.select(RejectedEvent.line)).all()
    assert all('"[not stored]"' in line and "quokka" not in line for line in kept)
    assert len(kept) == 2


@pytest.mark.parametrize("line", [b"\x00", b"\xff\x00\xff", b"{" + b"x" * 10**7])
def test_what_was_rejected_can_be_kept_whatever_it_was(session: Session, line: bytes) -> None:
    assert len(ingest(session, [line], priced, NOW).rejected) == 1
    (kept,) = session.scalars(sa.select(RejectedEvent))
    assert len(kept.line) <= LINE_SHOWN


def test_names_beyond_the_cap_are_other_and_the_first_ones_stay(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPS, "model", 3)  # type: ignore[attr-defined]
    for first in (0, 2, 4):
        send(tenant, [call(model=f"m{n}", function="f") for n in range(first, first + 3)])
    with tenant_session(tenant) as session:
        counted = sa.select(EventRow.model, sa.func.count()).group_by(EventRow.model)
        assert dict(session.execute(counted).all()) == {
            "m0": 1,
            "m1": 1,
            "m2": 2,
            OTHER: 5,
        }


def test_a_batch_that_was_not_stored_uses_no_name_up(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPS, "model", 1)  # type: ignore[attr-defined]

    def rolled_back() -> None:
        with tenant_session(tenant) as session:
            ingest(session, lines(call(model="lost")), priced, NOW)
            raise RuntimeError("the job was taken over")

    with pytest.raises(RuntimeError):
        rolled_back()
    send(tenant, [call(model="kept")])
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(EventRow.model)).all() == ["kept"]


def test_two_batches_that_were_not_stored_use_no_name_up(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one sees what the first has stored, which is nothing once it is rolled back."""
    monkeypatch.setitem(CAPS, "model", 1)  # type: ignore[attr-defined]

    def rolled_back() -> None:
        with tenant_session(tenant) as session:
            for function in ("f", "g"):
                ingest(session, lines(call(model="lost", function=function)), priced, NOW)
            raise RuntimeError("the job was taken over")

    with pytest.raises(RuntimeError):
        rolled_back()
    for model in ("kept", "lost"):
        send(tenant, [call(model=model, function="f")])
    with tenant_session(tenant) as session:
        found = session.scalars(sa.select(EventRow.model).order_by(EventRow.model)).all()
    assert found == ["kept", OTHER]


def test_the_names_of_a_batch_are_asked_for_once(session: Session) -> None:
    """Also where some of its events were refused, which are counted by their names."""
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.extend(["names"] if "FROM mlops.telemetry_names" in statement else [])

    sa.event.listen(session.connection(), "before_cursor_execute", note)
    refused = call(model="buyer@2", input_tokens=-1)
    assert ingest(session, lines(call(), refused), priced, NOW).stored == 1
    assert asked == ["names"]
    names = set(session.scalars(sa.select(TelemetryName.name)))
    assert "buyer@2" in names


def test_workers_that_see_new_names_at_once_keep_to_the_cap(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPS, "model", 5)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda n: send(tenant, [call(model=f"m{n}-{k}") for k in range(4)]), range(8))
        )
    with tenant_session(tenant) as session:
        models = set(session.scalars(sa.select(EventRow.model).distinct()))
    assert len(models) == 6
    assert OTHER in models
