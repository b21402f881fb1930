"""Findings as tables for people, and as plain values for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mlops.console import out, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.drift.baselines import SetBaseline
    from shared.drift.reading import StoredFinding, SubjectSweep
    from shared.jobs.contracts import WindowOf

_WIDE: Final = 100
"From here on there is room for the numbers that a verdict rests on."
_NAMED: Final = 4
"Functions and models that are named in one line; of more there is the number."


def described(finding: StoredFinding) -> dict[str, Any]:
    """A finding as JSON has it."""
    fields = asdict(finding)
    return fields | {
        "verdict": fields.pop("state").value,
        "baseline": finding.baseline.model_dump(mode="json"),
        "current": finding.current.model_dump(mode="json"),
    }


def print_findings(
    found: Sequence[StoredFinding],
    title: str,
    *,
    empty: str,
    with_empty: bool = False,
    newest: bool = False,
) -> None:
    """The worst first; below, what could not be judged, and why.

    What neither window has anything of is only counted, unless `with_empty`, with the command that
    names it: with `newest` of the newest sweep, by hand or not, else of the timetable's.
    """
    from shared.drift.showing import NOT_JUDGED
    from shared.drift.windows import Subject
    from shared.drift.wording import said

    judged = sorted((one for one in found if one.state not in NOT_JUDGED), key=_worst_first)
    columns = ["verdict", "metric", "moved (matters from)"]
    rows: list[tuple[object, ...]] = [
        (said(one.state), f"{one.metric} of {Subject(one.function, one.model)}", _effect(one))
        for one in judged
    ]
    if out.width >= _WIDE:
        columns += ["adjusted p", "n"]
        rows = [
            (
                *row,
                None if one.p_adjusted is None else f"{one.p_adjusted:.2g}",
                f"{one.n_baseline:,} / {one.n_current:,}",
            )
            for row, one in zip(rows, judged, strict=True)
        ]
    else:
        title = title.partition("; ")[0]
    print_table(columns, rows, title=title, empty=empty if not found else "nothing could be judged")
    # Sentences in a column would be wrapped to a word a line.
    for reason, metrics in _by_reason(found, with_empty).items():
        say(f"{reason}: {', '.join(metrics)}")
    never = sum(_never_sent(one) for one in found)
    if never and not with_empty:
        command = "mlops drift list --newest --all" if newest else "mlops drift list --all"
        say(f"{never} more have no data in either window: `{command}` names them")


def print_sweeps(sweeps: Sequence[SubjectSweep], found: Sequence[StoredFinding]) -> None:
    """Of when the sweeps are, of which kind, and which windows they compared."""
    from shared.drift.windows import Subject

    windows = {(one.sweep_id, one.function, one.model): one for one in found}
    subjects: dict[str, list[str]] = {}
    newer: list[tuple[datetime, str]] = []
    for sweep in sweeps:
        one = windows.get((sweep.sweep_id, sweep.function, sweep.model))
        if one is None:
            continue
        subject = str(Subject(sweep.function, sweep.model))
        told = (
            f"{'timetable' if sweep.kind == 'timetable' else 'by hand'},"
            f" {_minute(sweep.swept_at)} UTC: {_period(one.current, sweep)} against"
            f" {_period(one.baseline, sweep)}"
        )
        subjects.setdefault(told, []).append(subject)
        if sweep.newer_at is not None:
            newer.append((sweep.newer_at, subject))
    for told, named in subjects.items():
        say(told if len(subjects) == 1 else f"{told}: {_some(named)}")
    if newer:
        at = max(at for at, _ in newer)
        of = _some([subject for _, subject in newer])
        say(f"a sweep by hand is newer ({_minute(at)} UTC, {of}): `--newest` shows it")


def print_accepted(
    sweeps: Sequence[SubjectSweep], normal: Sequence[SetBaseline], now: datetime
) -> None:
    """What was called normal so lately that it is not judged yet, and from when it is."""
    from shared.drift.baselines import baseline_of
    from shared.drift.windows import Subject

    waiting: dict[datetime, list[str]] = {}
    for sweep in sweeps:
        judged_from = baseline_of(normal, sweep.function, sweep.model).judged_from
        if judged_from is not None and judged_from > now:
            subject = str(Subject(sweep.function, sweep.model))
            waiting.setdefault(judged_from, []).append(subject)
    for judged_from, named in sorted(waiting.items()):
        say(f"accepted as normal, judged again from {_minute(judged_from)} UTC on: {_some(named)}")


def _worst_first(finding: StoredFinding) -> tuple[int, float, str, str, str]:
    from shared.drift.effects import Effect, magnitude
    from shared.drift.verdicts import DriftState

    order = (DriftState.DRIFT, DriftState.WARNING, DriftState.STABLE)
    size, least = finding.effect_size, finding.minimum_effect
    times = 0.0
    if finding.effect_name is not None and size is not None and least is not None:
        times = magnitude(Effect(finding.effect_name), size) / least
    names = finding.function, finding.model, finding.metric
    return order.index(finding.state), -times, *names


def _never_sent(finding: StoredFinding) -> bool:
    from shared.drift.verdicts import DriftState

    return finding.state is DriftState.NO_DATA and finding.n_baseline == finding.n_current == 0


def _effect(finding: StoredFinding) -> str | None:
    """How far it moved, and from where that matters."""
    from shared.drift.effects import Effect, magnitude
    from shared.drift.wording import magnitude_said

    name, size, least = finding.effect_name, finding.effect_size, finding.minimum_effect
    if name is None or size is None or least is None:
        return None
    moved = magnitude(Effect(name), size)
    return f"{magnitude_said(name, moved)} ({magnitude_said(name, least)})"


def _by_reason(found: Sequence[StoredFinding], with_empty: bool) -> dict[str, list[str]]:
    """Why there is no finding, with what that holds for: many share one reason."""
    from shared.drift.showing import NOT_JUDGED
    from shared.drift.windows import Subject
    from shared.drift.wording import said

    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.state in NOT_JUDGED and (with_empty or not _never_sent(one)):
            subject = f"{one.metric} of {Subject(one.function, one.model)}"
            reasons.setdefault(f"{said(one.state)}, {one.reason}", []).append(subject)
    return reasons


def _some(named: Sequence[str]) -> str:
    return ", ".join(named) if len(named) <= _NAMED else f"{len(named)} functions and models"


def _period(window: WindowOf, sweep: SubjectSweep) -> str:
    from datetime import UTC

    from shared.drift.quantities import period

    said = period(window.start.astimezone(UTC), window.end.astimezone(UTC))
    others = [] if window.function in (None, sweep.function) else [f"function {window.function}"]
    if window.model is not None:
        others.append(f"model {window.model}")
    return " of ".join((said, ", ".join(others))) if others else said


def _minute(at: datetime) -> str:
    from datetime import UTC

    from shared.drift.quantities import minute

    return minute(at.astimezone(UTC))
