"""The timetable asks for a sweep of each hour, once, when what it reads is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.drift.budget import BudgetError, set_false_alarms_a_week
from shared.drift.watching import watch_for_drift
from shared.jobs.contracts import CheckQuality, DetectDrift
from shared.jobs.tables import JobRow
from shared.telemetry.tables import DirtyHour
from shared.tenancy.tenants import create_tenant
from tests.shared.drift.rollups import (
    roll_up,
    window,
)


def test_the_timetable_waits_for_a_backlog_and_not_for_a_moment(tenant: TenantId) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)

    def asked() -> int:
        watch_for_drift(now)
        with tenant_session(tenant) as session:
            jobs = sa.select(sa.func.count()).where(JobRow.kind == "detect_drift")
            return session.scalar(jobs) or 0

    with tenant_session(tenant) as session:
        roll_up(session, hour, {"tokens": [1]})
        mark = {"tenant_id": tenant, "hour": hour, "marked_at": now - timedelta(hours=1)}
        session.execute(sa.insert(DirtyHour), [mark])
    assert asked() == 0
    with tenant_session(tenant) as session:
        session.execute(sa.update(DirtyHour).values(marked_at=now))
    assert asked() == 1


def test_the_timetable_keeps_the_false_alarms_that_are_accepted(tenant: TenantId) -> None:
    now = datetime.now(UTC)
    with tenant_session(tenant) as session:
        roll_up(session, now.replace(minute=0, second=0, microsecond=0), {"tokens": [1]})
        roll_up(session, now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2), {})
        for wrong in (0, -1, 1e-322, 101, float("nan")):
            with pytest.raises(BudgetError, match=r"expected 0\.001 to 100"):
                set_false_alarms_a_week(session, wrong)
        set_false_alarms_a_week(session, 0.5)
    watch_for_drift(now)
    with tenant_session(tenant) as session:
        payload = session.scalars(
            sa.select(JobRow.payload).where(JobRow.kind == "detect_drift")
        ).one()
    assert payload["false_discovery_rate"] == pytest.approx(0.5 / 168)


def test_the_timetable_asks_once_an_hour_for_tenants_that_have_rollups(
    tenant: TenantId,
) -> None:
    quiet = create_tenant(f"quiet-{uuid4()}")
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    with tenant_session(tenant) as session:
        roll_up(session, hour - timedelta(hours=2), {"tokens": [1]})
    assert watch_for_drift(now) >= 1
    watch_for_drift(now)
    with tenant_session(tenant) as session:
        jobs = session.scalars(sa.select(JobRow).where(JobRow.kind == "detect_drift")).all()
        assert [DetectDrift.model_validate(job.payload) for job in jobs] == [
            DetectDrift(
                current=window(hour - timedelta(days=1), 24),
                false_discovery_rate=1 / 168,
                alerts=True,
            )
        ]
        checks = session.scalars(sa.select(JobRow).where(JobRow.kind == "check_quality")).all()
        assert [CheckQuality.model_validate(job.payload) for job in checks] == [
            CheckQuality(current=window(hour - timedelta(days=1), 24))
        ]
    with tenant_session(quiet) as session:
        assert session.scalars(sa.select(JobRow.id)).all() == []
