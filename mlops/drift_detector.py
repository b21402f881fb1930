"""What has drifted, from Python.

import asyncio
from mlops import DataDriftDetector

for result in asyncio.run(DataDriftDetector().detect_all_drift()):
    if result.drift_detected:
        print(result.function_name, result.metric_name, result.p_value, result.threshold)
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mlops.client import submit
from mlops.monitoring.windows import last_hours
from shared.database import TenantId, tenant_session
from shared.drift.reading import StoredFinding, findings_of
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.jobs.errors import JobError
from shared.jobs.tables import JobStatus
from shared.tenancy.tenants import current_tenant

MOST_HOURS: Final = 24 * 366


@dataclass(frozen=True)
class DriftResult:
    """What a sweep said of one metric of a function and model. Unknown is None, never 0."""

    function_name: str
    model: str
    metric_name: str
    state: str
    "stable, warning, drift, no_data or insufficient; only the first three are findings."
    drift_detected: bool
    p_value: float | None
    "The smallest of the metric's tests, adjusted for all that were made."
    threshold: float
    "It is significant if `p_value` is at most this."
    effect_name: str | None
    effect_size: float | None
    minimum_effect: float | None
    "It matters from this on."
    n_baseline: int
    n_current: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)


class DataDriftDetector:
    """The drift of one tenant: that of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given.

    A sweep is a job of the queue `drift`: some worker has to serve it.
    """

    def __init__(self, tenant_id: TenantId | None = None, timeout: float = 300.0) -> None:
        """`timeout`: seconds to wait for a sweep."""
        if not (isinstance(timeout, (int, float)) and 0 < timeout < math.inf):
            raise ValueError(f"timeout={timeout!r}; expected seconds, more than 0")
        self._tenant_id = tenant_id
        self._timeout = timeout

    async def detect_all_drift(self, hours: int = 24) -> list[DriftResult]:
        """Compare the last `hours` of every function and model with their baselines.

        Those that drift come first. Raises `TimeoutError` when no worker has made the sweep in
        time, and `JobError` when it failed. ValueError unless `hours` is 1 to 8,784, and whole.
        """
        return await asyncio.to_thread(self._detected, hours)

    def _detected(self, hours: int) -> list[DriftResult]:
        if type(hours) is not int or not 1 <= hours <= MOST_HOURS:
            raise ValueError(f"hours={hours!r}; expected a whole number from 1 to {MOST_HOURS}")
        tenant_id = self._tenant_id or current_tenant()
        seen = last_hours(datetime.now(UTC), hours)
        window = WindowOf(start=seen.start, end=seen.end)
        job = submit(DetectDrift(current=window), tenant_id=tenant_id)
        row = job.wait(self._timeout)
        if row.status != JobStatus.SUCCEEDED:
            raise JobError(f"the sweep {job.id} {row.status}: {row.error}")
        with tenant_session(tenant_id) as session:
            found = findings_of(session, job.id)
        return sorted(map(_result, found), key=lambda result: not result.drift_detected)


def _result(finding: StoredFinding) -> DriftResult:
    return DriftResult(
        function_name=finding.function,
        model=finding.model,
        metric_name=finding.metric,
        state=finding.state.value,
        drift_detected=finding.state.value == "drift",
        p_value=finding.p_adjusted,
        threshold=finding.threshold,
        effect_name=finding.effect_name,
        effect_size=finding.effect_size,
        minimum_effect=finding.minimum_effect,
        n_baseline=finding.n_baseline,
        n_current=finding.n_current,
        reason=finding.reason,
    )
