"""Findings as tables for people, and as plain values for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlops.console import print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.drift.reading import StoredFinding


def described(finding: StoredFinding) -> dict[str, Any]:
    """A finding as JSON has it."""
    fields = asdict(finding)
    return fields | {
        "verdict": fields.pop("state").value,
        "baseline": finding.baseline.model_dump(mode="json"),
        "current": finding.current.model_dump(mode="json"),
    }


def print_findings(found: Sequence[StoredFinding], title: str, *, empty: str) -> None:
    """What has moved first, then what is as it was; below, what could not be judged, and why."""
    from shared.drift.verdicts import DriftState
    from shared.drift.wording import said

    order = list(DriftState)[:3][::-1]
    judged = [one for one in found if one.state in order]
    print_table(
        ["function", "model", "metric", "verdict", "moved (matters from)", "adjusted p", "n"],
        [
            (
                one.function,
                one.model,
                one.metric,
                said(one.state),
                _effect(one),
                None if one.p_adjusted is None else f"{one.p_adjusted:.2g}",
                f"{one.n_baseline:,} / {one.n_current:,}",
            )
            for one in sorted(judged, key=lambda one: order.index(one.state))
        ],
        title=title,
        empty=empty if not found else "nothing could be judged",
    )
    # Sentences beside eight columns would be wrapped to a word a line.
    for reason, metrics in _by_reason(found).items():
        say(f"{reason}: {', '.join(metrics)}")


def _effect(finding: StoredFinding) -> str | None:
    """How far it moved, and from where that matters."""
    from shared.drift.effects import Effect, magnitude
    from shared.drift.wording import magnitude_said

    name, size, least = finding.effect_name, finding.effect_size, finding.minimum_effect
    if name is None or size is None or least is None:
        return None
    moved = magnitude(Effect(name), size)
    return f"{magnitude_said(name, moved)} ({magnitude_said(name, least)})"


def _by_reason(found: Sequence[StoredFinding]) -> dict[str, list[str]]:
    """Why there is no finding, with what that holds for: many share one reason."""
    from shared.drift.verdicts import DriftState
    from shared.drift.windows import Subject
    from shared.drift.wording import said

    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.state in (DriftState.NO_DATA, DriftState.INSUFFICIENT):
            subject = f"{one.metric} of {Subject(one.function, one.model)}"
            reasons.setdefault(f"{said(one.state)}, {one.reason}", []).append(subject)
    return reasons
