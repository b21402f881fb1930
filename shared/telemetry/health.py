"""Whether telemetry gets through: what waits, what was refused, and how the machines are doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.jobs.contracts import IngestBatch
from shared.jobs.tables import JobRow, JobStatus
from shared.settings import settings
from shared.telemetry.names import CAPS
from shared.telemetry.rollups import TOLD_TRIES, Unsummed, unsummed
from shared.telemetry.tables import (
    CustomMetric,
    DirtyHour,
    EventBatch,
    ModelPerformance,
    RejectedEvent,
    TelemetryName,
)


@dataclass(frozen=True)
class Backlog:
    """Batches that were acknowledged and are not stored as events yet."""

    batches: int
    events: int
    size_bytes: int
    limit_bytes: int
    oldest: datetime | None
    failed: int
    "Of the batches: those whose job was tried as often as it may be."


@dataclass(frozen=True)
class Summing:
    """Hours that wait to be summed, and when an hour was last."""

    hours: int
    "Without those that cannot be."
    oldest_hour: datetime | None
    oldest_mark: datetime | None
    "When the hour that waits longest was first marked since it was summed."
    newest_rollup: datetime | None
    unsummed: Unsummed | None
    "What was tried often enough to say that it cannot be summed."


@dataclass(frozen=True)
class Machine:
    """The last sample of a machine, by metric; the names have no `system.` in front."""

    host: str
    at: datetime
    values: Mapping[str, float]


@dataclass(frozen=True)
class TelemetryHealth:
    backlog: Backlog
    summing: Summing
    rejected: int
    "Events since the given time."
    reasons: Mapping[str, int]
    "The most frequent reasons of those."
    full: tuple[str, ...]
    "Fields that have as many names as they may: further ones are stored as `other`."
    machines: tuple[Machine, ...]


def look(session: Session, now: datetime, hours: float) -> TelemetryHealth:
    """How the tenant's telemetry is doing; rejected events and machines of the last `hours`."""
    since = now - timedelta(hours=hours)
    return TelemetryHealth(
        backlog=_backlog(session),
        summing=_summing(session),
        rejected=session.scalar(
            sa.select(sa.func.count()).where(RejectedEvent.received_at >= since)
        )
        or 0,
        reasons=_reasons(session, since),
        full=_full_fields(session),
        machines=_machines(session, since),
    )


def _backlog(session: Session) -> Backlog:
    batches, events, size, oldest = session.execute(
        sa.select(
            sa.func.count(),
            sa.cast(sa.func.coalesce(sa.func.sum(EventBatch.events), 0), sa.BigInteger),
            sa.cast(sa.func.coalesce(sa.func.sum(EventBatch.size_bytes), 0), sa.BigInteger),
            sa.func.min(EventBatch.received_at),
        )
    ).one()
    failed = sa.select(sa.func.count()).where(
        JobRow.kind == IngestBatch.kind(),
        JobRow.status == JobStatus.FAILED,
        JobRow.idempotency_key.in_(sa.select(sa.cast(EventBatch.id, sa.Text))),
    )
    return Backlog(
        batches, events, size, settings().batches_bytes, oldest, session.scalar(failed) or 0
    )


def _summing(session: Session) -> Summing:
    hours, oldest_hour, oldest_mark = session.execute(
        sa.select(
            sa.func.count(), sa.func.min(DirtyHour.hour), sa.func.min(DirtyHour.marked_at)
        ).where(DirtyHour.tries < TOLD_TRIES)
    ).one()
    return Summing(
        hours,
        oldest_hour,
        oldest_mark,
        session.scalar(sa.select(sa.func.max(ModelPerformance.computed_at))),
        unsummed(session),
    )


def _reasons(session: Session, since: datetime) -> dict[str, int]:
    n = sa.func.count()
    rows = session.execute(
        sa.select(RejectedEvent.reason, n)
        .where(RejectedEvent.received_at >= since)
        .group_by(RejectedEvent.reason)
        .order_by(n.desc(), RejectedEvent.reason)
        .limit(5)
    )
    return dict(rows.all())


def _full_fields(session: Session) -> tuple[str, ...]:
    counted = session.execute(
        sa.select(TelemetryName.field, sa.func.count()).group_by(TelemetryName.field)
    )
    return tuple(sorted(field for field, n in counted if n >= CAPS[field]))


def _machines(session: Session, since: datetime) -> tuple[Machine, ...]:
    rows = session.execute(
        sa.select(CustomMetric.host, CustomMetric.name, CustomMetric.latest, CustomMetric.latest_at)
        .where(
            CustomMetric.latest_at >= since,
            CustomMetric.hour >= since - timedelta(hours=1),
            CustomMetric.host != "",
        )
        .order_by(CustomMetric.latest_at)
    )
    values: defaultdict[str, dict[str, float]] = defaultdict(dict)
    newest: dict[str, datetime] = {}
    for host, name, value, at in rows:
        values[host][name.removeprefix("system.")] = value
        newest[host] = at
    return tuple(Machine(host, newest[host], values[host]) for host in sorted(values))
