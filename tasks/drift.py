"""Queue `drift`: sweeps over the windows of every watched metric."""

from __future__ import annotations

from sqlalchemy.orm import Session

from shared.alerts.drifting import summed_up, tell_of_drift
from shared.drift.sweep import detect
from shared.drift.watching import watch_for_drift
from shared.jobs.contracts import DetectDrift
from shared.jobs.execution import Record, Succeeded
from shared.jobs.leases import Lease
from tasks.declaring import job_task

__all__ = ["detect_drift", "sweep", "watch_for_drift"]


def sweep(job: DetectDrift, lease: Lease) -> Record:
    """One sweep, named after its job, so that its rows can be traced to who asked for them."""

    def record(session: Session) -> Succeeded:
        found = detect(session, job, lease.claim.job_id)
        return Succeeded(tell_of_drift(session, found) if job.alerts else summed_up(found))

    return record


detect_drift = job_task(DetectDrift, lambda _: sweep)
