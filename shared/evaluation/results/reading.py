"""The ended episodes of runs, from PostgreSQL to the pure functions beside this module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.agents.parameters import STAND_IN
from shared.evaluation.protocol import Outcome
from shared.evaluation.results.pairing import Unit
from shared.evaluation.results.played import Played, Side
from shared.evaluation.results.ranking import OwnResult
from shared.evaluation.results.scores import EpisodeScore, Scores, score
from shared.evaluation.runs import EvaluationError
from shared.evaluation.tables import BenchmarkRun
from shared.references import by_identifier


@dataclass(frozen=True)
class ModelScores:
    """One model's part of some runs."""

    model: str
    agent: str
    scores: Scores


_OF_EPISODES: Final = """
    SELECT e.run_id, r.created_at, e.model_version_id, m.name || '@' || v.version AS model, v.agent,
           v.parameters->>'base_url' = :stand_in AS asks_stand_in,
           t.benchmark || '/' || t.name || CASE t.digest WHEN '' THEN '' ELSE '#' || t.digest END
               AS task,
           t.name, t.category, t.difficulty, t.max_steps, e.seed, e.outcome, e.raw_reward,
           e.steps, e.duration_ms, e.input_tokens + e.output_tokens AS tokens, e.llm_calls,
           e.uncounted_calls, e.unpriced_calls, e.cost_nanos,
           CASE jsonb_typeof(e.violations) WHEN 'array' THEN jsonb_array_length(e.violations) END
               AS violations
    FROM mlops.episode_results e
    JOIN mlops.benchmark_runs r ON r.id = e.run_id
    JOIN mlops.evaluation_tasks t ON t.id = e.task_id
    JOIN mlops.model_versions v ON v.id = e.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
"""

_EPISODES = sa.text(
    f"{_OF_EPISODES} WHERE e.run_id = ANY(:runs) AND e.outcome IS NOT NULL"
    " ORDER BY model, task, e.seed"
)

# A version is the same agent in all of its runs, so each task and seed has one say: the last.
_OF_VERSIONS = sa.text(
    f"SELECT DISTINCT ON (model_version_id, task, seed) * FROM ({_OF_EPISODES}"  # noqa: S608 (ours)
    " WHERE e.model_version_id = ANY(:versions) AND e.scored"
    " AND (:benchmark = '' OR r.benchmark = :benchmark)) scored"
    " ORDER BY model_version_id, task, seed, created_at DESC, run_id"
)

_PLAYED = sa.text(
    """
    SELECT m.name || '@' || v.version AS model, t.benchmark || '/' || t.name AS name,
           t.benchmark || '/' || t.name || CASE t.digest WHEN '' THEN '' ELSE '#' || t.digest END
               AS task,
           e.seed, e.outcome, e.steps, e.llm_calls, e.unpriced_calls, e.cost_nanos
    FROM mlops.episode_results e
    JOIN mlops.evaluation_tasks t ON t.id = e.task_id
    JOIN mlops.model_versions v ON v.id = e.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
    WHERE e.run_id = :run
    ORDER BY model, task, e.seed
    """
)

# A run that an A/B test has split over its models has not tried each of them with every unit.
_WHOLE = sa.text(
    """
    SELECT DISTINCT ON (e.model_version_id) e.model_version_id, r.id AS run_id
    FROM mlops.benchmark_runs r JOIN mlops.episode_results e ON e.run_id = r.id
    WHERE r.benchmark = :benchmark AND r.specification->>'ab' IS NULL AND e.scored
    GROUP BY e.model_version_id, r.id, r.created_at
    ORDER BY e.model_version_id, count(*) DESC, r.created_at DESC, r.id
    """
)


def score_models(session: Session, run_ids: Sequence[UUID]) -> list[ModelScores]:
    """The scores of each model over the ended episodes of these runs, by name."""
    found: dict[tuple[str, str], list[EpisodeScore]] = {}
    for row in _rows(session, run_ids):
        found.setdefault((row.model, row.agent), []).append(_episode(row))
    return [
        ModelScores(model, agent, score(episodes)) for (model, agent), episodes in found.items()
    ]


