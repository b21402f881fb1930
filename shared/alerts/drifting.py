"""One alert for each episode of drift: from the first sweep that finds it to the first without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts import data_quality
from shared.alerts.names import bare, command, fingerprint, sayable
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.seen import seen_to
from shared.alerts.tables import Alert
from shared.drift.baselines import (
    EVERY,
    Baseline,
    BaselineKind,
    SetBaseline,
    accept,
    baseline_of,
    baselines,
    was_accepted,
)
from shared.drift.earlier_baseline import Against, found_against
from shared.drift.effects import Effect, magnitude
from shared.drift.showing import OpenAlert
from shared.drift.sweep import MetricFinding, SweepResult
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.jobs.contracts import WindowOf, WriteCard
from shared.jobs.submission import enqueue
from shared.registry.models import RegistryError, resolve
from shared.telemetry.metrics import Volume
from shared.telemetry.reading import DAY
from shared.tenancy.tenants import actor


def tell_of_drift(session: Session, sweep: SweepResult) -> dict[str, Any]:
    """Raise what drifts, resolve what is stable again, and sum the sweep up for its job.

    The first sweep of an episode also asks for a new card of its model, if that is registered.

    A warning, and a window without enough data, neither raise nor resolve: unknown is not stable.
    Nor is a difference that would matter and is not significant, or too few values to have shown
    what was seen before; nor is it an end that a baseline which moves on with time has seen the
    drift by now: then the values must be as in the baseline of the alert's first sweep, and
    requests as the weeks before its window made them expected. A sweep
    that looks further back than an alert's newest one leaves that alert as it is.
    """
    session.execute(_ONE_AT_A_TIME)
    own = baselines(session)
    now = session.execute(sa.select(sa.func.now())).scalar_one()
    raised = resolved = 0
    begun: dict[str, UUID] = {}
    quiet: list[tuple[_Open, MetricFinding]] = []
    open_ones = _open_ones(session)
    for finding in sweep.findings:
        current = finding.windows.current
        name = fingerprint(KIND, finding.function, finding.model, finding.metric)
        before = open_ones.get(name)
        if before is not None and current.end < seen_to(before.stored_end, now):
            continue
        if finding.verdict.state is DriftState.DRIFT:
            if was_accepted(own, finding.function, finding.model, current.start):
                # The sweep had begun before somebody called this normal.
                continue
            alert = raise_alert(
                session,
                KIND,
                name,
                Severity.WARNING,
                _message(finding),
                _details(sweep, finding, before),
            )
            raised += 1
            if alert.times_seen == 1:
                begun.setdefault(finding.model, alert.id)
        elif before is not None and _shows_none(finding, before):
            quiet.append((before, finding))
    for name, because in _ended(session, quiet, own, sweep.false_discovery_rate):
        resolved += resolve_alert(session, name, because)
    asked = sum(_asked_for_card(session, model, alert) for model, alert in begun.items())
    return summed_up(sweep) | {
        "alerts_raised": raised,
        "alerts_resolved": resolved,
        "cards_asked_for": asked,
    }


def open_alerts(
    session: Session, function: str | None = None, model: str | None = None
) -> tuple[OpenAlert, ...]:
    """Those of drift that nothing has closed, the oldest first. A filter that is None is none."""
    query = (
        sa.select(Alert)
        .where(Alert.kind == KIND, Alert.resolved_at.is_(None))
        .order_by(Alert.raised_at, Alert.fingerprint)
    )
    for field, wanted in (("function", function), ("model", model)):
        if wanted is not None:
            query = query.where(Alert.details[field].astext == wanted)
    return tuple(
        OpenAlert(
            str(row.details.get("function", "")),
            str(row.details.get("model", "")),
            str(row.details.get("metric", "")),
            row.message,
            row.raised_at.astimezone(UTC),
            row.last_seen_at.astimezone(UTC),
            row.times_seen,
        )
        for row in session.scalars(query)
    )


def accept_as_normal(
    session: Session, function: str, model: str, since: datetime | None = None
) -> Accepted:
    """Call normal what the newest sweep saw, and close the alerts of it at once.

    Those of drift and of the data itself, which have one baseline. Whoever tells of either at the
    same time waits, and then knows what is normal.

    Raises `BaselineError` as `baselines.accept` does.
    """
    session.execute(_ONE_AT_A_TIME)
    data_quality.one_at_a_time(session)
    baseline = accept(session, function, model, since)
    own = baselines(session)
    because = f"accepted as the new baseline by {actor()}"
    named = Alert.details["function"].astext, Alert.details["model"].astext
    query = sa.select(Alert.fingerprint, *named).where(
        Alert.kind.in_((KIND, data_quality.KIND)), Alert.resolved_at.is_(None)
    )
    closed = 0
    for name, of_function, of_model in session.execute(query).all():
        # Who has a more particular baseline is not compared with this one.
        of = None if of_function is None else baseline_of(own, of_function, of_model or EVERY)
        if of == baseline:
            closed += resolve_alert(session, name, because)
    return Accepted(baseline, closed)


def summed_up(sweep: SweepResult) -> dict[str, Any]:
    """What a sweep has found, in numbers."""
    states = Counter(finding.verdict.state.value for finding in sweep.findings)
    return {
        "sweep_id": str(sweep.sweep_id),
        "metrics": len(sweep.findings),
        "states": dict(states),
    }


KIND: Final = "drift"


def _message(finding: MetricFinding) -> str:
    """What drifts and how far, and the command that shows more of it."""
    metric, subject = bare(finding.metric), bare(str(finding.windows.subject))
    return f"{metric} of {subject} drifts: {_told(finding)}; {_command(finding)}"


def _told(finding: MetricFinding) -> str:
    """The explanation, in which a category may be named, and a share be said with a sign."""
    told = finding.explanation.replace("<0.1 %", "below 0.1 %").replace(">99.9 %", "above 99.9 %")
    return bare(told)


def _command(finding: MetricFinding) -> str:
    """What shows more of it: the list, where a name cannot be said as it is.

    Without its function or model `show` would draw those of others.
    """
    shown = all(sayable(name) for name in (finding.metric, finding.function, finding.model))
    return command(
        ("mlops", "drift", *(("show", finding.metric) if shown else ("list",))),
        {"--function": finding.function, "--model": finding.model},
    )


@dataclass(frozen=True)
class Accepted:
    """The baseline from now on, and how many alerts it closed."""

    baseline: Baseline
    closed: int


# Of two sweeps of a tenant at once the second sees what the first has raised.
_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended('drift:' || current_setting('app.tenant'), 0))"
)


def _asked_for_card(session: Session, model: str, alert_id: UUID) -> bool:
    """Ask for the model's next card, once for the alerts that open together."""
    try:
        resolve(session, model)
    except RegistryError:
        # Telemetry may name a model that nobody has registered: there is no card of it.
        return False
    enqueue(session, WriteCard(model=model), idempotency_key=f"drift:{alert_id}")
    return True


