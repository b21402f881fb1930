"""Queue `costs`: changed hours are summed again, and the cost of their days, weeks and months."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import aggregate
from shared.database import TenantId, system_session, tenant_session
from shared.jobs.contracts import RollUp
from shared.jobs.submission import enqueue
from shared.jobs.tables import JobRow, JobStatus
from shared.telemetry.days import sum_past_days
from shared.telemetry.rollups import HOURS_AT_ONCE, roll_up_dirty_hours
from tasks.declaring import transactional_task


def sum_changed_hours(session: Session, job: RollUp) -> Mapping[str, Any]:
    """Roll up the tenant's changed hours and its cost, both or neither."""
    hours = roll_up_dirty_hours(session)
    sum_past_days(session, datetime.now(UTC).date())
    aggregate(session, hours)
    if len(hours) == HOURS_AT_ONCE:
        # There may be more: the next job takes them, so that no transaction grows long.
        enqueue(session, RollUp())
    return {"hours": len(hours)}


roll_up = transactional_task(RollUp, sum_changed_hours)


def enqueue_roll_ups() -> int:
    """A job for each tenant that has changed hours and no such job queued; return how many."""
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenants_with_dirty_hours()")).all()
    return sum(_enqueue_unless_queued(TenantId(tenant)) for tenant in tenants)


def _enqueue_unless_queued(tenant_id: TenantId) -> bool:
    with tenant_session(tenant_id) as session:
        waiting = sa.select(JobRow.id).where(
            JobRow.kind == RollUp.kind(), JobRow.status == JobStatus.QUEUED
        )
        if session.scalar(waiting.limit(1)) is not None:
            return False
        enqueue(session, RollUp())
    return True
