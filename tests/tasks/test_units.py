"""The job that adds up what units did: asked for where there is news, a bounded part at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import redis
import sqlalchemy as sa

from shared.abtest import unit_sums
from shared.abtest.tables import AbSum, AbTest
from shared.database import TenantId, tenant_of, tenant_session
from shared.jobs.contracts import JobMessage, SumUnits
from shared.jobs.tables import JobRow
from shared.telemetry.events import ExposureEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.units import unit_digest
from tasks.control import enqueue_unit_sums, sum_up


def expose_some(tenant: TenantId, units: int) -> None:
    with tenant_session(tenant) as session:
        test = AbTest(
            id=uuid4(), tenant_id=tenant_of(session), environment="production", name="t",
            status="running", success_metric="success", variants=[], table_version=1,
        )  # fmt: skip
        session.add(test)
        session.flush()
        common = {"occurred_at": datetime.now(UTC)}
        of_units = [unit_digest(f"unit-{number}") for number in range(units)]
        store(
            session,
            [
                ExposureEvent(
                    **common, event_id=uuid4(), test_id=test.id, unit_id=unit, variant="new"
                )
                for unit in of_units
            ]
            + [
                TaskEndEvent(**common, event_id=uuid4(), unit_id=unit, success=True)
                for unit in of_units
            ],
            lambda _: CallCost(0, "a price"),
        )


def queued(tenant: TenantId) -> list[JobRow]:
    with tenant_session(tenant) as session:
        wanted = sa.select(JobRow).where(JobRow.kind == "sum_units", JobRow.status == "queued")
        return list(session.scalars(wanted))


def test_news_are_summed_by_as_many_jobs_as_it_takes(
    tenant: TenantId, clean_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_sums, "EXPOSURES_AT_ONCE", 2)
    expose_some(tenant, units=3)
    assert enqueue_unit_sums() >= 1
    # Asked for again before it has begun, it is the same job.
    assert enqueue_unit_sums() == 0
    done = 0
    while waiting := queued(tenant):
        message = JobMessage(tenant_id=tenant, job_id=waiting[0].id).model_dump(mode="json")
        assert sum_up(**message) == "succeeded"
        done += 1
    assert done == 2
    with tenant_session(tenant) as session:
        rate = session.scalars(sa.select(AbSum).where(AbSum.metric == "task_completion_rate")).one()
        assert (rate.units, rate.y) == (3, 3)
    assert enqueue_unit_sums() == 0
    assert SumUnits.kind() == "sum_units"
