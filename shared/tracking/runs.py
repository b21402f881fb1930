"""A run from its begin to its end, and finding it again.

A run is running as long as its process says so. One that falls silent is killed, at the time when
it was heard of last; should it only have slept, the next word of it brings it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.redaction import redacted, redacted_json
from shared.references import by_identifier, near
from shared.tracking.errors import NotFoundError, TrackingError
from shared.tracking.experiments import find_experiment
from shared.tracking.fitting import required_name, required_values
from shared.tracking.tables import ExperimentRun, PackageSet

SILENT: Final = timedelta(seconds=90)
"A run whose process has not been heard of for so long is killed."
_LONGEST_MESSAGE: Final = 2_000


class RunStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    "An exception ended it, or its author said so."
    KILLED = "killed"
    "Its process ended without a word."


def start_run(
    session: Session,
    experiment: str,
    *,
    name: str | None = None,
    parent: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    packages: tuple[str, Mapping[str, str]] | None = None,
) -> ExperimentRun:
    """Begin a run. `packages` are a digest and what was installed, stored once for all runs.

    Without a name it has the first digits of its identifier. Raises `TrackingError`.
    """
    tenant_id, identifier = tenant_of(session), uuid4()
    if packages is not None:
        session.execute(
            insert(PackageSet)
            .values(tenant_id=tenant_id, digest=packages[0], packages=dict(packages[1]))
            .on_conflict_do_nothing()
        )
    run = ExperimentRun(
        id=identifier,
        tenant_id=tenant_id,
        experiment_id=find_experiment(session, experiment).id,
        parent_id=None if parent is None else find_run(session, parent).id,
        name=identifier.hex[:8] if name is None else required_name("run", name),
        params=required_values("param", redacted_json(dict(params or {}))),
        tags=required_values("tag", tags or {}),
        environment=redacted_json(dict(environment or {})),
        environment_digest=None if packages is None else packages[0],
    )
    session.add(run)
    session.flush()
    session.refresh(run)
    return run


def log_params(session: Session, run_id: UUID, params: Mapping[str, Any]) -> None:
    """Set params. One that has another value already is a `TrackingError`: results rest on it."""
    given = required_values("param", redacted_json(dict(params)))
    run = _open(session, run_id)
    for name, value in given.items():
        if name in run.params and run.params[name] != value:
            raise TrackingError(
                f"param {name!r} of run {run.name!r} is {run.params[name]!r:.60} and cannot become"
                f" {value!r:.60}: start another run for it"
            )
    run.params = {**run.params, **given}


def set_tags(session: Session, reference: str, tags: Mapping[str, Any]) -> ExperimentRun:
    """Set tags, of ended runs too; one with the value None is removed."""
    found = find_run(session, reference)
    run = session.get_one(ExperimentRun, found.id, with_for_update=True, populate_existing=True)
    both = {**run.tags, **required_values("tag", tags)}
    run.tags = {name: value for name, value in both.items() if value is not None}
    return run


def hear_of(session: Session, run_ids: Sequence[UUID]) -> None:
    """Their process lives: so do they, also if they were taken for killed."""
    session.execute(
        sa.update(ExperimentRun)
        .where(
            ExperimentRun.id == sa.any_(sa.literal(list(run_ids), ARRAY(sa.Uuid))),
            ExperimentRun.status.in_((RunStatus.RUNNING, RunStatus.KILLED)),
        )
        .values(status=RunStatus.RUNNING, seen_at=sa.func.now(), ended_at=None, message=None)
        .execution_options(synchronize_session=False)
    )


def complete_run(
    session: Session, run_id: UUID, *, success: bool | None = None, failed: str | None = None
) -> ExperimentRun:
    """End a run; `failed` says why it failed. One that has ended is a `TrackingError`."""
    if success is not None and not isinstance(success, bool):
        raise TrackingError(f"success {success!r:.60}: expected True, False, or None for unknown")
    run = _open(session, run_id)
    run.status = RunStatus.COMPLETED if failed is None else RunStatus.FAILED
    run.success = success
    run.message = None if failed is None else redacted(failed)[:_LONGEST_MESSAGE]
    ended_at = session.scalars(sa.select(sa.func.clock_timestamp())).one()
    run.ended_at = run.seen_at = ended_at
    return run


def end_unfinished(session: Session, run_ids: Sequence[UUID]) -> None:
    """Take runs for killed whose process ends now and has not completed them."""
    session.execute(
        sa.update(ExperimentRun)
        .where(
            ExperimentRun.id == sa.any_(sa.literal(list(run_ids), ARRAY(sa.Uuid))),
            ExperimentRun.status == RunStatus.RUNNING,
        )
        .values(
            status=RunStatus.KILLED,
            seen_at=sa.func.now(),
            ended_at=sa.func.now(),
            message="its process ended and had not completed it",
        )
        .execution_options(synchronize_session=False)
    )


def end_silent_runs(session: Session, now: datetime) -> int:
    """Take the runs of the tenant for killed whose processes have fallen silent; how many."""
    ended = session.scalars(
        sa.update(ExperimentRun)
        .where(ExperimentRun.status == RunStatus.RUNNING, ExperimentRun.seen_at < now - SILENT)
        .values(
            status=RunStatus.KILLED,
            ended_at=ExperimentRun.seen_at,
            message="its process has fallen silent",
        )
        .returning(ExperimentRun.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def find_run(session: Session, reference: str) -> ExperimentRun:
    """By a name that only one run has, an identifier, or the unique beginning of one.

    Raises `NotFoundError`.
    """
    reference = str(reference)
    if len(reference) <= 1000 and "\x00" not in reference:
        named = sa.select(ExperimentRun).where(ExperimentRun.name == reference).limit(2)
        identified = by_identifier(sa.select(ExperimentRun), ExperimentRun.id, reference)
        for query in (named, identified):
            found = session.scalars(query).all()
            if len(found) == 1:
                return found[0]
            if found:
                raise NotFoundError(
                    f"more than one run is {reference[:100]!r}: give more of its identifier"
                )
    newest = sa.select(ExperimentRun.name).order_by(ExperimentRun.started_at.desc()).limit(1000)
    raise NotFoundError(
        f"no run {reference[:100]!r}; {near(reference, session.scalars(newest).all())}"
    )


def packages_of(session: Session, run: ExperimentRun) -> Mapping[str, str] | None:
    """What was installed where the run was; None where nobody knows."""
    if run.environment_digest is None:
        return None
    found = session.get(PackageSet, (run.tenant_id, run.environment_digest))
    return None if found is None else found.packages


def _open(session: Session, run_id: UUID) -> ExperimentRun:
    run = session.get(ExperimentRun, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        raise NotFoundError(f"no run {run_id}")
    if run.status not in (RunStatus.RUNNING, RunStatus.KILLED):
        ended = f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else "some time ago"
        raise TrackingError(f"run {run.name!r} is {run.status} since {ended}: it takes no more")
    return run
