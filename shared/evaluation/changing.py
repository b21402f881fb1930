"""Changing a run that was made: resume what is missing, extend it by seeds, cancel it.

Whoever changes a run locks its row first: one change after the other, each in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.custom.definition import CustomTask
from shared.evaluation.runs import (
    EPISODES_AT_MOST,
    ChooserOf,
    EvaluationError,
    PriceCheck,
    add_episodes,
    assigned,
    each_by_each,
    nanos_of,
    require_prices,
)
from shared.evaluation.standing import spent_nanos
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import ExtendRun, RunBenchmark
from shared.jobs.requests import Cancelling, cancel_all, requeue_all
from shared.jobs.tables import JobRow
from shared.money import dollars
from shared.registry.tables import ModelVersion
from shared.tenancy.tenants import audit

_RESULT = (
    "outcome",
    "reason",
    "raw_reward",
    "steps",
    "duration_ms",
    "violations",
    "answer",
    "recording",
    "trace",
    "finished_at",
)
"What the last attempt left; not what it spent."


@dataclass(frozen=True)
class Resumed:
    queued: int
    "Episodes that are done again, because they ended without a result that counts."
    under_way: int
    "Episodes that are queued or running anyhow."
    stopping: int
    "Of these, running ones that were cancelled: to be resumed once they have ended."


def resume(
    session: Session, run_id: UUID, *, budget_dollars: Decimal | None = None, unpriced: PriceCheck
) -> Resumed:
    """Queue again what ended without a result that counts: exactly that, however many ask.

    Environment errors, cancelled episodes and those that the budget did not allow. What their
    earlier attempts cost stays counted. `budget_dollars` is the run's new limit, all that it has
    cost included; None leaves the limit as it is. Raises `EvaluationError` when the limit is
    spent already, `LookupError` when this tenant has no such run.
    """
    run = _locked(session, run_id)
    if budget_dollars is not None:
        _limit(session, run, budget_dollars, unpriced)
    missing = sa.text("SELECT job_id FROM mlops.episode_results WHERE run_id = :run AND NOT scored")
    # Unscored are also those that have not ended: only failed and cancelled jobs are queued again.
    jobs = sa.select(sa.column("job_id", sa.Uuid)).select_from(
        missing.bindparams(run=run_id).columns(job_id=sa.Uuid).subquery("missing")
    )
    queued = requeue_all(session, jobs)
    if queued:
        _require_left(session, run)
        session.execute(
            sa.update(Episode)
            .where(Episode.job_id.in_(queued))
            .values(dict.fromkeys(_RESULT, sa.null()))
            .execution_options(synchronize_session=False)
        )
        audit(session, "run.resume", str(run_id), {"episodes": len(queued)})
    waiting, stopping = session.execute(
        sa.select(sa.func.count(), sa.func.count().filter(JobRow.cancel_requested_at.is_not(None)))
        .select_from(Episode)
        .join(JobRow, JobRow.id == Episode.job_id)
        .where(Episode.run_id == run_id, JobRow.status.in_(["queued", "running"]))
    ).one()
    return Resumed(len(queued), waiting - len(queued), stopping)


def extend(
    session: Session, job: ExtendRun, chooser: ChooserOf, unpriced: PriceCheck
) -> dict[str, Any]:
    """Add episodes with seeds that the run does not have: its tasks and models, or its A/B test.

    Returns the run's identifier, how many episodes were added, and their seeds. Raises
    `LookupError` when this tenant has no such run, `EvaluationError` when it would grow too
    large, and what `chooser` raises for a test.
    """
    run = _locked(session, job.run_id)
    asked = RunBenchmark.model_validate(run.specification)
    tasks = session.scalars(
        sa.select(EvaluationTask)
        .where(EvaluationTask.id.in_(_of_run(run.id, Episode.task_id)))
        .order_by(EvaluationTask.name)
    ).all()
    seeds = list(islice(_unused_seeds(session, run.id), job.more_seeds))
    units = [(task.name, seed) for seed in seeds for task in tasks]
    if asked.ab is None:
        versions = session.scalars(
            sa.select(ModelVersion)
            .where(ModelVersion.id.in_(_of_run(run.id, Episode.model_version_id)))
            .order_by(ModelVersion.created_at)
        ).all()
        plan = each_by_each(units, versions)
    else:
        plan = assigned(session, run.benchmark, units, chooser(session, asked.ab))
    _require_room(session, run.id, len(plan))
    if run.budget_nanos is not None:
        judging = [task.definition for task in tasks]
        require_prices([one.version for one in plan], _custom_tasks(judging), unpriced)
        _require_left(session, run)
    add_episodes(
        session, run, plan, {task.name: task.id for task in tasks}, priority=asked.priority
    )
    audit(session, "run.extend", str(run.id), {"seeds": seeds, "episodes": len(plan)})
    return {"run_id": str(run.id), "episodes": len(plan), "seeds": seeds}


def cancel(session: Session, run_id: UUID) -> Cancelling:
    """End the run's queued episodes now and ask the workers of the running ones to stop.

    Raises `LookupError` when this tenant has no such run.
    """
    _locked(session, run_id)
    cancelled = cancel_all(session, _of_run(run_id, Episode.job_id))
    audit(session, "run.cancel", str(run_id), cancelled._asdict())
    return cancelled


def _locked(session: Session, run_id: UUID) -> BenchmarkRun:
    run = session.get(BenchmarkRun, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        raise LookupError(f"no run {run_id}")
    return run


def _of_run(run_id: UUID, column: sa.orm.InstrumentedAttribute[UUID]) -> sa.Select[UUID]:
    return sa.select(column).where(Episode.run_id == run_id)


def _limit(session: Session, run: BenchmarkRun, dollars: Decimal, unpriced: PriceCheck) -> None:
    if run.budget_nanos is None:
        used = sa.select(ModelVersion).where(
            ModelVersion.id.in_(_of_run(run.id, Episode.model_version_id))
        )
        definitions = sa.select(EvaluationTask.definition).where(
            EvaluationTask.id.in_(_of_run(run.id, Episode.task_id))
        )
        judging = _custom_tasks(session.scalars(definitions))
        require_prices(session.scalars(used).all(), judging, unpriced)
    before, run.budget_nanos = run.budget_nanos, nanos_of(dollars)
    audit(session, "run.budget", str(run.id), {"nanos": run.budget_nanos, "before": before})


def _custom_tasks(definitions: Iterable[Mapping[str, Any] | None]) -> Iterator[CustomTask]:
    return (CustomTask.model_validate(one) for one in definitions if one is not None)


def _require_left(session: Session, run: BenchmarkRun) -> None:
    spent = spent_nanos(session, run.id)
    if run.budget_nanos is not None and spent >= run.budget_nanos:
        raise EvaluationError(
            f"the run has cost {dollars(spent)} of its budget of"
            f" {dollars(run.budget_nanos)}: give a budget above what it has cost"
        )


def _require_room(session: Session, run_id: UUID, more: int) -> None:
    there = session.scalar(
        sa.select(sa.func.count()).select_from(Episode).where(Episode.run_id == run_id)
    )
    if (there or 0) + more > EPISODES_AT_MOST:
        raise EvaluationError(
            f"the run has {there} episodes, and {more} more are too many; at most"
            f" {EPISODES_AT_MOST} in one run"
        )


def _unused_seeds(session: Session, run_id: UUID) -> Iterator[int]:
    used = set(session.scalars(sa.select(Episode.seed).where(Episode.run_id == run_id).distinct()))
    return (seed for seed in count() if seed not in used)
