"""Making experiments and finding them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.references import by_identifier, near
from shared.tenancy.tenants import audit
from shared.tracking.errors import NotFoundError, TrackingError
from shared.tracking.fitting import required_name, required_text, required_values
from shared.tracking.tables import Experiment, ExperimentRun


@dataclass(frozen=True)
class Listed:
    """An experiment with the number of its runs by how they ended."""

    experiment: Experiment
    runs: Mapping[str, int]
    last_started_at: datetime | None


def create_experiment(
    session: Session,
    name: str,
    *,
    description: str = "",
    hypothesis: str = "",
    tags: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Experiment:
    """A new experiment; the same again is the one that is there.

    Raises `TrackingError` for what cannot be stored, and for a name that is there with something
    else: what its runs were made for must stay what it was.
    """
    given = {
        "description": required_text("the description", description),
        "hypothesis": required_text("the hypothesis", hypothesis),
        "tags": required_values("tag", tags or {}),
        "configuration": required_values("configuration", configuration or {}),
    }
    made: Experiment | None = session.scalar(
        insert(Experiment)
        .values(tenant_id=tenant_of(session), name=required_name("experiment", name), **given)
        .on_conflict_do_nothing()
        .returning(Experiment)
    )
    if made is not None:
        audit(session, "experiment.create", name, given)
        return made
    there = session.scalars(sa.select(Experiment).where(Experiment.name == name)).one()
    other = [field for field, value in given.items() if getattr(there, field) != value]
    if other:
        raise TrackingError(
            f"experiment {name!r} is there with another {' and another '.join(other)}: give the"
            " new one another name"
        )
    return there


def tag_experiment(session: Session, reference: str, tags: Mapping[str, Any]) -> Experiment:
    """Set tags; one with the value None is removed."""
    found = session.get_one(
        Experiment, find_experiment(session, reference).id, with_for_update=True
    )
    both = {**found.tags, **required_values("tag", tags)}
    found.tags = {name: value for name, value in both.items() if value is not None}
    audit(session, "experiment.tag", found.name, {"tags": dict(found.tags)})
    return found


def find_experiment(session: Session, reference: str) -> Experiment:
    """By name, identifier, or the unique beginning of one. Raises `NotFoundError`."""
    reference = str(reference)
    # Nothing that was stored is as long, nor has it NUL.
    if len(reference) <= 1000 and "\x00" not in reference:
        named = session.scalar(sa.select(Experiment).where(Experiment.name == reference))
        if named is not None:
            return named
        found = session.scalars(
            by_identifier(sa.select(Experiment), Experiment.id, reference)
        ).all()
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFoundError(
                f"more than one experiment begins with {reference!r}: give more of it"
            )
    names = session.scalars(sa.select(Experiment.name).order_by(Experiment.created_at.desc())).all()
    raise NotFoundError(f"no experiment {reference[:100]!r}; {near(reference, names)}")


def list_experiments(session: Session, limit: int = 100) -> Sequence[Listed]:
    """The newest first."""
    experiments = session.scalars(
        sa.select(Experiment).order_by(Experiment.created_at.desc(), Experiment.id).limit(limit)
    ).all()
    counts: dict[UUID, dict[str, int]] = {one.id: {} for one in experiments}
    last: dict[UUID, datetime] = {}
    for row in session.execute(
        sa.select(
            ExperimentRun.experiment_id,
            ExperimentRun.status,
            sa.func.count().label("runs"),
            sa.func.max(ExperimentRun.started_at).label("last"),
        )
        .where(ExperimentRun.experiment_id == sa.any_(sa.literal(list(counts), sa.ARRAY(sa.Uuid))))
        .group_by(ExperimentRun.experiment_id, ExperimentRun.status)
    ):
        counts[row.experiment_id][row.status] = row.runs
        last[row.experiment_id] = max(row.last, last.get(row.experiment_id, row.last))
    return [Listed(one, counts[one.id], last.get(one.id)) for one in experiments]
