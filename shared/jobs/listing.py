"""The newest jobs, and how many there are besides those that are listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.jobs.contracts import IngestEvents
from shared.jobs.tables import JobRow, JobStatus

BACKGROUND: Final = IngestEvents.kind()
"Every episode makes some of these: among them nobody finds what they have submitted."


@dataclass(frozen=True)
class Listing:
    """`jobs` are the newest of the `total` that were asked for.

    `background` are jobs that store telemetry and were left out.
    """

    jobs: Sequence[JobRow]
    total: int
    background: int


def newest(
    session: Session,
    *,
    status: JobStatus | None = None,
    kind: str | None = None,
    background: bool = False,
    limit: int = 50,
) -> Listing:
    """The newest jobs first, of a status and of a kind, or of all.

    Jobs that store telemetry are listed when their kind is asked for, or with `background`.
    """
    wanted = sa.true() if status is None else JobRow.status == status
    if kind is not None:
        wanted &= JobRow.kind == kind
    shown = wanted if background or kind is not None else wanted & (JobRow.kind != BACKGROUND)
    jobs = session.scalars(
        sa.select(JobRow).where(shown).order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
    ).all()
    every, listed = session.execute(
        sa.select(sa.func.count(), sa.func.count().filter(shown)).select_from(JobRow).where(wanted)
    ).one()
    return Listing(jobs, total=listed, background=every - listed)
