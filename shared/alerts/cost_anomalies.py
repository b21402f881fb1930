"""One alert for each stretch of hours that cost more than they should."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.costs.anomalies import CostRule, CostState, CostVerdict
from shared.costs.watching import Judged

TOLD: tuple[CostRule, ...] = (CostRule.HOUR_OF_WEEK, CostRule.PER_REQUEST, CostRule.FIVE_TIMES)
"The literal rule last, and as information: it fires often where there are few calls."


def tell_of_anomalies(session: Session, judged: Iterable[Judged]) -> dict[str, Any]:
    """Raise what the newest of the judged hours show, resolve what is normal again.

    An hour whose cost is not known, or that has too little history, neither raises nor resolves.
    """
    raised = resolved = hours = 0
    for subject in judged:
        hours += len(subject.hours)
        for rule in TOLD:
            verdicts = [v for hour in subject.hours for v in hour.all if v.rule is rule]
            fingerprint = f"cost_anomaly:{rule.value}:{subject.model}:{subject.function}"
            newest = next((v for v in reversed(verdicts) if _is_finding(v)), None)
            if newest is None:
                continue
            if newest.anomalous:
                raise_alert(
                    session,
                    "cost_anomaly",
                    fingerprint,
                    Severity.INFO if rule is CostRule.FIVE_TIMES else Severity.WARNING,
                    f"{subject.model}, {subject.function}: {newest.explanation}",
                    _details(subject, newest),
                )
                raised += 1
            else:
                resolved += resolve_alert(session, fingerprint)
    return {"hours": hours, "alerts_raised": raised, "alerts_resolved": resolved}


def _is_finding(verdict: CostVerdict) -> bool:
    return verdict.state in (CostState.NORMAL, CostState.ANOMALY)


def _details(subject: Judged, verdict: CostVerdict) -> dict[str, Any]:
    return {
        "model": subject.model,
        "function": subject.function,
        "rule": verdict.rule.value,
        "hour": verdict.starts_at.isoformat(),
        "span_hours": verdict.span_hours,
        "observed_nanos": verdict.observed_nanos,
        "expected_nanos": verdict.expected_nanos,
        "limit_nanos": verdict.limit_nanos,
        "score": verdict.score,
    }
