"""One alert for each episode of broken data: from the first sure check to the first good one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.names import bare, command, fingerprint
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.seen import seen_to
from shared.alerts.tables import Alert
from shared.drift.baselines import baselines, was_accepted
from shared.drift.quality import LIMITS, QualityCheck, QualityFinding, QualityState
from shared.drift.rollup_quality import Checked, Lost
from shared.drift.windows import Subject
from shared.drift.wording import checked_said
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.watching import watched_features

KIND: Final = "data_quality"


def tell_of_quality(session: Session, found: Mapping[Subject, Checked]) -> dict[str, Any]:
    """Raise what is broken, resolve what is good again, and sum the checks up for their job.

    Something suspicious, too few values and none at all neither raise nor resolve: unknown is not
    good. Nor is it good that a baseline which moves on with time has seen the fault by now: then
    the share must have come down to what was allowed when the alert was raised. That a field is
    often missing of a function without a past is no news. Checks that look further back than an
    alert's newest ones leave that alert as it is, and so do those of a metric that is not watched.
    """
    one_at_a_time(session)
    own = baselines(session)
    now = session.execute(sa.select(sa.func.now())).scalar_one()
    raised = resolved = 0
    states: Counter[str] = Counter()
    open_ones = _open_alerts(session)
    watched = {feature.name for feature in watched_features(session)}
    for subject, checked in found.items():
        accepted = was_accepted(own, subject.function, subject.model, checked.current.start)
        for finding in checked.findings:
            states[finding.state.value] += 1
            name = fingerprint(
                KIND, subject.function, subject.model, finding.column or "", finding.check
            )
            before = open_ones.get(name)
            if before:
                stored = datetime.fromisoformat(before["current_end"])
                if checked.current.end < seen_to(stored, now):
                    continue
            if finding.column in BY_NAME and finding.column not in watched:
                continue
            if _is_broken(finding):
                if accepted:
                    # The check had begun before somebody called this normal.
                    continue
                raise_alert(
                    session,
                    KIND,
                    name,
                    Severity.WARNING,
                    _message(subject, finding),
                    _details(subject, checked, finding, before),
                )
                raised += 1
            elif before is not None and _is_over(finding, checked, before):
                resolved += resolve_alert(session, name, finding.reason)
    return {
        "functions": len(found),
        "states": dict(states),
        "alerts_raised": raised,
        "alerts_resolved": resolved,
    }


def lost_fields(session: Session) -> Lost:
    """The fields that open alerts say are missing, and what share was usual when those were raised.

    For `check_functions`, which would forget them.
    """
    lost: dict[Subject, dict[str, float]] = {}
    for details in _open_alerts(session).values():
        allowed = details["allowed"]
        if details["check"] == QualityCheck.MISSING and allowed is not None:
            subject = Subject(details["function"], details["model"])
            usual = max(allowed - LIMITS[QualityCheck.MISSING].rise, 0.0)
            lost.setdefault(subject, {})[details["field"]] = usual
    return lost


def one_at_a_time(session: Session) -> None:
    """Have whoever tells of the tenant's data see what the one before has raised or closed."""
    session.execute(_ONE_AT_A_TIME)


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('data_quality:' || current_setting('app.tenant'), 0))"
)


def _open_alerts(session: Session) -> dict[str, dict[str, Any]]:
    query = sa.select(Alert.fingerprint, Alert.details).where(
        Alert.kind == KIND, Alert.resolved_at.is_(None)
    )
    return {row.fingerprint: row.details for row in session.execute(query)}


def _message(subject: Subject, finding: QualityFinding) -> str:
    """What is wrong with which field, and the command that shows more of it."""
    said = f"{checked_said(finding.column, finding.check)} of {subject}: {finding.reason}"
    more = command(
        ("mlops", "drift", "quality"), {"--function": subject.function, "--model": subject.model}
    )
    return f"{bare(said)}; {more}"


def _is_broken(finding: QualityFinding) -> bool:
    if finding.check is QualityCheck.MISSING and finding.baseline is None:
        return False
    return finding.state is QualityState.BROKEN


def _is_over(finding: QualityFinding, checked: Checked, before: Mapping[str, Any]) -> bool:
    if finding.state is not QualityState.GOOD:
        return False
    if checked.set_by_hand or finding.check is QualityCheck.NEW_CATEGORIES:
        # Somebody has said what is normal; and a name that has been there for a while is not new.
        return True
    if finding.value is None:
        return False
    if finding.check is QualityCheck.CONSTANT:
        return finding.value > 1
    allowed = before["allowed"]
    return allowed is None or finding.value <= allowed


def _details(
    subject: Subject,
    checked: Checked,
    finding: QualityFinding,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "function": subject.function,
        "model": subject.model,
        "field": finding.column,
        "check": finding.check.value,
        "value": finding.value,
        "usual": finding.baseline,
        # Of the first check: while it is broken, the baseline gets used to it.
        "allowed": finding.allowed if before is None else before["allowed"],
        "current_start": checked.current.start.isoformat(),
        "current_end": checked.current.end.isoformat(),
    }
