"""Episodes as they were recorded, for people to look at again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class RecordedStep:
    """One step; times in milliseconds. None is unknown, also where a sum lacks a part."""

    index: int
    action: Mapping[str, Any] | None
    error: str | None
    reasoning: str
    url: str
    observe_ms: int
    think_ms: int
    act_ms: int
    dom_nodes: int
    observation_sha256: str | None
    screenshot: str | None
    calls: int
    failed_calls: int
    models: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    cost_nanos: int | None

    @property
    def action_line(self) -> str:
        """The action in one line: `fill element=3 text='abc'`."""
        if self.action is None:
            return "no action"
        said = [
            f"{name}={value!r}"
            for name, value in self.action.items()
            if name != "kind" and value is not None
        ]
        return " ".join([str(self.action.get("kind", "?")), *said])


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode. `outcome` is None while it has not ended; spending is that of all attempts."""

    id: UUID
    run_id: UUID
    benchmark: str
    task: str
    category: str
    difficulty: str
    seed: int
    model: str
    variant: str | None
    job_status: str
    outcome: str | None
    scored: bool
    reason: str | None
    raw_reward: float | None
    violations: tuple[str, ...] | None
    answer: str | None
    goal: str | None
    duration_ms: int | None
    attempt: int
    worker: str | None
    finished_at: datetime | None
    llm_calls: int
    unpriced_calls: int
    uncounted_calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    recording: str | None
    steps: tuple[RecordedStep, ...]


@dataclass(frozen=True)
class EpisodeLine:
    """How one episode ended, without its steps. `outcome` is None while it has not."""

    id: UUID
    task: str
    seed: int
    model: str
    job_status: str
    outcome: str | None
    scored: bool
    steps: int | None
    reason: str | None


_LINES = sa.text(
    """
    SELECT r.id, t.name AS task, r.seed, m.name || '@' || v.version AS model, r.job_status,
           r.outcome, r.scored, r.steps, r.reason
    FROM mlops.episode_results r
    JOIN mlops.evaluation_tasks t ON t.id = r.task_id
    JOIN mlops.model_versions v ON v.id = r.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
    WHERE r.run_id = :run AND (:all OR r.outcome = ANY(:outcomes))
    ORDER BY t.name, r.seed, model, r.id
    """
)

_EPISODES = """
    SELECT r.id, r.run_id, t.benchmark, t.name AS task, t.category, t.difficulty, r.seed,
           m.name || '@' || v.version AS model, r.variant, r.job_status, r.outcome, r.scored,
           r.reason, r.raw_reward, r.violations, r.answer, r.goal, r.duration_ms, r.attempt,
           r.worker, r.finished_at, r.llm_calls, r.unpriced_calls, r.uncounted_calls,
           r.input_tokens, r.output_tokens, r.cost_nanos, r.recording, e.trace
    FROM mlops.episode_results r
    JOIN mlops.episodes e ON e.id = r.id
    JOIN mlops.evaluation_tasks t ON t.id = r.task_id
    JOIN mlops.model_versions v ON v.id = r.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
"""
_AT_ONCE = 200


def recorded_episode(session: Session, episode_id: UUID) -> RecordedEpisode:
    """Raises `LookupError` when this tenant has no such episode."""
    row = session.execute(
        sa.text(f"{_EPISODES} WHERE r.id = :id"),
        {"id": episode_id},
    ).one_or_none()
    if row is None:
        raise LookupError(f"no episode {episode_id}")
    return _episode(row._mapping)


def episode_lines(
    session: Session, run_id: UUID, outcomes: Collection[str] = ()
) -> list[EpisodeLine]:
    """A run's episodes by task, seed and model; only those that ended as one of `outcomes`."""
    rows = session.execute(
        _LINES, {"run": run_id, "all": not outcomes, "outcomes": [str(one) for one in outcomes]}
    )
    return [EpisodeLine(**row._mapping) for row in rows]


def recorded_episodes(session: Session, run_id: UUID) -> Iterator[RecordedEpisode]:
    """A run's episodes by task, seed and model, read a few at a time."""
    with session.execute(
        sa.text(f"{_EPISODES} WHERE r.run_id = :run ORDER BY t.name, r.seed, model, r.id"),
        {"run": run_id},
        execution_options={"yield_per": _AT_ONCE},
    ) as rows:
        for row in rows:
            yield _episode(row._mapping)


def _episode(row: Mapping[Any, Any]) -> RecordedEpisode:
    fields = dict(row)
    trace = fields.pop("trace")
    violations = fields.pop("violations")
    return RecordedEpisode(
        **fields,
        violations=None if violations is None else tuple(str(one) for one in violations),
        steps=tuple(_step(step) for step in trace or ()),
    )


def _step(step: Mapping[str, Any]) -> RecordedStep:
    # Steps that were stored before there was a column's worth of detail have less of it.
    spent: Mapping[str, Any] = step.get("spent") or {}
    return RecordedStep(
        index=step["index"],
        action=step["action"],
        error=step["error"],
        reasoning=step["reasoning"],
        url=step.get("url") or "",
        observe_ms=step["observe_ms"],
        think_ms=step["think_ms"],
        act_ms=step["act_ms"],
        dom_nodes=step["dom_nodes"],
        observation_sha256=step.get("observation_sha256"),
        screenshot=step.get("screenshot"),
        calls=spent.get("calls", 0),
        failed_calls=spent.get("failed_calls", 0),
        models=tuple(spent.get("models", ())),
        input_tokens=spent.get("input_tokens"),
        output_tokens=spent.get("output_tokens"),
        cost_nanos=spent.get("cost_nanos"),
    )
