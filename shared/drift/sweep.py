"""One sweep: all that is watched judged together, and stored test by test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.effects import magnitude
from shared.drift.features import compared_features
from shared.drift.hourly_requests import NO_REQUEST, request_volumes
from shared.drift.monitored import compared, histograms_for
from shared.drift.query_words import NO_QUERY, compare_words
from shared.drift.statistics import TestResult
from shared.drift.tables import DriftDetection, DriftSubject, SweepKind
from shared.drift.verdicts import MetricVerdict, judge
from shared.drift.windows import Windows, look
from shared.drift.wording import effect_said, magnitude_said
from shared.jobs.contracts import DetectDrift
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.watching import watched_features
from shared.telemetry.metrics import Volume, Words


@dataclass(frozen=True)
class MetricFinding:
    """What the sweep says of one metric of one function and model."""

    windows: Windows
    verdict: MetricVerdict

    @property
    def function(self) -> str:
        return self.windows.subject.function

    @property
    def model(self) -> str:
        return self.windows.subject.model

    @property
    def metric(self) -> str:
        return self.verdict.metric_name

    @property
    def explanation(self) -> str:
        """The verdict's reason, or the numbers that it rests on."""
        verdict = self.verdict
        if verdict.reason is not None:
            return verdict.reason
        name, size = verdict.effect_name, verdict.effect_size
        moved = "unknown" if size is None else effect_said(name, magnitude(name, size))
        p_value = "unknown" if verdict.p_value is None else f"{verdict.p_value:.2g}"
        return (
            f"{moved} (matters from {magnitude_said(name, verdict.minimum_effect)}),"
            f" adjusted p {p_value} (significant to {verdict.threshold:.2g}),"
            f" n {verdict.n_baseline} and {verdict.n_current}"
        )


@dataclass(frozen=True)
class SweepResult:
    sweep_id: UUID
    false_discovery_rate: float
    findings: tuple[MetricFinding, ...]


def detect(session: Session, job: DetectDrift, sweep_id: UUID) -> SweepResult:
    """Compare the windows of the job, judge all metrics as one family, and store every test.

    Raises `RegistryError` for a model of the job that is not known; windows without data are
    findings, not errors.
    """
    features = watched_features(session)
    names = {feature.name for feature in features if feature.name in BY_NAME}
    requests = request_volumes(session, job.current) if Volume.REQUESTS in names else {}
    pairs = []
    seen = look(session, job, histograms_for(names))
    words = compare_words(session, seen) if Words.QUERY_VOCABULARY in names else {}
    for looked_at in seen:
        subject = looked_at.windows.subject
        volume = requests.get(subject, NO_REQUEST).compared.comparison
        of_queries = words.get(subject, NO_QUERY).comparison
        found = compared(looked_at, names, volume, of_queries)
        pairs += [(looked_at.windows, metric) for metric in found]
    pairs += compared_features(
        session, job, [feature for feature in features if feature.name not in BY_NAME]
    )
    verdicts = judge([metric for _, metric in pairs], job.false_discovery_rate)
    findings = tuple(
        MetricFinding(windows, verdict)
        for (windows, _), verdict in zip(pairs, verdicts, strict=True)
    )
    sweep = SweepResult(sweep_id, job.false_discovery_rate, findings)
    rows = _rows(sweep, tenant_of(session))
    if rows:
        session.execute(sa.insert(DriftDetection), rows)
        kind = SweepKind.TIMETABLE if job.alerts else SweepKind.BY_HAND
        _note_newest(session, sweep, kind)
    return sweep


def _note_newest(session: Session, sweep: SweepResult, kind: SweepKind) -> None:
    """Of its kind a sweep that began later holds, whichever ends last."""
    subjects = sorted({finding.windows.subject for finding in sweep.findings})
    fixed = {"tenant_id": tenant_of(session), "sweep_id": sweep.sweep_id, "kind": kind.value}
    noted = insert(DriftSubject).values(
        [fixed | {"function": one.function, "model": one.model} for one in subjects]
    )
    session.execute(
        noted.on_conflict_do_update(
            index_elements=["tenant_id", "function", "model", "kind"],
            set_={"sweep_id": noted.excluded.sweep_id, "swept_at": noted.excluded.swept_at},
            where=DriftSubject.swept_at <= noted.excluded.swept_at,
        )
    )


def _rows(sweep: SweepResult, tenant_id: UUID) -> list[dict[str, Any]]:
    fixed = {"tenant_id": tenant_id, "sweep_id": sweep.sweep_id}
    return [
        fixed | _row(finding, test, adjusted)
        for finding in sweep.findings
        for test, adjusted in zip(
            finding.verdict.tests, finding.verdict.adjusted_p_values, strict=True
        )
    ]


def _row(finding: MetricFinding, test: TestResult, adjusted: float | None) -> dict[str, Any]:
    verdict = finding.verdict
    decides = test.effect_name is verdict.effect_name
    return {
        "function": finding.function,
        "model": finding.model,
        "baseline": finding.windows.baseline.model_dump(mode="json"),
        "current": finding.windows.current.model_dump(mode="json"),
        "metric": finding.metric,
        "test": test.name,
        "n_baseline": test.n_baseline,
        "n_current": test.n_current,
        "statistic": test.statistic,
        "p_value": test.p_value,
        "p_adjusted": adjusted,
        "threshold": verdict.threshold,
        "effect_name": test.effect_name.value,
        "effect_size": test.effect_size,
        # Only one effect decides; the others are there to be looked at.
        "minimum_effect": verdict.minimum_effect if decides else None,
        "verdict": verdict.state.value,
        "reason": finding.explanation,
    }
