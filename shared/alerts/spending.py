"""One alert for each budget and period: it grows with each threshold that is reached, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.tables import Alert
from shared.costs.aggregation import Period
from shared.costs.budgeting import budgets, spent
from shared.costs.budgets import Budget, BudgetState, Standing, judge
from shared.money import call_count, dollars

KIND: Final = "budget"
SEVERITIES: Final[Mapping[int, Severity]] = {
    50: Severity.INFO,
    80: Severity.WARNING,
    100: Severity.CRITICAL,
}
"By the threshold in percent."


@dataclass(frozen=True)
class Told:
    """What a judging of the budgets came to."""

    raised: int
    resolved: int


@dataclass(frozen=True)
class _Known:
    """An alert of this period: what it has told of, and whether it is open."""

    threshold: int
    amount_nanos: int
    open: bool
    ends_before: date


def tell_of_spending(session: Session, hours: Iterable[datetime], now: datetime) -> Told:
    """Raise, escalate and resolve the alerts of the budgets, after these hours were summed.

    Judged are the periods that hold `now`, and the ones before them where one of the `hours` is
    in them: what is told late is told all the same. A threshold is told once in a period, unless
    the amount is changed or less was spent in between. An alert is resolved when less is spent
    than its lowest threshold, when its budget is gone, and by the first judging after its period,
    which may be one of no hours.
    Unknown is neither.
    """
    known = _known_alerts(session)
    touched = {hour.astimezone(UTC).date() for hour in hours}
    today = now.astimezone(UTC).date()
    judged: set[str] = set()
    raised = resolved = 0
    for standing in _standings(session, touched, today):
        fingerprint = _fingerprint(standing)
        judged.add(fingerprint)
        if standing.threshold > _told(standing, known.get(fingerprint, ()), today):
            _raise(session, fingerprint, standing)
            raised += 1
        elif standing.state is BudgetState.OK:
            resolved += resolve_alert(session, fingerprint, "less than half of it is spent")
    for fingerprint, alerts in known.items():
        if fingerprint not in judged and any(one.open for one in alerts):
            over = all(one.ends_before <= today for one in alerts)
            because = "its period is over" if over else "there is no such budget any more"
            resolved += resolve_alert(session, fingerprint, because)
    return Told(raised, resolved)


def is_due(session: Session, now: datetime) -> bool:
    """Whether a period has ended whose alert is still open: then it is to be judged again."""
    today = now.astimezone(UTC).date()
    periods = session.scalars(
        sa.select(Alert.details).where(Alert.kind == KIND, Alert.resolved_at.is_(None))
    )
    return any(
        Period(one["period"]).end(date.fromisoformat(one["starts_on"])) <= today for one in periods
    )


def _standings(session: Session, touched: Collection[date], on: date) -> list[Standing]:
    """Of every budget now, and of its period before if one of the days is in that."""
    asked: list[tuple[Budget, date]] = []
    for budget in budgets(session):
        starts_on = budget.period.start(on)
        asked.append((budget, starts_on))
        before = budget.period.start(starts_on - timedelta(days=1))
        if any(before <= day < starts_on for day in touched):
            asked.append((budget, before))
    found = spent(session, asked)
    return [judge(one, sums, day) for (one, day), sums in zip(asked, found, strict=True)]


def _known_alerts(session: Session) -> dict[str, list[_Known]]:
    """The open alerts of budgets, and those that were raised in as long as a period can last."""
    rows = session.execute(
        sa.select(Alert.fingerprint, Alert.details, Alert.resolved_at).where(
            Alert.kind == KIND,
            sa.or_(
                Alert.resolved_at.is_(None),
                Alert.raised_at > sa.func.now() - timedelta(days=63),
            ),
        )
    )
    found: dict[str, list[_Known]] = {}
    for fingerprint, details, resolved_at in rows:
        one = _Known(
            details["threshold"],
            details["amount_nanos"],
            resolved_at is None,
            Period(details["period"]).end(date.fromisoformat(details["starts_on"])),
        )
        found.setdefault(fingerprint, []).append(one)
    return found


def _told(standing: Standing, alerts: Iterable[_Known], today: date) -> int:
    """The highest threshold of this amount that has been told."""
    # What is over has been told for good, though its alert is resolved.
    over = standing.ends_before <= today
    of_amount = [one for one in alerts if one.amount_nanos == standing.budget.amount_nanos]
    return max((one.threshold for one in of_amount if one.open or over), default=0)


def _raise(session: Session, fingerprint: str, standing: Standing) -> None:
    budget, found = standing.budget, standing.spent
    raise_alert(
        session, KIND, fingerprint, SEVERITIES[standing.threshold], _message(standing), {
            "scope": budget.scope.value,
            "name": budget.name,
            "period": budget.period.value,
            "starts_on": standing.starts_on.isoformat(),
            "threshold": standing.threshold,
            "amount_nanos": budget.amount_nanos,
            "spent_nanos": found.nanos,
            "calls": found.calls,
            "unpriced_calls": found.unpriced_calls,
            "simulated_calls": found.simulated_calls,
            "hard_stop": budget.hard_stop,
        },
    )  # fmt: skip


def _message(standing: Standing) -> str:
    budget, found = standing.budget, standing.spent
    share = found.nanos * 100 // budget.amount_nanos
    beside = []
    if found.unpriced_calls:
        beside.append(f"unpriced: {call_count(found.unpriced_calls)}")
    if found.simulated_calls:
        beside.append(f"{call_count(found.simulated_calls)} at a simulated price")
    stopped = (
        "; further calls are refused"
        if budget.hard_stop and standing.state is BudgetState.EXCEEDED
        else ""
    )
    return (
        f"{share} % of {budget} is spent: {dollars(found.nanos)} since {standing.starts_on}"
        + (f" ({', '.join(beside)})" if beside else "")
        + stopped
    )


def _fingerprint(standing: Standing) -> str:
    budget = standing.budget
    return f"budget:{budget.scope}:{budget.name}:{budget.period}:{standing.starts_on}"
