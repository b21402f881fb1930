"""Benchmark runs: from a contract to episodes, each a job of its own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.benchmarks import NAMES, UnknownBenchmarkError, catalogue
from shared.evaluation.custom.definition import CustomBenchmark, CustomTask, digest
from shared.evaluation.custom.definition import parse as parse_definition
from shared.evaluation.protocol import Task
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import AbSplit, Contract, EvaluateEpisode, RunBenchmark
from shared.jobs.submission import enqueue_all
from shared.money import NANOS
from shared.registry.models import key, resolve
from shared.registry.tables import ModelVersion

EPISODES_AT_MOST = 100_000


class EvaluationError(ValueError):
    """A run that cannot be made or changed as asked; the message is one line."""


class UnknownTaskError(EvaluationError):
    """There is no such benchmark, or it has no such task."""


@dataclass(frozen=True)
class Assigned:
    """What an A/B test gave a unit: the variant, and the model it stands for.

    A unit that takes no part has no variant, and the model of the control.
    """

    variant: str | None
    model: str


Chooser = Callable[[str], Assigned]
ChooserOf = Callable[[Session, AbSplit], Chooser]
PriceCheck = Callable[[ModelVersion | LlmParameters], str | None]
"""Why nothing is known of what the calls of an agent, or of a judge by the endpoint that it asks,
will cost, in one line; None where it is known."""


def create_run(
    session: Session, job: RunBenchmark, chooser: ChooserOf, unpriced: PriceCheck
) -> dict[str, Any]:
    """Make the run, its episodes and their jobs; return the run's identifier and its size.

    `chooser` gives the assignment of an A/B test. Raises `EvaluationError` for a benchmark or
    task that is not there and for a budget that could not be kept, and what `resolve` and
    `chooser` raise for a model or test.
    """
    custom = None if job.definition is None else _custom(job.benchmark, job.definition)
    tasks = _named_tasks(job.benchmark, job.tasks, custom)
    units = [_Unit(task.name, seed) for seed in job.seeds for task in tasks]
    if job.ab is None:
        versions = list({v.id: v for v in (resolve(session, name) for name in job.models)}.values())
        _require_size(len(units) * len(versions))
        plan = each_by_each(units, versions)
    else:
        _require_size(len(units))
        plan = assigned(session, job.benchmark, units, chooser(session, job.ab))
    if job.budget_dollars is not None:
        judged = {} if custom is None else {task.name: task for task in custom.tasks}
        judging = [judged[task.name] for task in tasks if task.name in judged]
        require_prices([one.version for one in plan], judging, unpriced)
    run = BenchmarkRun(
        id=uuid4(),
        tenant_id=tenant_of(session),
        benchmark=job.benchmark,
        function=job.function,
        # Each task's definition is stored with the task.
        specification=job.model_dump(mode="json", exclude={"definition"}),
        budget_nanos=None if job.budget_dollars is None else nanos_of(job.budget_dollars),
    )
    session.add(run)
    session.flush()
    add_episodes(session, run, plan, _stored_tasks(session, tasks, custom), priority=job.priority)
    return {"run_id": str(run.id), "episodes": len(plan)}


class _Unit(NamedTuple):
    task: str
    seed: int


@dataclass(frozen=True)
class Planned:
    """An episode that is to be made."""

    task: str
    seed: int
    version: ModelVersion
    unit_id: str | None = None
    variant: str | None = None


# Seed by seed, so that a run that is stopped half-way has seen every task.


def each_by_each(
    units: Iterable[tuple[str, int]], versions: Sequence[ModelVersion]
) -> list[Planned]:
    """Every model on every (task, seed)."""
    return [Planned(task, seed, version) for task, seed in units for version in versions]


def assigned(
    session: Session, benchmark: str, units: Iterable[tuple[str, int]], choose: Chooser
) -> list[Planned]:
    """On every (task, seed) the model that an A/B test gives it."""
    resolved: dict[str, ModelVersion] = {}
    plan = []
    for task, seed in units:
        unit_id = f"{benchmark}/{task}:{seed}"
        given = choose(unit_id)
        if given.model not in resolved:
            resolved[given.model] = resolve(session, given.model)
        plan.append(Planned(task, seed, resolved[given.model], unit_id, given.variant))
    return plan


def add_episodes(
    session: Session,
    run: BenchmarkRun,
    plan: Sequence[Planned],
    task_ids: Mapping[str, UUID],
    *,
    priority: int,
) -> None:
    """Make the episodes of a plan and their jobs; these are sent with the commit."""
    jobs: list[tuple[UUID, Contract]] = []
    episodes: list[dict[str, Any]] = []
    for planned in plan:
        episode_id, job_id = uuid4(), uuid4()
        jobs.append((job_id, EvaluateEpisode(episode_id=episode_id)))
        episodes.append(
            {
                "id": episode_id,
                "tenant_id": run.tenant_id,
                "run_id": run.id,
                "task_id": task_ids[planned.task],
                "model_version_id": planned.version.id,
                "job_id": job_id,
                "seed": planned.seed,
                "unit_id": planned.unit_id,
                "variant": planned.variant,
            }
        )
    enqueue_all(session, jobs, priority=priority)
    session.execute(sa.insert(Episode), episodes)


def nanos_of(dollars: Decimal) -> int:
    """Nano-dollars of a contract's dollars, which have at most nine decimals."""
    return int(dollars * NANOS)


