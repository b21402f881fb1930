"""One alert for each episode of drift: from the first sweep that finds it to the first without."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy.orm import Session

from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.drift.sweep import MetricFinding, SweepResult
from shared.drift.verdicts import DriftState


def tell_of_drift(session: Session, sweep: SweepResult) -> dict[str, Any]:
    """Raise what drifts, resolve what is stable again, and sum the sweep up for its job.

    A warning, and a window without enough data, neither raise nor resolve: unknown is not stable.
    """
    raised = resolved = 0
    for finding in sweep.findings:
        fingerprint = f"drift:{finding.model}:{finding.metric}:{sweep.current.function or ''}"
        if finding.verdict.state is DriftState.DRIFT:
            raise_alert(
                session,
                "drift",
                fingerprint,
                Severity.WARNING,
                f"{finding.metric} of {finding.model} drifts: {finding.explanation}",
                _details(sweep, finding),
            )
            raised += 1
        elif finding.verdict.state is DriftState.STABLE:
            resolved += resolve_alert(session, fingerprint)
    states = Counter(finding.verdict.state.value for finding in sweep.findings)
    return {
        "sweep_id": str(sweep.sweep_id),
        "metrics": len(sweep.findings),
        "states": dict(states),
        "alerts_raised": raised,
        "alerts_resolved": resolved,
    }


def _details(sweep: SweepResult, finding: MetricFinding) -> dict[str, Any]:
    verdict = finding.verdict
    return {
        "sweep_id": str(sweep.sweep_id),
        "model": finding.model,
        "metric": finding.metric,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "effect_name": verdict.effect_name.value,
        "effect_size": verdict.effect_size,
        "minimum_effect": verdict.minimum_effect,
        "n_baseline": verdict.n_baseline,
        "n_current": verdict.n_current,
        "baseline": sweep.baseline.model_dump(mode="json"),
        "current": sweep.current.model_dump(mode="json"),
    }