@dataclass(frozen=True)
class _Open:
    """An alert of drift that nothing has closed."""

    name: str
    raised_at: datetime
    details: Mapping[str, Any]

    @property
    def stored_end(self) -> datetime:
        """The end of the newest window that it was seen in."""
        return datetime.fromisoformat(self.details["current"]["end"])

    @property
    def first_baseline(self) -> dict[str, Any]:
        """Of its first sweep; of one from an earlier version of this that of the newest."""
        first: dict[str, Any] = self.details.get("first_baseline", self.details["baseline"])
        return first

    @property
    def first_current(self) -> dict[str, Any]:
        first: dict[str, Any] = self.details.get("first_current", self.details["current"])
        return first


def _open_ones(session: Session) -> dict[str, _Open]:
    query = sa.select(Alert.fingerprint, Alert.raised_at, Alert.details).where(
        Alert.kind == KIND,
        Alert.resolved_at.is_(None),
        Alert.details["current"]["end"].astext.is_not(None),
        Alert.details["baseline"]["end"].astext.is_not(None),
    )
    return {name: _Open(name, *rest) for name, *rest in session.execute(query)}


def _shows_none(finding: MetricFinding, before: _Open) -> bool:
    """Whether it says that what the alert is of is over, and not only that nothing was shown."""
    verdict = finding.verdict
    if verdict.state is not DriftState.STABLE or verdict.effect_size is None:
        return False
    if magnitude(verdict.effect_name, verdict.effect_size) >= verdict.minimum_effect:
        return False
    # Of requests a small number is what was found, and not a lack of values.
    return verdict.effect_name is Effect.VOLUME_RATIO or _would_show(verdict, before.details)


