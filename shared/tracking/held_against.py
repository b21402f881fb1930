"""Runs and experiments as they are stored, held against each other and against what is here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.tracking.comparing import (
    MetricComparison,
    by_episode,
    compare_experiments,
    compare_runs,
)
from shared.tracking.environment import environment_of, installed_packages
from shared.tracking.errors import TrackingError
from shared.tracking.experiments import find_experiment
from shared.tracking.reproducing import Recipe, recipe
from shared.tracking.runs import RunStatus, find_run, packages_of
from shared.tracking.searching import metrics_of
from shared.tracking.tables import Experiment, ExperimentRun, MetricPoint


def runs_compared(session: Session, base: str, other: str) -> list[MetricComparison]:
    """Two runs, metric by metric: pairs where they logged the same episodes."""
    first, second = find_run(session, base), find_run(session, other)
    if first.id == second.id:
        raise TrackingError(f"{base!r:.100} and {other!r:.100} are the same run")
    metrics = metrics_of(session, [first.id, second.id])
    values = {
        run_id: {name: metric.value for name, metric in found.items()}
        for run_id, found in metrics.items()
    }
    return compare_runs(
        values[first.id],
        values[second.id],
        _episodes(session, first.id),
        _episodes(session, second.id),
    )


def experiments_compared(session: Session, base: str, other: str) -> list[MetricComparison]:
    """Two experiments by the last values of their completed runs."""
    first, second = find_experiment(session, base), find_experiment(session, other)
    if first.id == second.id:
        raise TrackingError(f"{base!r:.100} and {other!r:.100} are the same experiment")
    return compare_experiments(_trials(session, first.id), _trials(session, second.id))


def recipe_of(session: Session, reference: str) -> Recipe:
    """How a run is made again, held against this process in the run's folder, where it is."""
    run = find_run(session, reference)
    experiment = session.get_one(Experiment, run.experiment_id)
    there = Path(run.environment.get("folder") or ".")
    folder = there if there.is_dir() else Path.cwd()
    here = environment_of(experiment.configuration, run.environment.get("seed"), folder)
    return recipe(
        run.environment, packages_of(session, run), run.params, here, installed_packages()[1]
    )


def _trials(session: Session, experiment_id: UUID) -> list[Mapping[str, float]]:
    completed = session.scalars(
        sa.select(ExperimentRun.id).where(
            ExperimentRun.experiment_id == experiment_id,
            ExperimentRun.status == RunStatus.COMPLETED,
        )
    ).all()
    found = metrics_of(session, completed)
    return [{name: one.value for name, one in found[run_id].items()} for run_id in completed]


def _episodes(session: Session, run_id: UUID) -> dict[str, dict[str, float]]:
    rows = session.execute(
        sa.select(MetricPoint.name, MetricPoint.episode, MetricPoint.value).where(
            MetricPoint.run_id == run_id,
            MetricPoint.episode.is_not(None),
        )
    )
    return by_episode((row.name, row.episode, row.value) for row in rows)
