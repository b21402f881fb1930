"""One alert for each stretch of hours that cost more than they should."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.names import fingerprint
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.tables import Alert
from shared.costs.anomalies import CostRule, CostState, CostVerdict
from shared.costs.watching import Judged

KIND: Final = "cost_anomaly"
TOLD: tuple[CostRule, ...] = (CostRule.HOUR_OF_WEEK, CostRule.PER_REQUEST, CostRule.FIVE_TIMES)
"The literal rule last, and as information: it fires often where there are few calls."


def tell_of_anomalies(
    session: Session, judged: Iterable[Judged], since: datetime
) -> dict[str, Any]:
    """Raise what the newest of the judged hours show, resolve what is normal again.

    The hours are those from `since` on. An hour whose cost is not known, or that has too little
    history, neither raises nor resolves. An alert of an hour before them is resolved as well where
    none of them had a call: it is over, and nothing else would ever say so.
    """
    raised = resolved = hours = 0
    calling: set[Subject] = set()
    for subject in judged:
        if not _is_silent(subject):
            calling.add((subject.model, subject.function))
        hours += len(subject.hours)
        for rule in TOLD:
            verdicts = [v for hour in subject.hours for v in hour.all if v.rule is rule]
            name = fingerprint(KIND, rule.value, subject.model, subject.function)
            newest = next((v for v in reversed(verdicts) if _is_finding(v)), None)
            if newest is None:
                continue
            if newest.anomalous:
                raise_alert(
                    session,
                    KIND,
                    name,
                    Severity.INFO if rule is CostRule.FIVE_TIMES else Severity.WARNING,
                    f"{subject.model}, {subject.function}: {newest.explanation}",
                    _details(subject, newest),
                )
                raised += 1
            else:
                resolved += resolve_alert(session, name, newest.explanation)
    resolved += _close_what_fell_silent(session, calling, since)
    return {"hours": hours, "alerts_raised": raised, "alerts_resolved": resolved}


Subject = tuple[str, str]
"Model and function."


def _is_silent(subject: Judged) -> bool:
    """Whether none of its hours had a call. Of one that is not summed yet nothing is known."""
    return all(
        hour.per_request.state is CostState.NO_DATA
        and hour.five_times.state is not CostState.UNKNOWN
        for hour in subject.hours
    )


def _close_what_fell_silent(session: Session, calling: Collection[Subject], since: datetime) -> int:
    alerts = session.execute(
        sa.select(Alert.fingerprint, Alert.details).where(
            Alert.kind == KIND, Alert.resolved_at.is_(None)
        )
    ).all()
    closed = 0
    for name, details in alerts:
        before = datetime.fromisoformat(details["hour"]) < since
        if before and (details["model"], details["function"]) not in calling:
            because = f"no call was made since {since:%Y-%m-%d %H:%M} UTC"
            closed += resolve_alert(session, name, because)
    return closed


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
