"""Old events go, their rollups stay, and no hour is summed again without what was removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.drift.baselines import Baseline, BaselineKind, remove_baseline, set_baseline
from shared.telemetry.arrivals import Arrived, Faults, count_faults, faults, remove_old_faults
from shared.telemetry.ingestion import CallCost, IngestCounts, ingest
from shared.telemetry.reading import Window
from shared.telemetry.retention import close_old_hours, keep_for, keep_no_longer
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import DirtyHour, EventFault, EventRow, ModelPerformance
from shared.tenancy.tables import Tenant
from shared.tenancy.tenants import create_tenant
from tests.shared.drift import rollups

NOW = datetime.now(UTC)


def send(tenant: TenantId, *days_ago: int) -> IngestCounts:
    lines = [
        json.dumps(
            {
                "kind": "action",
                "event_id": str(uuid4()),
                "occurred_at": (NOW - timedelta(days=days)).isoformat(),
                "success": True,
            }
        ).encode()
        for days in days_ago
    ]
    with tenant_session(tenant) as session:
        return ingest(session, lines, lambda _: CallCost(None, "none"), NOW)


def roll_up(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        roll_up_dirty_hours(session)


def keep(tenant: TenantId, days: int) -> None:
    with tenant_session(tenant) as session:
        keep_for(session, days)


def ages(tenant: TenantId, time: sa.ColumnElement[datetime]) -> Sequence[int]:
    with tenant_session(tenant) as session:
        times = session.scalars(sa.select(time)).all()
    return sorted(round((NOW - at) / timedelta(days=1)) for at in times)


@pytest.fixture
def with_old_events(tenant: TenantId) -> TenantId:
    assert send(tenant, 1, 20, 40, 80).stored == 4
    roll_up(tenant)
    return tenant


def test_events_are_removed_after_their_days_and_their_rollups_stay(
    with_old_events: TenantId,
) -> None:
    keep(with_old_events, 30)
    keep_no_longer(NOW, [with_old_events])
    # What has just been closed may still be written by a batch that began before.
    assert len(ages(with_old_events, EventRow.occurred_at)) == 4
    keep_no_longer(NOW, [with_old_events])
    assert ages(with_old_events, EventRow.occurred_at) == [1, 20]
    assert len(ages(with_old_events, ModelPerformance.hour)) == 4


def test_an_event_of_a_closed_hour_is_refused_also_when_more_days_are_kept_later(
    with_old_events: TenantId,
) -> None:
    keep(with_old_events, 30)
    keep_no_longer(NOW, [with_old_events])
    keep(with_old_events, 90)
    keep_no_longer(NOW, [with_old_events])
    counts = send(with_old_events, 40)
    assert (counts.stored, len(counts.rejected)) == (0, 1)
    assert "not kept longer" in counts.rejected[0].reason
    assert send(with_old_events, 20).stored == 1


def test_nothing_is_removed_before_it_is_summed(with_old_events: TenantId) -> None:
    assert send(with_old_events, 81).stored == 1
    keep(with_old_events, 30)
    for _ in range(3):
        keep_no_longer(NOW, [with_old_events])
    assert ages(with_old_events, EventRow.occurred_at) == [1, 20, 81]
    roll_up(with_old_events)
    keep_no_longer(NOW, [with_old_events])
    assert ages(with_old_events, EventRow.occurred_at) == [1, 20]
    with tenant_session(with_old_events) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(DirtyHour)) == 0


def test_other_tenants_keep_theirs(with_old_events: TenantId, tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid4()}")
    send(other, 40)
    roll_up(other)
    keep(with_old_events, 30)
    for _ in range(2):
        keep_no_longer(NOW, [with_old_events, other])
    assert len(ages(other, EventRow.occurred_at)) == 1


@pytest.mark.parametrize("days", [0, -5, 801])
def test_the_days_have_bounds(tenant: TenantId, days: int) -> None:
    with tenant_session(tenant) as session, pytest.raises(ValueError, match="expected 1 to 800"):
        keep_for(session, days)


def test_the_application_says_how_many_days_are_kept_and_not_when_they_end(
    tenant: TenantId,
) -> None:
    with tenant_session(tenant) as session:
        for change, refused in (
            ({"events_from": NOW}, "permission denied"),
            ({"event_days": 0}, "tenants_event_days_check"),
            ({"event_days": 801}, "tenants_event_days_check"),
        ):
            with pytest.raises(sa.exc.DBAPIError, match=refused), session.begin_nested():
                session.execute(sa.update(Tenant).values(**change))
        keep_for(session, 1)
        closed = close_old_hours(session, NOW + timedelta(days=400))
    assert closed == NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def test_every_tenant_is_looked_after_unless_some_are_named(tenant: TenantId) -> None:
    keep_no_longer(NOW)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(Tenant.events_from)) is not None


def test_a_clock_that_is_ahead_closes_nothing_that_is_kept(with_old_events: TenantId) -> None:
    for _ in range(2):
        keep_no_longer(NOW + timedelta(days=400), [with_old_events])
    assert len(ages(with_old_events, EventRow.occurred_at)) == 4
    assert send(with_old_events, 80).stored == 1


def test_counts_of_what_was_wrong_go_once_no_check_reads_them(services: object) -> None:
    older = TenantId(uuid4())
    ages_of = 300, 100, 60, 20
    at = {
        days: (NOW - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
        for days in ages_of
    }
    hour = {days: Window(start, start + timedelta(hours=1)) for days, start in at.items()}
    with tenant_session(older) as session:
        long_ago = NOW - timedelta(days=400)
        session.add(
            Tenant(id=older, name=f"older-{older}", created_at=long_ago, faults_from=long_ago)
        )
        session.flush()
        for start in at.values():
            count_faults(session, start, Faults({Arrived.again("buyer@1", "shop", start): 1}))
        keep_for(session, 1)
        fixed = Baseline(BaselineKind.FIXED, window=hour[100])
        rollups.roll_up(session, hour[100].start, {}, function="shop")
        set_baseline(session, "shop", "", fixed)
    keep_no_longer(NOW, [older])
    assert ages(older, EventFault.hour) == [20, 60, 100]
    with tenant_session(older) as session:
        assert faults(session, hour[100])
        # What was removed is not known, and not nothing.
        assert faults(session, hour[300]) is None
        remove_baseline(session, "shop", "")
        length = timedelta(days=30)
        set_baseline(session, "shop", "", Baseline(BaselineKind.PREVIOUS, length))
        assert remove_old_faults(session) == 1
        remove_baseline(session, "shop", "")
        assert remove_old_faults(session) == 1
        assert faults(session, hour[20])
        assert faults(session, hour[60]) is None
    assert ages(older, EventFault.hour) == [20]


def test_counts_stay_while_events_of_their_time_do(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        start = (NOW - timedelta(days=60)).replace(minute=0, second=0, microsecond=0)
        count_faults(session, start, Faults({Arrived.again("buyer@1", "shop", start): 1}))
    keep_no_longer(NOW, [tenant])
    assert ages(tenant, EventFault.hour) == [60]