def score_of_each_unit(
    session: Session, version_ids: Sequence[UUID], benchmark: str = ""
) -> dict[UUID, dict[Unit, EpisodeScore]]:
    """The scored episodes of versions over all their runs, of each task and seed the newest.

    Of one benchmark where it is named. A version without any has an empty mapping.
    """
    found: dict[UUID, dict[Unit, EpisodeScore]] = {one: {} for one in version_ids}
    wanted = {"versions": list(version_ids), "benchmark": benchmark, "stand_in": STAND_IN}
    for row in session.execute(_OF_VERSIONS, wanted):
        found[row.model_version_id][row.task, row.seed] = _episode(row)
    return found


def run_named(session: Session, reference: str) -> UUID:
    """The run of that identifier, or of the unique beginning of one. Raises `EvaluationError`."""
    found = session.scalars(
        by_identifier(sa.select(BenchmarkRun.id), BenchmarkRun.id, reference)
    ).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise EvaluationError(f"more than one run begins with {reference!r}: give more of it")
    raise EvaluationError(f"no run {reference[:100]!r}")


def benchmark_of(session: Session, run_id: UUID) -> str:
    """The name of a run's benchmark. Raises NoResultFound where there is no such run."""
    return str(
        session.execute(
            sa.text("SELECT benchmark FROM mlops.benchmark_runs WHERE id = :run"), {"run": run_id}
        ).scalar_one()
    )


def sides(session: Session, run_id: UUID) -> dict[str, Side]:
    """All episodes of a run by model, those that have not ended too."""
    found: dict[str, dict[Unit, Played]] = {}
    for row in session.execute(_PLAYED, {"run": run_id}):
        found.setdefault(row.model, {})[row.task, row.seed] = Played(
            task=row.name,
            outcome=None if row.outcome is None else Outcome(row.outcome),
            steps=row.steps,
            llm_calls=row.llm_calls,
            cost_nanos=None if row.unpriced_calls else row.cost_nanos,
        )
    return dict(found)


def own_results(session: Session, benchmark: str) -> list[OwnResult]:
    """For a leaderboard: of each model the run with the most scored episodes, of equals the newest.

    Runs that an A/B test has split over models are left out.
    """
    chosen = {
        (row.model_version_id, row.run_id)
        for row in session.execute(_WHOLE, {"benchmark": benchmark})
    }
    parts: dict[tuple[UUID, UUID], list[sa.Row[Any]]] = {}
    for row in _rows(session, sorted({run_id for _, run_id in chosen})):
        part = (row.model_version_id, row.run_id)
        if part in chosen:
            parts.setdefault(part, []).append(row)
    return [_own(rows) for rows in parts.values()]


def _rows(session: Session, run_ids: Sequence[UUID]) -> Sequence[sa.Row[Any]]:
    return session.execute(_EPISODES, {"runs": list(run_ids), "stand_in": STAND_IN}).all()


def _own(rows: Sequence[sa.Row[Any]]) -> OwnResult:
    """Of rows of one model in one run, of which one at least is scored."""
    episodes = [_episode(row) for row in rows]
    found = score(episodes)
    seeds = Counter(episode.task for episode in episodes if episode.scored).values()
    limits = [row.max_steps for row in rows]
    return OwnResult(
        run=rows[0].run_id,
        model=rows[0].model,
        kind=STAND_IN if rows[0].asks_stand_in else rows[0].agent,
        made_on=rows[0].created_at.astimezone(UTC).date(),
        tasks=found.tasks,
        seeds=(min(seeds), max(seeds)),
        max_steps=(min(limits), max(limits)),
        loose=found.loose,
        strict=found.strict,
    )


def _episode(row: sa.Row[Any]) -> EpisodeScore:
    values = {name: getattr(row, name) for name in _FIELDS}
    return EpisodeScore(**values | {"outcome": Outcome(row.outcome)})


_FIELDS: Final = tuple(field.name for field in fields(EpisodeScore))
