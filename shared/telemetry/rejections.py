"""Events that were put aside, with the reason and the beginning of their lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.tables import RejectedEvent


@dataclass(frozen=True)
class Rejection:
    """One event that was not stored; `line` is without secrets, and may break off."""

    received_at: datetime
    event: str
    "Its identifier, or `#n` by its place in the batch."
    reason: str
    line: str


@dataclass(frozen=True)
class Rejections:
    """What was put aside: the newest, and how often each reason was given."""

    total: int
    reasons: tuple[tuple[str, int], ...]
    "The most frequent first."
    newest: tuple[Rejection, ...]


def rejections(
    session: Session, since: datetime, reason: str | None = None, *, at_most: int, reasons: int
) -> Rejections:
    """The tenant's rejected events from `since` (aware) on, at most so many of them and reasons.

    With `reason` those alone whose reason holds that text, in any case.
    """
    chosen = [RejectedEvent.received_at >= since]
    if reason is not None:
        chosen.append(RejectedEvent.reason.icontains(reason, autoescape=True))
    n = sa.func.count()
    total = session.scalar(sa.select(n).select_from(RejectedEvent).where(*chosen))
    counted = session.execute(
        sa.select(RejectedEvent.reason, n)
        .where(*chosen)
        .group_by(RejectedEvent.reason)
        .order_by(n.desc(), RejectedEvent.reason)
        .limit(reasons)
    )
    newest = session.execute(
        sa.select(
            RejectedEvent.received_at,
            RejectedEvent.event,
            RejectedEvent.reason,
            RejectedEvent.line,
        )
        .where(*chosen)
        .order_by(RejectedEvent.received_at.desc(), RejectedEvent.digest)
        .limit(at_most)
    )
    return Rejections(
        total or 0,
        tuple((said, times) for said, times in counted),
        tuple(Rejection(*row) for row in newest),
    )
