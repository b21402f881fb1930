"""What the timetable asks for: the last day of every tenant against what was set as normal.

Both the values are compared and the data itself is checked, for the same hours.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_session
from shared.drift.baselines import DEFAULT_LENGTH
from shared.drift.budget import WEEK, false_alarms_a_week
from shared.drift.false_alarms import false_discovery_rate
from shared.hours import HOUR, hour_of
from shared.jobs.contracts import CheckQuality, DetectDrift, WindowOf
from shared.jobs.submission import enqueue
from shared.telemetry.tables import DirtyHour, ModelPerformance

CURRENT: Final = timedelta(hours=24)
EVERY: Final = HOUR
"As the timetable has it."

PATIENCE: Final = timedelta(minutes=10)
"Hours that have waited for longer to be summed are a backlog."

SWEEPS_A_WEEK: Final = WEEK / EVERY


def watch_for_drift(now: datetime) -> int:
    """Ask for a sweep for each tenant that has rollups it could compare; return how many.

    With each goes a check of the data. The sweep is so strict that the false alarms that a tenant
    accepts in a week are kept. Asked again within the same hour, nothing is added.
    """
    hour = hour_of(now)
    current = WindowOf(start=hour - CURRENT, end=hour)
    with system_session() as session:
        tenants = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
    asked = 0
    for tenant_id in tenants:
        with tenant_session(TenantId(tenant_id)) as session:
            if not _has_rollups(session, current.start - DEFAULT_LENGTH, current.end):
                continue
            if _waits(session, current):
                # A part of a day would be taken for the day; health tells of the backlog.
                continue
            rate = rate_of_a_sweep(session)
            job = DetectDrift(current=current, false_discovery_rate=rate, alerts=True)
            for asked_for in (job, CheckQuality(current=current)):
                enqueue(session, asked_for, idempotency_key=f"hour:{hour.isoformat()}")
            asked += 1
    return asked


def rate_of_a_sweep(session: Session) -> float:
    """The false discovery rate of a sweep that alarms, so that the tenant's budget is kept."""
    return false_discovery_rate(SWEEPS_A_WEEK, false_alarms_a_week(session))


def _has_rollups(session: Session, start: datetime, end: datetime) -> bool:
    found = sa.exists().where(ModelPerformance.hour >= start, ModelPerformance.hour < end)
    return bool(session.scalar(sa.select(found)))


def _waits(session: Session, window: WindowOf) -> bool:
    """Whether an hour of the window has waited for longer than roll-ups take."""
    waiting = sa.exists().where(
        DirtyHour.hour >= window.start,
        DirtyHour.hour < window.end,
        DirtyHour.marked_at < sa.func.now() - PATIENCE,
    )
    return bool(session.scalar(sa.select(waiting)))