def check_tasks(
    benchmark: str, names: Sequence[str], custom: CustomBenchmark | None = None
) -> None:
    """Raise `UnknownTaskError` unless the benchmark is there and has all of these tasks."""
    _named_tasks(benchmark, names, custom)


def _custom(benchmark: str, definition: object) -> CustomBenchmark:
    try:
        custom = parse_definition(definition)
    except ValueError as error:
        raise EvaluationError(str(error)) from None
    if custom.name != benchmark:
        raise EvaluationError(f"the definition is of {custom.name!r}, not of {benchmark!r}")
    if custom.name in NAMES:
        raise EvaluationError(f"{custom.name!r} is a benchmark that comes with this program")
    return custom


def _named_tasks(
    benchmark: str, names: Sequence[str], custom: CustomBenchmark | None
) -> Sequence[Task]:
    try:
        known = (
            catalogue(benchmark)
            if custom is None
            else {task.name: task.task(benchmark) for task in custom.tasks}
        )
    except UnknownBenchmarkError as error:
        raise UnknownTaskError(str(error)) from None
    unknown = [name for name in names if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=3)
        hint = f"near it: {', '.join(near)}" if near else f"there is: {', '.join(sorted(known))}"
        raise UnknownTaskError(f"no task {unknown[0]!r} in {benchmark}; {hint}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _require_size(episodes: int) -> None:
    if episodes > EPISODES_AT_MOST:
        raise EvaluationError(f"{episodes} episodes in one run; at most {EPISODES_AT_MOST}")


def require_prices(
    versions: Iterable[ModelVersion], tasks: Iterable[CustomTask], unpriced: PriceCheck
) -> None:
    """Raise `EvaluationError` unless the price of every agent, and of the tasks' judges, is known.

    A budget counts both.
    """
    for version in {version.id: version for version in versions}.values():
        reason = unpriced(version)
        if reason is not None:
            raise EvaluationError(
                f"a budget cannot be kept with {key(version)}: {reason};"
                " give its price with `mlops cost prices import`, or leave the budget out"
            )
    for task in tasks:
        for judge in task.judges():
            reason = unpriced(judge.model.parameters())
            if reason is not None:
                raise EvaluationError(
                    f"a budget cannot be kept with the judge of task {task.name!r}: {reason};"
                    " give its price with `mlops cost prices import`, or leave the budget out"
                )


def _stored_tasks(
    session: Session, tasks: Sequence[Task], custom: CustomBenchmark | None
) -> dict[str, UUID]:
    tenant_id = tenant_of(session)
    defined = {} if custom is None else {task.name: _defined(task) for task in custom.tasks}
    statement = insert(EvaluationTask)
    limits = ("category", "difficulty", "max_steps", "timeout_seconds", "tags", "actions")
    rows = session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "benchmark", "name", "digest"],
            set_={name: statement.excluded[name] for name in limits},
        ).returning(EvaluationTask.name, EvaluationTask.id),
        [
            {
                "id": uuid4(),
                "tenant_id": tenant_id,
                **task.model_dump(mode="json"),
                **defined.get(task.name, {}),
            }
            # One order for all writers: two runs at once must not wait for each other's rows.
            for task in sorted(tasks, key=lambda task: task.name)
        ],
    )
    return {row.name: row.id for row in rows}


def _defined(task: CustomTask) -> dict[str, Any]:
    definition = task.definition()
    return {"digest": digest(definition), "definition": definition}
