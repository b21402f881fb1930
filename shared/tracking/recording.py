"""What a run logs while it runs, stored in batches: what is sent twice is stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.tracking.tables import RunAction, RunArtifact, RunMessage


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a metric. `episode` names what was tried, where that is comparable with the same
    episode of another run."""

    number: int
    name: str
    value: float
    step: int | None
    episode: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    number: int
    role: str
    content: str
    details: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Action:
    number: int
    name: str
    success: bool | None
    duration_ms: int | None
    details: Mapping[str, Any]
    at: datetime


@dataclass
class Batch:
    """What one run has logged since the last one."""

    points: list[Point] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def add(self, entry: Point | Message | Action) -> None:
        match entry:
            case Point():
                self.points.append(entry)
            case Message():
                self.messages.append(entry)
            case Action():
                self.actions.append(entry)

    def joined(self, later: Batch) -> Batch:
        """Both, this one first."""
        return Batch(
            self.points + later.points,
            self.messages + later.messages,
            self.actions + later.actions,
        )

    def __len__(self) -> int:
        return len(self.points) + len(self.messages) + len(self.actions)


# The last value is that of the highest step, then the latest. What has no step comes before all.
_STORE_POINTS: Final = sa.text(
    """
    WITH stored AS (
        INSERT INTO mlops.metric_points
            (tenant_id, run_id, number, name, value, step, episode, at)
        SELECT :tenant_id, :run_id, given.*
        FROM unnest(
            CAST(:numbers AS bigint[]), CAST(:names AS text[]), CAST(:values AS float8[]),
            CAST(:steps AS bigint[]), CAST(:episodes AS text[]), CAST(:ats AS timestamptz[])
        ) AS given
        ON CONFLICT DO NOTHING
        RETURNING number, name, value, step, at
    ), ranked AS (
        SELECT DISTINCT ON (name) name, value, step, at FROM stored
        ORDER BY name, step DESC NULLS LAST, at DESC, number DESC
    ), ranges AS (
        SELECT name, count(*) AS points,
            count(*) FILTER (WHERE value IN ('NaN', 'Infinity', '-Infinity')) AS not_finite,
            min(value) FILTER (WHERE value <> 'NaN') AS minimum,
            max(value) FILTER (WHERE value <> 'NaN') AS maximum
        FROM stored GROUP BY name
    )
    INSERT INTO mlops.run_metrics AS kept
        (tenant_id, run_id, name, value, step, at, points, not_finite, minimum, maximum)
    SELECT :tenant_id, :run_id, name, value, step, at, points, not_finite, minimum, maximum
    FROM ranked JOIN ranges USING (name) ORDER BY name
    ON CONFLICT (tenant_id, run_id, name) DO UPDATE SET
        (value, step, at) = (
            SELECT newest.value, newest.step, newest.at FROM (
                VALUES (kept.value, kept.step, kept.at, 0),
                    (excluded.value, excluded.step, excluded.at, 1)
            ) AS newest (value, step, at, place)
            ORDER BY newest.step DESC NULLS LAST, newest.at DESC, newest.place DESC
            LIMIT 1
        ),
        points = kept.points + excluded.points,
        not_finite = kept.not_finite + excluded.not_finite,
        minimum = least(kept.minimum, excluded.minimum),
        maximum = greatest(kept.maximum, excluded.maximum)
    """
)


def store(session: Session, run_id: UUID, batch: Batch) -> None:
    """Store what a run has logged. Numbers that the run has stored already are passed over."""
    tenant_id = tenant_of(session)
    whose = {"tenant_id": tenant_id, "run_id": run_id}
    if batch.points:
        session.execute(
            _STORE_POINTS,
            {
                **whose,
                "numbers": [one.number for one in batch.points],
                "names": [one.name for one in batch.points],
                "values": [one.value for one in batch.points],
                "steps": [one.step for one in batch.points],
                "episodes": [one.episode for one in batch.points],
                "ats": [one.at for one in batch.points],
            },
        )
    if batch.messages:
        rows = [
            {
                **whose,
                "number": one.number,
                "role": one.role,
                "content": one.content,
                "details": dict(one.details),
                "at": one.at,
            }
            for one in batch.messages
        ]
        session.execute(insert(RunMessage).on_conflict_do_nothing(), rows)
    if batch.actions:
        rows = [
            {
                **whose,
                "number": one.number,
                "name": one.name,
                "success": one.success,
                "duration_ms": one.duration_ms,
                "details": dict(one.details),
                "at": one.at,
            }
            for one in batch.actions
        ]
        session.execute(insert(RunAction).on_conflict_do_nothing(), rows)


def store_artifact(session: Session, run_id: UUID, name: str, sha256: str, size_bytes: int) -> None:
    """A file of the run, whose content is stored; of the same name the last one counts."""
    given = {"sha256": sha256, "size_bytes": size_bytes, "at": sa.func.now()}
    session.execute(
        insert(RunArtifact)
        .values(tenant_id=tenant_of(session), run_id=run_id, name=name, **given)
        .on_conflict_do_update(
            index_elements=[RunArtifact.tenant_id, RunArtifact.run_id, RunArtifact.name], set_=given
        )
    )


def points_of(
    session: Session, run_id: UUID, names: Sequence[str] | None = None, limit: int = 100_000
) -> list[Point]:
    """The values that a run has logged, by metric, step and time."""
    return [
        Point(row.number, row.name, row.value, row.step, row.episode, row.at)
        for row in session.execute(
            sa.text(
                "SELECT number, name, value, step, episode, at FROM mlops.metric_points"
                " WHERE run_id = :run_id AND (CAST(:names AS text[]) IS NULL"
                " OR name = ANY(CAST(:names AS text[])))"
                " ORDER BY name, step NULLS FIRST, at, number LIMIT :limit"
            ),
            {"run_id": run_id, "names": None if names is None else list(names), "limit": limit},
        )
    ]
