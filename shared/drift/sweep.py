"""One sweep: all that is watched judged together, and stored test by test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.effects import magnitude
from shared.drift.features import NO_SUBJECT, compared_features, moved_feature
from shared.drift.hourly_requests import NO_REQUEST, request_volumes
from shared.drift.minimum_effects import chosen_effects
from shared.drift.monitored import compared, compared_distributions, histograms_for
from shared.drift.moved import moved
from shared.drift.query_words import NO_QUERY, compare_words
from shared.drift.tables import DriftDetection, SweepKind
from shared.drift.verdicts import DriftState, MetricVerdict, judge
from shared.drift.watching import rate_of_a_sweep
from shared.drift.windows import Windows, look
from shared.drift.wording import counted_said, effect_said, matters_from
from shared.jobs.contracts import DetectDrift
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.watching import watched_features
from shared.telemetry.metrics import Volume, Words


@dataclass(frozen=True)
class MetricFinding:
    """What the sweep says of one metric of one function and model."""

    windows: Windows
    verdict: MetricVerdict
    change: str | None = None
    "From what to what, of a metric that drifts or is about to; None of others, or if not known."

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
        """The verdict's reason, or what changed and the numbers that this rests on."""
        verdict = self.verdict
        if verdict.reason is not None:
            return verdict.reason
        name, size = verdict.effect_name, verdict.effect_size
        effect = "unknown" if size is None else effect_said(name, magnitude(name, size))
        p_value = "unknown" if verdict.p_value is None else f"{verdict.p_value:.2g}"
        told = effect if self.change is None else f"{self.change}; {effect}"
        return (
            f"{told} ({matters_from(verdict)}),"
            f" adjusted p {p_value} (significant to {verdict.threshold:.2g}),"
            f" n {verdict.n_baseline} and {verdict.n_current}"
            f"{counted_said(verdict.metric_name, verdict.n_baseline, verdict.n_current)}"
        )


@dataclass(frozen=True)
class SweepResult:
    sweep_id: UUID
    false_discovery_rate: float
    findings: tuple[MetricFinding, ...]


BY_HAND_RATE: Final = 0.05
"The false discovery rate of a sweep that alarms nobody."


def detect(session: Session, job: DetectDrift, sweep_id: UUID) -> SweepResult:
    """Compare the windows of the job, judge all metrics as one family, and store every test.

    Raises `RegistryError` for a model of the job that is not known; windows without data are
    findings, not errors.
    """
    features = watched_features(session)
    names = {feature.name for feature in features if feature.name in BY_NAME}
    minimum_effects = chosen_effects(session)
    requests = request_volumes(session, job.current) if Volume.REQUESTS in names else {}
    pairs = []
    seen = look(session, job, histograms_for(names))
    words = compare_words(session, seen) if Words.QUERY_VOCABULARY in names else {}
    for looked_at, distributions in zip(seen, compared_distributions(seen, names), strict=True):
        subject = looked_at.windows.subject
        volume = requests.get(subject, NO_REQUEST).compared.comparison
        of_queries = words.get(subject, NO_QUERY).comparison
        found = compared(looked_at, names, volume, of_queries, minimum_effects, distributions)
        pairs += [(looked_at.windows, metric) for metric in found]
    own = [feature for feature in features if feature.name not in BY_NAME]
    pairs += compared_features(session, job, own, minimum_effects)
    rate = job.false_discovery_rate or (rate_of_a_sweep(session) if job.alerts else BY_HAND_RATE)
    verdicts = judge([metric for _, metric in pairs], rate)
    held = {each.windows.subject: each for each in seen}
    by_name = {feature.name: feature for feature in own}

    def changed(windows: Windows, verdict: MetricVerdict) -> str | None:
        if verdict.state not in (DriftState.DRIFT, DriftState.WARNING):
            return None
        subject, metric = windows.subject, verdict.metric_name
        if subject == NO_SUBJECT:
            return moved_feature(session, by_name[metric], windows)
        volume = requests.get(subject, NO_REQUEST).compared
        return moved(metric, held[subject], volume, words.get(subject, NO_QUERY))

    findings = tuple(
        MetricFinding(windows, verdict, changed(windows, verdict))
        for (windows, _), verdict in zip(pairs, verdicts, strict=True)
    )
    sweep = SweepResult(sweep_id, rate, findings)
    if findings:
        _store(session, sweep)
        _note_newest(session, sweep, SweepKind.TIMETABLE if job.alerts else SweepKind.BY_HAND)
    return sweep


