"""Advice drawn from what is stored."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.costing import split_tests
from shared.abtest.lifecycle import create, start
from shared.costs.advice.advising import Advised, advise
from shared.costs.advice.pieces import (
    Kind,
)
from shared.costs.advice.reading import recent_calls
from shared.database import TenantId, tenant_of, tenant_session
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.tables import JobRow
from shared.registry.models import register
from shared.registry.tables import Model, ModelVersion
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.retention import close_old_hours, keep_for
from shared.telemetry.rollups import roll_up_dirty_hours
from tests.shared.costs.advice.observations import (
    MONTH,
    NOW,
    PRICES,
    WINDOW,
)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": (NOW - timedelta(hours=3)).isoformat(),
        "model": "dear@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1",
        "input_tokens": 5000,
        "cached_input_tokens": 0,
        "output_tokens": 10,
        "query_length": 20_000,
    } | changes


def send(tenant: TenantId, *events: dict[str, Any], nanos: int | None = 1_000_000) -> None:
    lines = [json.dumps(one).encode() for one in events]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(nanos, "a price"), NOW)
        roll_up_dirty_hours(session)


def look(tenant: TenantId) -> Advised:
    with tenant_session(tenant) as session:
        return advise(session, WINDOW, PRICES, split_tests(session), now=NOW)


def kinds(found: Advised) -> list[str]:
    return [one.kind.value for one in found.advice]


def registered(session: Session, model: str) -> ModelVersion:
    found = session.scalar(sa.select(ModelVersion).join(Model).where(Model.name == model))
    if found is not None:
        return found
    return register(session, model, "1.0.0", "rule-based", {}, check=lambda *_: None)


def put_run(
    session: Session,
    outcomes: dict[str, list[str]],
    nanos: dict[str, int],
    *,
    ab: str | None = None,
) -> None:
    """One run of these models' episodes, 3 seeds of each task, model by model in that order."""
    tenant_id = tenant_of(session)
    run = uuid4()
    split = {"ab": {"test": ab, "environment": "production"}} if ab else {}
    session.add(
        BenchmarkRun(
            id=run, tenant_id=tenant_id, benchmark="b", function="evaluation", specification=split
        )
    )
    session.flush()
    most = max(map(len, outcomes.values()))
    tasks: list[UUID] = [uuid4() for _ in range(-(-most // 3))]
    session.execute(
        sa.insert(EvaluationTask),
        [
            {
                "id": one,
                "tenant_id": tenant_id,
                "benchmark": "b",
                "name": f"task-{one}",
                "category": "click",
                "difficulty": "easy",
                "max_steps": 5,
                "timeout_seconds": 10,
                "actions": [],
            }
            for one in tasks
        ],
    )
    for model, ends in outcomes.items():
        version = registered(session, model)
        jobs = [uuid4() for _ in ends]
        session.execute(
            sa.insert(JobRow),
            [
                {
                    "id": job,
                    "tenant_id": tenant_id,
                    "kind": "evaluate_episode",
                    "queue": "evaluation",
                    "payload": {},
                    "status": "succeeded",
                    "max_attempts": 3,
                }
                for job in jobs
            ],
        )
        session.execute(
            sa.insert(Episode),
            [
                {
                    "id": uuid4(),
                    "tenant_id": tenant_id,
                    "run_id": run,
                    "task_id": tasks[number // 3],
                    "model_version_id": version.id,
                    "job_id": job,
                    "seed": number % 3,
                    "outcome": outcome,
                    "llm_calls": 2,
                    "cost_nanos": nanos[model] + number % 7,
                    "finished_at": NOW - timedelta(hours=1),
                    "unit_id": f"{model}-{number}" if ab else None,
                    "variant": model if ab else None,
                }
                for number, (job, outcome) in enumerate(zip(jobs, ends, strict=True))
            ],
        )


def test_a_tenant_without_data_gets_no_advice_and_is_told_what_is_missing(tenant: TenantId) -> None:
    found = look(tenant)
    assert found.advice == ()
    assert [section.kind for section in found.sections] == list(Kind)
    assert "two models on the same benchmark tasks" in found.sections[0].missing[0]


def test_advice_is_drawn_from_what_is_stored_and_only_of_the_own_tenant(tenant: TenantId) -> None:
    failed = [event(error_type="timeout") for _ in range(20)]
    again = [event(attributes={"attempt": 2}) for _ in range(15)]
    texts = [event(attributes={"attempt": "2"}) for _ in range(65)]
    ends = [
        {key: event()[key] for key in ("event_id", "occurred_at", "model", "function")}
        | {"kind": "task_end", "success": False}
        for _ in range(80)
    ]
    send(tenant, *failed, *again, *texts, *ends)
    found = look(tenant)
    assert kinds(found) == ["never_succeeds", "failed_calls", "prompt_caching"]
    never, failures, caching = found.advice
    assert never.saving.nanos == 100 * 1_000_000
    assert (failures.saving.nanos, failures.saving.interval) == (
        20_000_000,
        (20_000_000, 35_000_000),
    )
    assert caching.saving.nanos == 750_000_000
    assert not any(one.simulated for one in found.advice)


def test_unpriced_calls_are_never_a_saving_of_nothing(tenant: TenantId) -> None:
    send(tenant, *(event(error_type="timeout") for _ in range(20)), nanos=None)
    (one,) = look(tenant).advice
    assert (one.kind, one.saving.nanos) == (Kind.FAILED_CALLS, None)


def test_a_cheaper_model_is_found_in_benchmark_runs_and_saves_on_the_traffic(
    tenant: TenantId,
) -> None:
    with tenant_session(tenant) as session:
        won = ["success"] * 180
        put_run(session, {"dear": won, "cheap": won}, {"dear": 9_000, "cheap": 1_000})
    end = {key: event()[key] for key in ("occurred_at", "function")}
    ends = [
        end | {"event_id": str(uuid4()), "kind": "task_end", "success": True, "model": "dear@1.0.0"}
        for _ in range(40)
    ]
    send(tenant, *ends, event(model="dear@1.0.0"))
    (one,) = look(tenant).advice
    assert (one.kind, one.model) == (Kind.CHEAPER_MODEL, "dear@1.0.0")
    assert one.saving.nanos == 40 * 8_000


def test_episodes_that_an_ab_test_split_are_its_evidence_and_no_pairs(tenant: TenantId) -> None:
    won = ["success"] * 200
    with tenant_session(tenant) as session:
        for name in ("dear", "cheap"):
            registered(session, name)
        create(
            session,
            "prompt",
            [{"name": name, "weight": 0.5, "model": name} for name in ("dear", "cheap")],
        )
        start(session, "prompt")
    with tenant_session(tenant) as session:
        run = {"dear": won, "cheap": won}
        put_run(session, run, {"dear": 9_000, "cheap": 1_000}, ab="prompt")
        (test,) = split_tests(session)
    assert [(one.model, one.scored, one.successes) for one in test.arms] == [
        ("dear@1.0.0", 200, 200),
        ("cheap@1.0.0", 200, 200),
    ]
    assert test.arms[0].mean_nanos == pytest.approx(9_003, abs=1)
    (one,) = look(tenant).advice
    assert one.model == "dear@1.0.0"
    assert all("A/B test prompt" in found.source for found in one.evidence[:4])


def test_more_calls_than_are_looked_at_are_told_and_related_to_their_own_time(
    session: Session, tenant: TenantId
) -> None:
    old = (NOW - timedelta(days=20)).isoformat()
    events = [event() for _ in range(5)] + [event(occurred_at=old) for _ in range(5)]
    ingest(session, [json.dumps(one).encode() for one in events], lambda _: CallCost(1, "x"), NOW)
    part = recent_calls(session, WINDOW, NOW, at_most=5)
    assert (part.calls, part.complete) == (5, False)
    assert part.span == timedelta(hours=3)
    whole = recent_calls(session, WINDOW, NOW)
    assert (whole.calls, whole.complete, whole.span) == (10, True, MONTH)
    keep_for(session, 7)
    closed = close_old_hours(session, NOW)
    kept = recent_calls(session, WINDOW, NOW)
    assert (kept.calls, kept.complete, kept.since) == (5, False, closed)
