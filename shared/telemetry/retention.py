"""How long events are kept. Their rollups stay, and are never made again from what is left."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_session
from shared.telemetry.arrivals import remove_old_faults
from shared.telemetry.features.retention import remove_superseded_values
from shared.telemetry.tables import EventBatch, RejectedEvent
from shared.tenancy.tables import Tenant
from shared.tenancy.tenants import audit

FEWEST_DAYS: Final = 1
MOST_DAYS: Final = 800

_REJECTED_DAYS: Final = 30


def keep_for(session: Session, days: int) -> None:
    """Keep the tenant's events for so many days. ValueError for none or too many."""
    if not FEWEST_DAYS <= days <= MOST_DAYS:
        raise ValueError(f"events kept for {days} days; expected {FEWEST_DAYS} to {MOST_DAYS}")
    name, before = session.execute(sa.select(Tenant.name, Tenant.event_days)).one()
    session.execute(sa.update(Tenant).values(event_days=days))
    audit(session, "tenant.retention", name, {"event_days": days, "before": before})


def close_old_hours(session: Session, now: datetime) -> datetime:
    """Close the hours before those whose events the tenant keeps; return the first open one.

    No batch stores an event of a closed hour any more, so that it is never summed again without
    the events that are removed. A closed hour stays closed, also when more days are to be kept
    from now on. `now` is aware.
    """
    # It goes by the server's clock where that is behind `now`: a worker whose clock is ahead must
    # not close what cannot be opened again.
    edge: datetime = session.scalars(sa.select(sa.func.mlops.close_old_hours(now))).one()
    return edge


def remove_closed_events(session: Session, closed_before: datetime, now: datetime) -> int:
    """Remove the tenant's events from before `closed_before`; return how many there were.

    Those of an hour that is not summed yet stay until it is, however long that takes.
    Events that were rejected, and batches that could not be stored, are removed after 30 days.
    """
    long_ago = now - timedelta(days=_REJECTED_DAYS)
    session.execute(sa.delete(RejectedEvent).where(RejectedEvent.received_at < long_ago))
    # What could not be stored in that time never will be, and takes the room of others.
    session.execute(sa.delete(EventBatch).where(EventBatch.received_at < long_ago))
    removed = session.scalar(
        sa.text("SELECT mlops.remove_closed_events(:before)"), {"before": closed_before}
    )
    return int(removed or 0)


def drop_closed_days() -> int:
    """Drop the partitions whose hours are closed for every tenant, and summed; return how many.

    That costs nothing per event, so it comes before `remove_closed_events`, which is for tenants
    that keep fewer days than others.
    """
    with system_session() as session:
        return int(session.scalar(sa.text("SELECT mlops.drop_closed_event_partitions()")) or 0)


def keep_no_longer(now: datetime, tenants: Collection[TenantId] | None = None) -> int:
    """`close_old_hours` and what follows from it, for all tenants unless they are given.

    Values of features go as events do, but for the last of each entity. So do counts of faults,
    once no check can read them.

    Returns how many events were removed one by one.

    A batch that began before its hours were closed may still store into them: what was closed by
    an earlier call is removed, and what this one closes by the next.
    """
    if tenants is None:
        with system_session() as session:
            found = session.scalars(sa.text("SELECT mlops.tenant_ids()")).all()
        tenants = tuple(map(TenantId, found))
    drop_closed_days()
    closed: dict[TenantId, datetime] = {}
    for tenant in tenants:
        with tenant_session(tenant) as session:
            before = session.scalar(sa.select(Tenant.events_from))
            # Once a day: it looks at every value.
            if close_old_hours(session, now) != before:
                remove_superseded_values(session)
                remove_old_faults(session)
        if before is not None:
            closed[tenant] = before
    removed = 0
    for tenant, before in closed.items():
        with tenant_session(tenant) as session:
            removed += remove_closed_events(session, before, now)
    return removed
