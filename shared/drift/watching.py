"""What the timetable asks for: the last day of every tenant against the week before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_session
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.jobs.submission import enqueue
from shared.telemetry.tables import ModelPerformance

CURRENT: Final = timedelta(hours=24)
BASELINE: Final = timedelta(days=7)


def watch_for_drift(now: datetime) -> int:
    """Ask for a sweep for each tenant that has rollups of the last 24 hours; return how many.

    Asked again within the same hour, nothing is added.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    job = DetectDrift(
        baseline=WindowOf(start=hour - CURRENT - BASELINE, end=hour - CURRENT),
        current=WindowOf(start=hour - CURRENT, end=hour),
    )
    with system_session() as session:
        tenants = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
    asked = 0
    for tenant_id in tenants:
        with tenant_session(TenantId(tenant_id)) as session:
            if _has_rollups(session, job.current):
                enqueue(session, job, idempotency_key=f"hour:{hour.isoformat()}")
                asked += 1
    return asked


def _has_rollups(session: Session, window: WindowOf) -> bool:
    found = sa.exists().where(
        ModelPerformance.hour >= window.start, ModelPerformance.hour < window.end
    )
    return bool(session.scalar(sa.select(found)))
