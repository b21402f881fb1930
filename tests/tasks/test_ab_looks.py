"""The timetable looks at each test that is open; what ends is looked at once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import redis
import sqlalchemy as sa

from shared.abtest.lifecycle import conclude, create, find, start, stop
from shared.abtest.looks import looks_of
from shared.abtest.unit_sums import sum_units
from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import JobMessage
from shared.jobs.tables import JobRow
from shared.telemetry.events import Event, ExposureEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.units import unit_digest
from tasks.control import enqueue_looks, watch_ab_test

SLOT = datetime(2026, 11, 20, 12, tzinfo=UTC)
VARIANTS = ("standard", "concise")


def split(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "weight": 0.5} for name in names]


def put_units(tenant: TenantId, name: str) -> None:
    """60 units of each variant: of `standard` none solves its task, of `concise` all do."""
    with tenant_session(tenant) as session:
        test = find(session, name)
        at = datetime.now(UTC)
        events: list[Event] = []
        for variant, number in product(VARIANTS, range(60)):
            unit = unit_digest(f"{variant}-{number}")
            about: dict[str, Any] = {"occurred_at": at, "unit_id": unit}
            solved = variant == "concise"
            events.append(
                ExposureEvent(event_id=uuid4(), test_id=test.id, variant=variant, **about)
            )
            events.append(TaskEndEvent(event_id=uuid4(), success=solved, **about))
        store(session, events, lambda _: CallCost(0, "a price"))
        sum_units(session)


def looked(tenant: TenantId, slot: datetime) -> list[str]:
    """Do what is asked for at that slot; the tests that were looked at."""
    enqueue_looks(slot)
    return looked_as_asked(tenant)


def looked_as_asked(tenant: TenantId) -> list[str]:
    with tenant_session(tenant) as session:
        wanted = sa.select(JobRow).where(
            JobRow.kind == "watch_ab_test",
            JobRow.status == "queued",
            JobRow.not_before <= sa.func.now(),
        )
        jobs = session.scalars(wanted).all()
    for job in jobs:
        message = JobMessage(tenant_id=tenant, job_id=job.id).model_dump(mode="json")
        assert watch_ab_test(**message) == "succeeded"
    return sorted(job.payload["test"] for job in jobs)


def test_open_tests_are_looked_at_once_an_hour_and_ended_ones_once_more(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with tenant_session(tenant) as session:
        for name in ("fixed", "followed", "draft"):
            following: dict[str, Any] = {"allocation": "thompson", "sticky": True}
            create(session, name, split(*VARIANTS), **(following if name == "followed" else {}))
            if name != "draft":
                start(session, name)
    for name in ("fixed", "followed"):
        put_units(tenant, name)
    assert looked(tenant, SLOT) == ["fixed", "followed"]
    assert looked(tenant, SLOT) == []
    with tenant_session(tenant) as session:
        (look,) = looks_of(session, find(session, "fixed"))
        assert (look.state, look.units_of) == ("better", {"standard": 60, "concise": 60})
        assert look.verdict.startswith("concise is better than standard: +100.0 points")
        weights = {
            name: [variant["weight"] for variant in find(session, name).variants]
            for name in ("fixed", "followed")
        }
        assert weights == {"fixed": [0.5, 0.5], "followed": [0.05, 0.95]}
        told = session.scalars(sa.select(Alert.details["what"].astext)).all()
        assert told == ["decision", "decision"]
        stop(session, "fixed")
    # Not before what its units did until then is summed.
    assert looked_as_asked(tenant) == []
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(not_before=sa.func.now()))
    assert looked_as_asked(tenant) == ["fixed"]
    with tenant_session(tenant) as session:
        test = find(session, "fixed")
        _, last = looks_of(session, test)
        assert test.ended_at is not None
        assert (last.state, last.looked_at > test.ended_at) == ("better", True)
        opened = sa.select(Alert.details["test"].astext).where(Alert.resolved_at.is_(None))
        assert session.scalars(opened).all() == ["followed"]
    assert looked(tenant, SLOT + timedelta(hours=1)) == ["followed"]


def test_alerts_of_an_ended_test_whose_last_look_failed_are_closed_by_the_hourly_one(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with tenant_session(tenant) as session:
        create(session, "fixed", split(*VARIANTS))
        start(session, "fixed")
    put_units(tenant, "fixed")
    looked(tenant, SLOT)
    with tenant_session(tenant) as session:
        conclude(session, "fixed", "concise")
    assert looked(tenant, SLOT + timedelta(hours=1)) == ["fixed"]
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(Alert).where(Alert.resolved_at.is_(None))).all() == []
    assert looked(tenant, SLOT + timedelta(hours=2)) == []


def test_a_guardrail_that_is_harmed_pauses_a_test_whose_plan_says_so(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with tenant_session(tenant) as session:
        create(
            session,
            "harmful",
            split("concise", "standard"),
            success_metric="calls_per_unit",
            guardrails=["task_completion_rate"],
            pause_when_harmed=True,
        )
        start(session, "harmful")
    put_units(tenant, "harmful")
    assert looked(tenant, SLOT) == ["harmful"]
    with tenant_session(tenant) as session:
        assert find(session, "harmful").status == "paused"
        told = session.scalars(sa.select(Alert.details["what"].astext)).all()
        assert told == ["harmed"]
        job = session.scalars(sa.select(JobRow).where(JobRow.kind == "watch_ab_test")).one()
        assert job.result is not None
        assert job.result["paused_for"] == ["task_completion_rate of standard"]
    # What its units do is looked at all the same.
    assert looked(tenant, SLOT + timedelta(hours=1)) == ["harmful"]
