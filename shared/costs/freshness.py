"""As of when the sums are that reports are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.tables import CostTracking
from shared.telemetry.tables import DirtyHour, EventBatch


@dataclass(frozen=True)
class Freshness:
    """What a report that is made `as_of` does not know of yet."""

    as_of: datetime
    summed_at: datetime | None
    "When the newest sum was made; None before there is one."
    unsummed_hours: int
    "Hours with events that are in no sum yet."
    oldest_unsummed: datetime | None
    "The earliest of those hours."
    waiting_batches: int
    "Batches that were acknowledged and are not stored as events yet."


def freshness(session: Session, now: datetime) -> Freshness:
    """Of all the tenant's sums; `now` is aware."""
    # A roll-up sums the months of its hours again, and there are few rows of those.
    summed_at = session.scalar(
        sa.select(sa.func.max(CostTracking.computed_at)).where(
            CostTracking.period == Period.MONTH.value
        )
    )
    hours, oldest = session.execute(sa.select(sa.func.count(), sa.func.min(DirtyHour.hour))).one()
    batches = session.scalar(sa.select(sa.func.count()).select_from(EventBatch)) or 0
    return Freshness(now, summed_at, hours, oldest, batches)
