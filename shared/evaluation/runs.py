"""Benchmark runs: from a contract to episodes, each a job of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.evaluation.benchmarks import UnknownBenchmarkError, catalogue
from shared.evaluation.protocol import Task
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import AbSplit, Contract, EvaluateEpisode, RunBenchmark
from shared.jobs.submission import enqueue_all
from shared.registry.models import resolve
from shared.registry.tables import ModelVersion

EPISODES_AT_MOST = 100_000


class EvaluationError(ValueError):
    """A run that cannot be made as asked; the message is one line."""


@dataclass(frozen=True)
class Assigned:
    """What an A/B test gave a unit: the variant, and the model it stands for."""

    variant: str
    model: str


Chooser = Callable[[str], Assigned]


def create_run(
    session: Session, job: RunBenchmark, chooser: Callable[[Session, AbSplit], Chooser]
) -> dict[str, Any]:
    """Make the run, its episodes and their jobs; return the run's identifier and its size.

    `chooser` gives the assignment of an A/B test. Raises `EvaluationError` for a benchmark or
    task that is not there, and what `resolve` and `chooser` raise for a model or test.
    """
    tasks = _tasks(job)
    plan = _plan(session, job, tasks, chooser)
    tenant_id = tenant_of(session)
    run = BenchmarkRun(
        id=uuid4(),
        tenant_id=tenant_id,
        benchmark=job.benchmark,
        function=job.function,
        specification=job.model_dump(mode="json"),
    )
    session.add(run)
    session.flush()
    task_ids = _stored_tasks(session, tasks)
    jobs: list[tuple[UUID, Contract]] = []
    episodes: list[dict[str, Any]] = []
    for planned in plan:
        episode_id, job_id = uuid4(), uuid4()
        jobs.append((job_id, EvaluateEpisode(episode_id=episode_id)))
        episodes.append(
            {
                "id": episode_id,
                "tenant_id": tenant_id,
                "run_id": run.id,
                "task_id": task_ids[planned.task.name],
                "model_version_id": planned.version.id,
                "job_id": job_id,
                "seed": planned.seed,
                "unit_id": planned.unit_id,
                "variant": planned.variant,
            }
        )
    enqueue_all(session, jobs)
    session.execute(sa.insert(Episode), episodes)
    return {"run_id": str(run.id), "episodes": len(episodes)}


@dataclass(frozen=True)
class _Planned:
    task: Task
    seed: int
    version: ModelVersion
    unit_id: str | None = None
    variant: str | None = None


def _tasks(job: RunBenchmark) -> Sequence[Task]:
    try:
        known = catalogue(job.benchmark)
    except UnknownBenchmarkError as error:
        raise EvaluationError(str(error)) from None
    unknown = [name for name in job.tasks if name not in known]
    if unknown:
        raise EvaluationError(
            f"no task {unknown[0]!r} in {job.benchmark}; there is: {', '.join(sorted(known))}"
        )
    return [known[name] for name in dict.fromkeys(job.tasks)] or list(known.values())


def _plan(
    session: Session,
    job: RunBenchmark,
    tasks: Sequence[Task],
    chooser: Callable[[Session, AbSplit], Chooser],
) -> Sequence[_Planned]:
    versions = {v.id: v for v in (resolve(session, name) for name in job.models)}
    episodes = len(job.seeds) * len(tasks) * (len(versions) if job.ab is None else 1)
    if episodes > EPISODES_AT_MOST:
        raise EvaluationError(f"{episodes} episodes in one run; at most {EPISODES_AT_MOST}")
    # Seed by seed, so that a run that is stopped half-way has seen every task.
    units = [(task, seed) for seed in job.seeds for task in tasks]
    if job.ab is None:
        return [_Planned(task, seed, v) for task, seed in units for v in versions.values()]
    choose = chooser(session, job.ab)
    resolved: dict[str, ModelVersion] = {}
    plan = []
    for task, seed in units:
        unit_id = f"{job.benchmark}/{task.name}:{seed}"
        assigned = choose(unit_id)
        if assigned.model not in resolved:
            resolved[assigned.model] = resolve(session, assigned.model)
        plan.append(_Planned(task, seed, resolved[assigned.model], unit_id, assigned.variant))
    return plan


def _stored_tasks(session: Session, tasks: Sequence[Task]) -> dict[str, UUID]:
    tenant_id = tenant_of(session)
    statement = insert(EvaluationTask)
    limits = ("category", "difficulty", "max_steps", "timeout_seconds", "tags", "actions")
    rows = session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "benchmark", "name", "digest"],
            set_={name: statement.excluded[name] for name in limits},
        ).returning(EvaluationTask.name, EvaluationTask.id),
        [
            {"id": uuid4(), "tenant_id": tenant_id, **task.model_dump(mode="json")}
            # One order for all writers: two runs at once must not wait for each other's rows.
            for task in sorted(tasks, key=lambda task: task.name)
        ],
    )
    return {row.name: row.id for row in rows}
