"""Queue `drift`: sweeps over the windows of every watched metric, and checks of the data itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.alerts.data_quality import lost_fields, tell_of_quality
from shared.alerts.drifting import summed_up, tell_of_drift
from shared.drift.rollup_quality import check_functions
from shared.drift.sweep import detect
from shared.drift.watching import watch_for_drift
from shared.drift.windows import require_begun
from shared.jobs.contracts import CheckQuality, DetectDrift
from shared.jobs.execution import Record, Succeeded
from shared.jobs.leases import Lease
from shared.telemetry.reading import Window
from tasks.declaring import job_task, transactional_task

__all__ = ["check_quality", "detect_drift", "sweep", "watch_for_drift"]


def sweep(job: DetectDrift, lease: Lease) -> Record:
    """One sweep, named after its job, so that its rows can be traced to who asked for them."""
    require_begun(job.current, datetime.now(UTC))

    def record(session: Session) -> Succeeded:
        found = detect(session, job, lease.claim.job_id)
        return Succeeded(tell_of_drift(session, found) if job.alerts else summed_up(found))

    return record


def check(session: Session, job: CheckQuality) -> Mapping[str, Any]:
    """Check all functions and models, and tell of what is broken."""
    require_begun(job.current, datetime.now(UTC))
    current = Window(job.current.start, job.current.end)
    found = check_functions(session, current, lost_fields(session))
    return tell_of_quality(session, found)


detect_drift = job_task(DetectDrift, lambda _: sweep)
check_quality = transactional_task(CheckQuality, check)
