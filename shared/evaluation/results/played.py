"""What one model played of a run, and which episodes of two such sides make no pair, with why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.evaluation.protocol import Outcome
from shared.evaluation.results.pairing import Unit

NOT_IN_RUN: Final = "not in the run"
DEFINED_ANEW: Final = "another definition of the task"
NOT_ENDED: Final = "not ended"


class DifferentVersionsError(ValueError):
    """The runs are not of the same tasks, only of tasks of the same names; one line."""


@dataclass(frozen=True)
class Played:
    """An episode of a run, ended or not, as far as comparing goes. Unknown is None, never 0."""

    task: str
    "With its benchmark and without its definition: two definitions of a task have one of these."
    outcome: Outcome | None
    "None until it has ended."
    steps: int | None = None
    llm_calls: int = 0
    cost_nanos: int | None = 0
    "None where a call of it has no price."

    @property
    def scored(self) -> bool:
        return self.outcome is not None and self.outcome.scored


Side = Mapping[Unit, Played]
"One model's episodes of one run."


@dataclass(frozen=True)
class Unpaired:
    """So many tasks and seeds have no score on both sides, for this reason of each side."""

    count: int
    base: str | None
    "Why the base has no score: an outcome, or one of the reasons above; None where it has one."
    other: str | None


def successes(side: Side) -> dict[Unit, bool]:
    """Whether each scored unit succeeded, strictly."""
    return {
        unit: episode.outcome is Outcome.SUCCESS for unit, episode in side.items() if episode.scored
    }


def unpaired(base: Side, other: Side) -> tuple[Unpaired, ...]:
    """What cannot be compared, the most frequent reasons first."""
    tasks = _Tasks(base), _Tasks(other)
    reasons = Counter(
        (_why_not(unit, base, tasks[0], other), _why_not(unit, other, tasks[1], base))
        for unit in base.keys() | other.keys()
    )
    del reasons[None, None]
    # By words where counts are equal: sets have no order.
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(Unpaired(count, *why) for why, count in ordered)


def require_same_version(base: Side, other: Side) -> None:
    """Raises `DifferentVersionsError` where the sides have tasks of the same names, and each of
    them is defined otherwise in the other run: there is nothing that both have played."""
    if {task for task, _ in base} & {task for task, _ in other}:
        return
    anew = _Tasks(base).names & _Tasks(other).names
    if anew:
        raise DifferentVersionsError(
            f"the runs are of two versions of the benchmark: all {len(anew)} tasks that both have"
            f" are defined otherwise in the other, such as {min(anew)[:200]}"
        )


class _Tasks:
    """The tasks of a side, as they are defined and by their names alone."""

    def __init__(self, side: Side) -> None:
        self.defined = {task for task, _ in side}
        self.names = {episode.task for episode in side.values()}


def _why_not(unit: Unit, side: Side, tasks: _Tasks, across: Side) -> str | None:
    """Why `side` has no score for a unit that it or `across` has; None where it has one."""
    episode = side.get(unit)
    if episode is None:
        anew = across[unit].task in tasks.names and unit[0] not in tasks.defined
        return DEFINED_ANEW if anew else NOT_IN_RUN
    if episode.outcome is None:
        return NOT_ENDED
    return None if episode.scored else episode.outcome.value
