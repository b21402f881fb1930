"""Queue `costs`: changed hours are summed again, with the cost of their periods and the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.cost_anomalies import KIND, tell_of_anomalies
from shared.alerts.spending import is_due, tell_of_spending
from shared.alerts.tables import Alert
from shared.alerts.unsummed import tell_of_unsummed_hours
from shared.costs.aggregation import aggregate
from shared.costs.series import series_by_subject
from shared.costs.watching import judge_hours
from shared.database import TenantId, system_session, tenant_session
from shared.hours import hour_of
from shared.jobs.contracts import FindCostAnomalies, RollUp
from shared.jobs.submission import enqueue, enqueue_unless_queued
from shared.telemetry.days import sum_past_days
from shared.telemetry.rollups import HOURS_AT_ONCE, roll_up_dirty_hours
from tasks.declaring import transactional_task


def sum_changed_hours(session: Session, job: RollUp) -> Mapping[str, Any]:
    """Roll up the tenant's changed hours and its cost, and judge its budgets: all or nothing."""
    now = datetime.now(UTC)
    hours = roll_up_dirty_hours(session, HOURS_AT_ONCE)
    tell_of_unsummed_hours(session)
    sum_past_days(session, now.date())
    aggregate(session, hours)
    # Without an hour too: a day that is over is one that has turned.
    told = tell_of_spending(session, hours, now)
    if len(hours) == HOURS_AT_ONCE:
        # There may be more: the next job takes them, so that no transaction grows long.
        enqueue(session, RollUp())
    return {
        "hours": len(hours),
        "alerts_raised": told.raised,
        "alerts_resolved": told.resolved,
    }


roll_up = transactional_task(RollUp, sum_changed_hours)


def find_anomalies(session: Session, job: FindCostAnomalies) -> Mapping[str, Any]:
    """Judge the hours, and tell of those that cost more than they should."""
    return tell_of_anomalies(session, judge_hours(session, job.since, job.until), job.since)


find_cost_anomalies = transactional_task(FindCostAnomalies, find_anomalies)

JUDGED = timedelta(hours=6)
"So many hours are judged each hour: some of their events come late."


def enqueue_anomalies(now: datetime) -> int:
    """A job for each tenant that spent anything since `now` - `JUDGED`; return how many.

    And for each with an open alert that such a job may close.
    """
    hour = hour_of(now)
    job = FindCostAnomalies(since=hour - JUDGED, until=hour)
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenant_ids()")).all()
    asked = 0
    for tenant in tenants:
        with tenant_session(TenantId(tenant)) as session:
            if _has_open_alerts(session) or series_by_subject(session, job.since, job.until):
                enqueue(session, job, idempotency_key=f"hour:{hour.isoformat()}")
                asked += 1
    return asked


def _has_open_alerts(session: Session) -> bool:
    opened = sa.select(Alert.id).where(Alert.kind == KIND, Alert.resolved_at.is_(None))
    return session.scalar(opened.limit(1)) is not None


def enqueue_roll_ups() -> int:
    """A job for each tenant that has changed hours and no such job queued; return how many."""
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenants_with_dirty_hours()")).all()
    return sum(enqueue_unless_queued(TenantId(tenant), RollUp()) for tenant in tenants)


def enqueue_judging(now: datetime) -> int:
    """A roll-up for each tenant with an alert of a period that has ended; return how many.

    The clock turns for those who send nothing as well, and a roll-up judges the budgets.
    """
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenant_ids()")).all()
    asked = 0
    for tenant in map(TenantId, tenants):
        with tenant_session(tenant) as session:
            due = is_due(session, now)
        if due:
            asked += enqueue_unless_queued(tenant, RollUp())
    return asked
