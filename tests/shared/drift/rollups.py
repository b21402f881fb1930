"""Rollups of hours that the tests of sweeps store, and what a sweep found in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.sweep import MetricFinding, SweepResult, detect
from shared.drift.verdicts import DriftState
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.days import mark_days
from shared.telemetry.features.built_in import MONITORED
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.tables import ModelPerformance

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WALKER = "walker@1.0.0"
METRICS = [feature.name for feature in MONITORED]

Values = dict[str, Any]


def window(start: datetime, hours: int = 1, function: str | None = None) -> WindowOf:
    return WindowOf(start=start, end=start + timedelta(hours=hours), function=function)


JOB = DetectDrift(baseline=window(NOON - timedelta(hours=1)), current=window(NOON))

_NOTHING = Histogram.from_values([]).to_bytes()
_NO_SUMS = {
    name: 0
    for name, column in ModelPerformance.__table__.columns.items()
    if isinstance(column.type, sa.BigInteger)
}


def roll_up(
    session: Session,
    hour: datetime,
    values: Values,
    model: str = WALKER,
    function: str = "shop",
    **sums: Any,
) -> None:
    """Store the rollup of one hour: histograms of `values`, and sums."""
    packed = {
        name.value: Histogram.from_values(values[name]).to_bytes() if name in values else _NOTHING
        for name in HISTOGRAMS
    }
    session.add(
        ModelPerformance(
            tenant_id=tenant_of(session),
            hour=hour,
            model=model,
            function=function,
            variant="",
            **({"errors_by_type": {}} | _NO_SUMS | sums),
            **packed,
        )
    )
    mark_days(session, [hour])


def latencies(seed: int, n: int = 400, scale: float = 1.0) -> list[int]:
    return (np.random.default_rng(seed).gamma(4, 50 * scale, n)).astype(int).tolist()


def findings(sweep: SweepResult) -> dict[tuple[str, str], MetricFinding]:
    """By model and metric: most tests have one function."""
    return {(finding.model, finding.metric): finding for finding in sweep.findings}


def state_of(session: Session, metric: str, job: DetectDrift = JOB) -> DriftState:
    return findings(detect(session, job, uuid4()))[WALKER, metric].verdict.state
