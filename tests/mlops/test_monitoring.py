"""`mlops monitor performance`, `errors`, `rejected` and `health`, and how long events are kept."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from sqlalchemy.orm import Session

from mlops.console import Exit
from mlops.telemetry.sending import Batch
from mlops.telemetry.spilling import SpillFolder
from shared.database import TenantId, tenant_session
from shared.jobs.tables import JobRow
from shared.telemetry.batches import accept, pack
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import DirtyHour, EventBatch
from shared.tenancy.tables import Tenant

Mlops = Callable[..., Result]

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def call(at: datetime = NOW, **changes: object) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid.uuid4()),
        "occurred_at": at.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "m",
        "latency_ms": 100,
        "input_tokens": 1000,
        "output_tokens": 10,
    } | changes


def send(tenant: TenantId, *events: dict[str, Any]) -> None:
    lines = [json.dumps(event).encode() for event in events]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(1_000_000, "a price"), NOW)
        roll_up_dirty_hours(session)


def measured(at: datetime, value: float) -> dict[str, Any]:
    kept = ("event_id", "model", "function")
    fields = {"kind": "metric", "occurred_at": at.isoformat(), "name": "basket", "value": value}
    return {key: call()[key] for key in kept} | fields


def ended(success: bool) -> dict[str, Any]:
    kept = ("event_id", "occurred_at", "model", "function")
    return {key: call()[key] for key in kept} | {"kind": "task_end", "success": success}


def checks(result: Result) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_performance_has_rates_with_intervals_and_quantiles(tenant: TenantId, mlops: Mlops) -> None:
    send(
        tenant,
        *(call(latency_ms=100 * n, confidence=0.5) for n in range(1, 10)),
        call(error_type="timeout", latency_ms=30_000),
        *(ended(n < 3) for n in range(4)),
    )
    result = mlops("monitor", "performance", "--json")
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["model"], row["llm_calls"], row["tasks"], row["successes"]) == ("buyer@1", 10, 4, 3)
    rate = row["error_rate"]
    assert (rate["value"], rate["n"]) == (0.1, 10)
    assert 0 < rate["low"] < 0.1 < rate["high"] < 0.5
    assert row["success_rate"]["value"] == 0.75
    assert row["llm_latency_ms"]["p50"] == pytest.approx(500, rel=0.005)
    assert row["llm_latency_ms"]["p99"] == pytest.approx(30_000, rel=0.005)
    assert (row["first_token_ms"], row["step_latency_ms"]) == (None, None)
    assert row["mean_confidence"] == pytest.approx(0.5, rel=0.005)
    assert (row["cost_nanos"], row["cost_dollars"]) == (10_000_000, "0.01")
    assert row["calls_per_hour"] == pytest.approx(3600 * row["calls_per_second"])
    shown = mlops("monitor", "performance").stdout
    assert "buyer@1" in shown
    assert "10.0% (1.8 to 40.4) of 10" in shown


def test_performance_by_function_and_of_one_model(tenant: TenantId, mlops: Mlops) -> None:
    send(tenant, call(), call(function="search"), call(model="other@1"))
    by_function = json.loads(mlops("monitor", "performance", "--by", "function", "--json").stdout)
    assert {row["function"]: row["llm_calls"] for row in by_function["rows"]} == {
        "checkout": 2,
        "search": 1,
    }
    of_one = json.loads(mlops("monitor", "performance", "--model", "other@1", "--json").stdout)
    assert [row["model"] for row in of_one["rows"]] == ["other@1"]


def test_a_name_that_was_never_reported_is_no_empty_table(tenant: TenantId, mlops: Mlops) -> None:
    send(tenant, call())
    for option, name, near in (
        ("--model", "Buyer@1", "buyer@1"),
        ("--function", "chekcout", "checkout"),
    ):
        answer = mlops("monitor", "performance", option, name)
        assert (answer.exit_code, answer.stdout) == (Exit.NOT_FOUND, "")
        assert answer.stderr.endswith(
            f"no {option[2:]} '{name}' has ever been reported; did you mean '{near}'?\n"
        )
    assert "ever been reported\n" in mlops("monitor", "performance", "--model", "z").stderr


def test_what_is_not_known_is_not_zero(tenant: TenantId, mlops: Mlops) -> None:
    lines = [json.dumps(call(input_tokens=None)).encode()]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(None, "no price is known"), NOW)
        roll_up_dirty_hours(session)
    (row,) = json.loads(mlops("monitor", "performance", "--json").stdout)["rows"]
    assert (row["cost_dollars"], row["input_tokens"], row["success_rate"]) == (None, None, None)
    assert (row["unpriced_calls"], row["uncounted_calls"]) == (1, 1)
    assert "unpriced: 1 call" in mlops("monitor", "performance").stdout


def test_no_telemetry_is_said_and_is_not_good_news(mlops: Mlops) -> None:
    assert "no telemetry in the last 24 h" in mlops("monitor", "performance").stdout
    assert "it is not known what failed" in mlops("monitor", "errors").stdout
    report = json.loads(mlops("monitor", "errors", "--json").stdout)
    assert (report["tried"], report["errors"]) == (None, None)


def test_errors_are_counted_by_category_with_what_came_before(
    tenant: TenantId, mlops: Mlops
) -> None:
    yesterday = NOW - timedelta(hours=30)
    send(
        tenant,
        *(call(error_type="RateLimitError", error_message=f"429 {n}") for n in range(5)),
        call(error_type="Error", error_message="net::ERR_NAME_NOT_RESOLVED"),
        *(call(yesterday, error_type="RateLimitError") for _ in range(2)),
        *(call() for _ in range(4)),
    )
    report = json.loads(mlops("monitor", "errors", "--hours", "24", "--json").stdout)
    assert (report["tried"], report["errors"]) == (10, 6)
    assert [(c["category"], c["errors"], c["before"]) for c in report["categories"]] == [
        ("rate_limit", 5, 2),
        ("network", 1, 0),
    ]
    assert [(m["message"], m["times"]) for m in report["messages"]] == [
        ("<n> <n>", 5),
        ("net::ERR_NAME_NOT_RESOLVED", 1),
    ]
    shown = mlops("monitor", "errors").stdout
    assert "6 errors, 60.0%" in shown
    assert "█" in shown


def test_health_of_a_tenant_that_reports_nothing(mlops: Mlops) -> None:
    result = mlops("monitor", "health", "--json")
    found = checks(result)
    assert (found["rollups"]["verdict"], found["machines"]["verdict"]) == ("no data", "no data")
    assert found["ingest"]["verdict"] == "ok"
    assert "no data" in mlops("monitor", "health").stdout


def test_health_tells_what_was_refused_and_how_machines_are(tenant: TenantId, mlops: Mlops) -> None:
    sample = {
        "kind": "system",
        "event_id": str(uuid.uuid4()),
        "occurred_at": NOW.isoformat(),
        "host": "worker-1",
        "cpu_percent": 99.0,
        "memory_percent": 97.0,
    }
    send(tenant, sample, call(input_tokens=-1), call(input_tokens=-1))
    result = mlops("monitor", "health", "--json")
    found = checks(result)
    assert found["events"]["verdict"] == "warning"
    assert found["events"]["detail"].startswith("2 refused in 1 h: 2 x llm_call.input_tokens")
    assert found["machine worker-1"] == {
        "name": "machine worker-1",
        "verdict": "wrong",
        "detail": "cpu 99 %, memory 97 %",
    }
    assert result.exit_code == Exit.FAILURE
    (machine,) = json.loads(result.stdout)["machines"]
    assert (machine["host"], machine["cpu_percent"]) == ("worker-1", 99.0)


def test_what_was_refused_is_shown_with_why_and_without_secrets(
    tenant: TenantId, mlops: Mlops
) -> None:
    secret = "c4n4ry1234"
    send(
        tenant,
        *(call(input_tokens=-n, attributes={"note": "[red]x[/]"}) for n in range(1, 4)),
        call(api_key=[secret]),
    )
    shown = mlops("monitor", "rejected").stdout
    assert "3" in shown
    assert "llm_call.input_tokens" in shown
    assert "[red]x[/]" in shown
    found = json.loads(mlops("monitor", "rejected", "--json").stdout)
    assert (found["total"], sum(reason["times"] for reason in found["reasons"])) == (4, 4)
    assert secret not in shown + json.dumps(found)
    assert {"received_at", "event", "reason", "line"} == found["events"][0].keys()
    of_one = json.loads(mlops("monitor", "rejected", "--reason", "API_KEY", "--json").stdout)
    assert (of_one["total"], len(of_one["events"])) == (1, 1)
    assert "newest 1 of 4" in mlops("monitor", "rejected", "--limit", "1").stdout
    assert "no event was refused" in mlops("monitor", "rejected", "--reason", "100%").stdout


def test_health_tells_what_waits_on_this_machine(
    tenant: TenantId, mlops: Mlops, state: Path, name: str
) -> None:
    folder = state / "spill" / name
    spill = SpillFolder(folder, 10**6)
    spill.put(Batch(uuid.uuid4(), pack([b"{}"] * 7), 7))
    (folder / f"{0:020}_{uuid.uuid4()}_3.batch").mkdir()
    found = checks(mlops("monitor", "health", "--json"))
    assert found["spill"]["verdict"] == "warning"
    assert found["spill"]["detail"].startswith("7 events wait on this machine in 1 files of ")
    assert found["spill"]["detail"].endswith("; 1 that cannot be read stay there")


def accepted(session: Session) -> uuid.UUID:
    batch_id = uuid.uuid4()
    accept(session, batch_id, pack([json.dumps(call()).encode()]), 1)
    return batch_id


def test_health_tells_of_batches_and_hours_that_wait_too_long(
    tenant: TenantId, mlops: Mlops
) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=30)
    with tenant_session(tenant) as session:
        accepted(session)
        session.execute(
            sa.insert(DirtyHour).values(tenant_id=tenant, hour=HOUR, marked_at=long_ago)
        )
    assert checks(mlops("monitor", "health", "--json"))["ingest"]["verdict"] == "ok"
    with tenant_session(tenant) as session:
        batch = session.scalars(sa.select(EventBatch)).one()
        session.execute(sa.delete(EventBatch))
        session.execute(
            sa.insert(EventBatch).values(
                tenant_id=tenant,
                id=batch.id,
                events=1,
                body=batch.body,
                size_bytes=1,
                received_at=long_ago,
            )
        )
    found = checks(mlops("monitor", "health", "--json"))
    assert (found["ingest"]["verdict"], found["rollups"]["verdict"]) == ("wrong", "wrong")
    assert "the oldest for 30 min" in found["ingest"]["detail"]
    assert found["rollups"]["detail"].startswith("1 hour waits to be summed, the oldest 20")
    assert ", one for 30 min: do beat" in found["rollups"]["detail"]


def test_health_warns_of_more_hours_and_batches_than_a_minute_brings(
    tenant: TenantId, mlops: Mlops
) -> None:
    send(tenant, call())
    with tenant_session(tenant) as session:
        marks = [{"tenant_id": tenant, "hour": HOUR - timedelta(hours=n)} for n in range(25)]
        session.execute(sa.insert(DirtyHour), marks)
        waiting = {"tenant_id": tenant, "events": 1, "body": b"", "size_bytes": 1}
        session.execute(sa.insert(EventBatch), [waiting | {"id": uuid.uuid4()} for _ in range(101)])
    found = checks(mlops("monitor", "health", "--json"))
    assert (found["ingest"]["verdict"], found["rollups"]["verdict"]) == ("warning", "warning")
    assert found["ingest"]["detail"].startswith("101 batches wait to be stored, more than 100: ")
    assert found["rollups"]["detail"].startswith("25 hours wait to be summed, the oldest 20")


def test_an_hour_has_been_waiting_since_it_was_first_marked(tenant: TenantId, mlops: Mlops) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=30)
    with tenant_session(tenant) as session:
        ingest(session, [json.dumps(call()).encode()], lambda _: CallCost(1, "a price"), NOW)
        session.execute(sa.update(DirtyHour).values(marked_at=long_ago))
        ingest(session, [json.dumps(call()).encode()], lambda _: CallCost(1, "a price"), NOW)
    assert checks(mlops("monitor", "health", "--json"))["rollups"]["verdict"] == "wrong"


def test_health_tells_of_batches_that_cannot_be_stored(tenant: TenantId, mlops: Mlops) -> None:
    with tenant_session(tenant) as session:
        key = str(accepted(session))
        session.execute(
            sa.update(JobRow).where(JobRow.idempotency_key == key).values(status="failed")
        )
    result = mlops("monitor", "health")
    assert result.exit_code == Exit.FAILURE
    assert "1 batch could not be stored" in result.stdout


@pytest.mark.parametrize("command", ["performance", "errors", "rejected", "health"])
@pytest.mark.parametrize("hours", ["0", "-1", "1e9", "many"])
def test_hours_that_cannot_be_are_one_line(mlops: Mlops, command: str, hours: str) -> None:
    result = mlops("monitor", command, "--hours", hours)
    assert result.exit_code == Exit.USAGE


def test_a_tenant_keeps_its_events_as_long_as_it_wants(tenant: TenantId, mlops: Mlops) -> None:
    assert "90 days" in mlops("tenant", "retention").stdout
    assert mlops("tenant", "retention", "30").exit_code == Exit.OK
    assert json.loads(mlops("tenant", "retention", "--json").stdout)["event_days"] == 30
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(Tenant.event_days)) == 30
        audited = session.execute(
            sa.text("SELECT action, details FROM mlops.audit_log ORDER BY at DESC LIMIT 1")
        ).one()
    assert tuple(audited) == ("tenant.retention", {"event_days": 30, "before": 90})
    refused = mlops("tenant", "retention", "0")
    assert refused.exit_code == Exit.USAGE


def test_metrics_of_ones_own_are_added_up_over_their_hours(tenant: TenantId, mlops: Mlops) -> None:
    values = {0: [1.0, 2.0], 3: [6.0]}
    send(
        tenant,
        *(
            measured(NOW - timedelta(hours=hours), value)
            for hours, of in values.items()
            for value in of
        ),
    )
    (found,) = json.loads(mlops("monitor", "metrics", "--name", "basket", "--json").stdout)[
        "metrics"
    ]
    assert (found["n"], found["mean"], found["minimum"], found["maximum"]) == (3, 3.0, 1.0, 6.0)
    assert found["standard_deviation"] == pytest.approx((14 / 3) ** 0.5)
    assert "basket" in mlops("monitor", "metrics").stdout
    answer = mlops("monitor", "metrics", "--name", "bsaket")
    assert answer.exit_code == Exit.NOT_FOUND
    assert "no metric 'bsaket' has ever been reported; did you mean 'basket'?" in answer.stderr