_STORED: Final = tuple(
    column.name
    for column in DriftDetection.__table__.columns
    if column.name not in ("id", "tenant_id", "sweep_id", "created_at")
)
_LIST: Final = ", ".join(_STORED)

# PostgreSQL refuses COPY into a table with row-level security, so tests go through a table of the
# connection's own, as batches of events do; single INSERTs would take longer than the sweep.
_CREATE_BATCH: Final = sa.text(
    f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS drift_batch ON COMMIT DELETE ROWS
    AS SELECT {_LIST} FROM mlops.drift_detection WITH NO DATA
    """  # noqa: S608 (column names of the mapping)
)
_EMPTY_BATCH: Final = sa.text("DELETE FROM pg_temp.drift_batch")
_COPY: Final = f"COPY pg_temp.drift_batch ({_LIST}) FROM STDIN"
_STORE: Final = sa.text(
    f"""
    INSERT INTO mlops.drift_detection (id, tenant_id, sweep_id, {_LIST})
    SELECT gen_random_uuid(), CAST(current_setting('app.tenant') AS uuid), :sweep_id, {_LIST}
    FROM pg_temp.drift_batch
    """  # noqa: S608 (column names of the mapping)
)


def _store(session: Session, sweep: SweepResult) -> None:
    session.execute(_CREATE_BATCH)
    session.execute(_EMPTY_BATCH)
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for windows, findings in groupby(sweep.findings, key=lambda finding: finding.windows):
            of_windows = {
                "baseline": windows.baseline.model_dump_json(),
                "current": windows.current.model_dump_json(),
            }
            for finding in findings:
                for row in _rows_of(finding):
                    values = row | of_windows
                    copy.write_row([values[name] for name in _STORED])
    session.execute(_STORE, {"sweep_id": sweep.sweep_id})


def _note_newest(session: Session, sweep: SweepResult, kind: SweepKind) -> None:
    """Of its kind a sweep that began later holds, whichever ends last."""
    subjects = sorted({finding.windows.subject for finding in sweep.findings})
    session.execute(
        _NOTE,
        {
            "sweep_id": sweep.sweep_id,
            "kind": kind.value,
            "functions": [one.function for one in subjects],
            "models": [one.model for one in subjects],
        },
    )


# In the order of the key, so that two sweeps cannot wait for each other.
_NOTE: Final = sa.text(
    """
    INSERT INTO mlops.drift_subjects AS noted (tenant_id, function, model, kind, sweep_id)
    SELECT CAST(current_setting('app.tenant') AS uuid), function, model, :kind, :sweep_id
    FROM unnest(CAST(:functions AS text[]), CAST(:models AS text[])) AS subject (function, model)
    ORDER BY function, model
    ON CONFLICT (tenant_id, function, model, kind) DO UPDATE
    SET sweep_id = excluded.sweep_id, swept_at = excluded.swept_at
    WHERE noted.swept_at <= excluded.swept_at
    """
)


def _rows_of(finding: MetricFinding) -> Iterator[dict[str, Any]]:
    verdict = finding.verdict
    of_metric = {
        "function": finding.function,
        "model": finding.model,
        "metric": finding.metric,
        "threshold": verdict.threshold,
        "verdict": verdict.state.value,
        "change": finding.change,
        "reason": finding.explanation,
    }
    tests = list(zip(verdict.tests, verdict.adjusted_p_values, strict=True))
    if all(test.p_value is None for test in verdict.tests):
        # Nothing was tested: one row says so, and not one for each test that could not be made.
        tests.sort(key=lambda one: one[0].effect_name is not verdict.effect_name)
        del tests[1:]
    for test, adjusted in tests:
        decides = test.effect_name is verdict.effect_name
        yield of_metric | {
            "test": test.name,
            "n_baseline": test.n_baseline,
            "n_current": test.n_current,
            "statistic": test.statistic,
            "p_value": test.p_value,
            "p_adjusted": adjusted,
            "effect_name": test.effect_name.value,
            "effect_size": test.effect_size,
            # Only one effect decides; the others are there to be looked at.
            "minimum_effect": verdict.minimum_effect if decides else None,
            "usual_effect": verdict.usual_effect if decides else None,
        }
