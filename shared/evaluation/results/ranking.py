"""Own runs beside what others have published, on the score that both have.

A published rate is no measurement of ours: it stands there with its source and its date, and every
setting in which an own run is not like it is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final
from uuid import UUID

from shared.evaluation.intervals import Interval
from shared.evaluation.results.published import Settings, Source
from shared.evaluation.results.scores import Rate

ENOUGH_TASKS: Final = 0.8
"Of the tasks of a publication: so many give an own result a place among its results."


@dataclass(frozen=True)
class OwnResult:
    """One model's part of one run, as far as it has ended; at least one episode is scored."""

    run: UUID
    model: str
    kind: str
    "Of the agent; `stand-in` for one that asks the stand-in, which is no language model."
    made_on: date
    tasks: int
    seeds: tuple[int, int]
    "Fewest and most scored seeds of a task."
    max_steps: tuple[int, int]
    "Least and greatest limit of a task."
    strict: Rate
    loose: Rate


@dataclass(frozen=True)
class Place:
    """A line of the leaderboard, sorted by the loose score."""

    place: int | None
    "None for an own result on so few tasks that its rate says little beside the published ones."
    name: str
    own: bool
    kind: str
    rate: float
    "Raw reward above 0."
    interval: Interval | None
    strict: float | None
    "Raw reward 1; None where it is not published."
    episodes: int
    on: date
    source: str
    "Of a published result; of an own one the run's identifier."
    differs: tuple[str, ...] = ()
    "In which settings an own run is not like the published ones."


def leaderboard(
    own: Sequence[OwnResult], published: Sequence[Source], tasks: int
) -> tuple[Place, ...]:
    """All results from best to worst by the loose score; equal rates have the same place.

    An own result on less than `ENOUGH_TASKS` of the published tasks, or of the benchmark's `tasks`
    where nothing is published, has none: easy tasks alone would lead any board.
    """
    needed = ENOUGH_TASKS * max((source.settings.tasks for source in published), default=tasks)
    lines = [
        Place(
            place=None if one.tasks < needed else 0,
            name=one.model,
            own=True,
            kind=one.kind,
            rate=one.loose.count / one.loose.n,
            # One task says nothing of others; the interval for itself is better than none.
            interval=one.loose.clustered or one.loose.interval,
            strict=one.strict.rate,
            episodes=one.loose.n,
            on=one.made_on,
            source=f"run {str(one.run)[:8]}",
            differs=tuple(
                line for source in published for line in differences(one, source.settings)
            ),
        )
        for one in own
    ] + [
        Place(
            place=0,
            name=result.model,
            own=False,
            kind="llm",
            rate=result.rate,
            interval=result.interval,
            strict=None,
            episodes=result.episodes,
            on=result.date,
            source=f"{source.source}, {result.software}",
        )
        for source in published
        for result in source.results
    ]
    rates = [line.rate for line in lines if line.place is not None]
    return tuple(
        line
        if line.place is None
        else replace(line, place=1 + sum(rate > line.rate for rate in rates))
        for line in sorted(lines, key=lambda line: (-line.rate, line.own, line.name, line.source))
    )


def differences(own: OwnResult, there: Settings) -> tuple[str, ...]:
    """In which settings `own` is not like `there`, one phrase each."""
    found = []
    if own.tasks != there.tasks:
        found.append(f"{own.tasks} tasks instead of {there.tasks}")
    if own.seeds != (there.seeds, there.seeds):
        found.append(f"{_range(own.seeds)} seeds per task instead of {there.seeds}")
    if own.max_steps != (there.max_steps, there.max_steps):
        found.append(f"{_range(own.max_steps)} steps at most instead of {there.max_steps}")
    return tuple(found)


def _range(ends: tuple[int, int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"
