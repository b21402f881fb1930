"""Findings as tables for people, and as plain values for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mlops.console import fits, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.drift.baselines import SetBaseline
    from shared.drift.reading import StoredFinding, SubjectSweep
    from shared.jobs.contracts import WindowOf

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
    with_stable: bool = True,
    normal: Sequence[SetBaseline] = (),
) -> None:
    """The worst first; below, what could not be judged, and why, and how many there are of each.

    What neither window has anything of is only counted, unless `with_empty`, with the command that
    names it: with `newest` of the newest sweep, by hand or not, else of the timetable's. So is what
    shows no drift, unless `with_stable`. What was called normal since, by the baselines `normal`,
    is last.
    """
    from shared.drift.showing import NOT_JUDGED
    from shared.drift.verdicts import DriftState

    judged = sorted(
        (one for one in found if one.state not in NOT_JUDGED),
        key=lambda one: (_was_accepted(one, normal), *_worst_first(one)),
    )
    listed = [one for one in judged if with_stable or one.state is not DriftState.STABLE]
    _print_judged(listed, title, _nothing(judged) if found else empty, normal)
    # Sentences in a column would be wrapped to a word a line.
    for reason, metrics in _by_reason(found, with_empty).items():
        say(f"{reason}: {', '.join(metrics)}")
    never = sum(_never_sent(one) for one in found)
    if never and not with_empty:
        command = "mlops drift list --newest --all" if newest else "mlops drift list --all"
        say(f"{never} more have no data in either window: `{command}` names them")
    if found:
        left_out = len(judged) - len(listed)
        say(
            _counted(found, normal)
            + (": `mlops drift list --newest` lists all" if left_out else "")
        )


def _nothing(judged: Sequence[StoredFinding]) -> str:
    """In place of what has moved: requests are compared with weeks of their own, so that they may
    be judged where nothing else can be."""
    from shared.telemetry.metrics import Volume

    if not judged:
        return "nothing could be judged"
    if all(one.metric == Volume.REQUESTS for one in judged):
        return f"nothing but {Volume.REQUESTS.value} could be judged, which has not moved"
    return "nothing has moved"


def _print_judged(
    listed: Sequence[StoredFinding], title: str, empty: str, normal: Sequence[SetBaseline]
) -> None:
    """A table where there is room for it, else two lines each."""
    from shared.drift.windows import Subject
    from shared.drift.wording import counted_said

    columns = ["verdict", "metric", "from, to", "moved (matters from)", "adjusted p", "n"]
    rows = [
        (
            _verdict(one, normal),
            f"{one.metric} of {Subject(one.function, one.model)}",
            one.change,
            _effect(one, "{} ({})"),
            None if one.p_adjusted is None else f"{one.p_adjusted:.2g}",
            f"{one.n_baseline:,} / {one.n_current:,}"
            f"{counted_said(one.metric, one.n_baseline, one.n_current)}",
        )
        for one in listed
    ]
    if not rows or fits(columns, rows):
        print_table(columns, rows, title=title, empty=empty)
        return
    say(title)
    for one, (verdict, metric, change, _, p_value, sizes) in zip(listed, rows, strict=True):
        say(f"{verdict}: {metric}")
        effect = _effect(one, "moved {} (matters from {})")
        told = ", ".join(
            part for part in (effect, p_value and f"adjusted p {p_value}", f"n {sizes}") if part
        )
        say(f"  {told}" if change is None else f"  {change}; {told}")


def _verdict(finding: StoredFinding, normal: Sequence[SetBaseline]) -> str:
    from shared.drift.wording import said

    return "accepted" if _was_accepted(finding, normal) else said(finding.state)


def _was_accepted(finding: StoredFinding, normal: Sequence[SetBaseline]) -> bool:
    """Whether it moved, and what it was seen in was called normal since."""
    from shared.drift.baselines import was_accepted
    from shared.drift.verdicts import DriftState

    return finding.state in (DriftState.DRIFT, DriftState.WARNING) and was_accepted(
        normal, finding.function, finding.model, finding.current.start
    )


def _counted(found: Sequence[StoredFinding], normal: Sequence[SetBaseline]) -> str:
    """`3 drift, 2 slight drift, 40 no drift shown, 5 not judged`: those that there are."""
    from collections import Counter

    from shared.drift.verdicts import DriftState
    from shared.drift.wording import said

    numbers = Counter(_verdict(one, normal) for one in found)
    order = (
        DriftState.DRIFT,
        DriftState.WARNING,
        DriftState.STABLE,
        DriftState.INSUFFICIENT,
        DriftState.NO_DATA,
    )
    words = [*map(said, order), "accepted"]
    return ", ".join(
        f"{numbers[word]:,} {word}"
        for word in words
        if numbers[word] or word == said(DriftState.DRIFT)
    )


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


def _effect(finding: StoredFinding, words: str) -> str | None:
    """How far it moved, and from where that matters, in `words` that have room for both."""
    from shared.drift.effects import Effect, magnitude
    from shared.drift.wording import magnitude_said

    name, size, least = finding.effect_name, finding.effect_size, finding.minimum_effect
    if name is None or size is None or least is None:
        return None
    moved = magnitude(Effect(name), size)
    return words.format(magnitude_said(name, moved), magnitude_said(name, least))


def _by_reason(found: Sequence[StoredFinding], with_empty: bool) -> dict[str, list[str]]:
    """Why there is no finding, with what that holds for: many share one reason."""
    from shared.drift.showing import NOT_JUDGED
    from shared.drift.windows import Subject
    from shared.drift.wording import said

    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.state in NOT_JUDGED and (with_empty or not _never_sent(one)):
            subject = f"{one.metric} of {Subject(one.function, one.model)}"
            reasons.setdefault(f"{said(one.state)}: {one.reason}", []).append(subject)
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