def _would_show(verdict: MetricVerdict, before: Mapping[str, Any]) -> bool:
    """Whether windows of this size would have shown what was seen in those of the alert.

    The logarithm of a p-value grows with n m / (n + m) where the effect is the same: that of
    Kolmogorov and Smirnov is near 2 exp(-2 n m / (n + m) D^2).
    """
    p_value = before["p_value"]
    then = _worth(before["n_baseline"], before["n_current"])
    if p_value is None or not then:
        return True
    size = _worth(verdict.n_baseline, verdict.n_current) / then
    return bool(p_value**size <= max(verdict.threshold, _SHOWN))


_SHOWN: Final = 0.05
"""A sweep is so strict as many tests at once ask for; this is of one."""


def _worth(n: int, m: int) -> float:
    return n * m / (n + m) if n and m else 0.0


def _ended(
    session: Session,
    quiet: Sequence[tuple[_Open, MetricFinding]],
    own: Sequence[SetBaseline],
    alpha: float,
) -> Iterator[tuple[str, str]]:
    """The alerts that are over, and why: also against what their first sweep compared with."""
    again: list[tuple[_Open, Against]] = []
    for before, finding in quiet:
        first = _compared_with_first(before, finding)
        moved = first != finding.windows.baseline and _moves(own, finding, before.raised_at)
        if moved:
            again.append((before, (finding, first)))
        else:
            yield before.name, finding.explanation
    found = found_against(session, [against for _, against in again], alpha) if again else ()
    for (before, _), finding in zip(again, found, strict=True):
        if _shows_none(finding, before):
            yield before.name, finding.explanation


def _compared_with_first(before: _Open, finding: MetricFinding) -> WindowOf:
    """What the alert's first sweep compared with; of requests the end of the weeks before it."""
    if finding.metric != Volume.REQUESTS:
        return WindowOf.model_validate(before.first_baseline)
    current = WindowOf.model_validate(before.first_current)
    return WindowOf(start=current.start - DAY, end=current.start, function=finding.function)


def _moves(own: Sequence[SetBaseline], finding: MetricFinding, raised_at: datetime) -> bool:
    """Whether what it is compared with moves on with time, and nobody has chosen it since.

    The weeks before move on for requests, whatever baseline other metrics have.
    """
    normal = baseline_of(own, finding.function, finding.model)
    chosen = [one.changed_at for one in own if one.baseline is normal]
    moves = normal.kind is BaselineKind.PREVIOUS or finding.metric == Volume.REQUESTS
    return moves and all(at < raised_at for at in chosen)


def _details(sweep: SweepResult, finding: MetricFinding, before: _Open | None) -> dict[str, Any]:
    verdict = finding.verdict
    baseline, current = (
        window.model_dump(mode="json")
        for window in (finding.windows.baseline, finding.windows.current)
    )
    return {
        "sweep_id": str(sweep.sweep_id),
        "function": finding.function,
        "model": finding.model,
        "metric": finding.metric,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "effect_name": verdict.effect_name.value,
        "effect_size": verdict.effect_size,
        "minimum_effect": verdict.minimum_effect,
        "n_baseline": verdict.n_baseline,
        "n_current": verdict.n_current,
        "baseline": baseline,
        # While it drifts, a baseline that moves on gets used to it.
        "first_baseline": baseline if before is None else before.first_baseline,
        "current": current,
        "first_current": current if before is None else before.first_current,
    }
