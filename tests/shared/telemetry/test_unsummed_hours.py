"""An hour that cannot be summed is told of and keeps its events; it stops nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from shared.alerts.tables import Alert
from shared.alerts.unsummed import tell_of_unsummed_hours
from shared.database import TenantId, system_session, tenant_session
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.health import look
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.retention import keep_for, keep_no_longer
from shared.telemetry.rollups import TOLD_TRIES, roll_up_dirty_hours
from shared.telemetry.tables import DirtyHour, EventRow

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
OLD = HOUR - timedelta(days=40)


def send(tenant: TenantId, times: Sequence[datetime]) -> None:
    lines = [
        json.dumps(
            {
                "kind": "action",
                "event_id": str(uuid4()),
                "occurred_at": at.isoformat(),
                "success": True,
            }
        ).encode()
        for at in times
    ]
    with tenant_session(tenant) as session:
        assert not ingest(session, lines, lambda _: CallCost(None, "none"), NOW).rejected


def spoil(tenant: TenantId, services: TemporaryServices, at: datetime) -> None:
    """An event that no hour can be summed with, as an earlier version might have stored it."""
    send(tenant, [at])
    with psycopg.connect(services.database_owner_url) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
        connection.execute("SELECT set_config('role', 'mlops_app', true)")
        connection.execute(
            "INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model, function,"
            " variant, host, attributes) VALUES (%s, gen_random_uuid(), %s, 'system', 'm', 'f', '',"
            """ 'h', '{"cpu_percent": "n/a"}')""",
            [str(tenant), at],
        )


def mend(tenant: TenantId, services: TemporaryServices) -> None:
    with psycopg.connect(services.database_owner_url) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
        connection.execute("UPDATE mlops.events SET attributes = '{}' WHERE kind = 'system'")


def roll_up(tenant: TenantId) -> tuple[datetime, ...]:
    with tenant_session(tenant) as session:
        hours = roll_up_dirty_hours(session)
        tell_of_unsummed_hours(session)
        return hours


def pass_time(tenant: TenantId) -> None:
    """The pause before a failed hour is tried again is over."""
    with tenant_session(tenant) as session:
        session.execute(sa.update(DirtyHour).values(not_before=sa.func.now()))


def has_hours_to_sum(tenant: TenantId) -> bool:
    with system_session() as session:
        return tenant in session.scalars(sa.text("SELECT mlops.tenants_with_dirty_hours()")).all()


def test_it_is_tried_again_after_a_pause_and_told_of_after_some_tries(
    tenant: TenantId, services: TemporaryServices
) -> None:
    spoil(tenant, services, HOUR)
    for tried in range(TOLD_TRIES):
        with tenant_session(tenant) as session:
            assert look(session, NOW, 1).summing.unsummed is None
            assert session.scalar(sa.select(sa.func.count()).select_from(Alert)) == 0
        pass_time(tenant)
        assert has_hours_to_sum(tenant)
        assert roll_up(tenant) == ()
        assert not has_hours_to_sum(tenant)
        with tenant_session(tenant) as session:
            mark = session.scalars(sa.select(DirtyHour)).one()
            passed = session.scalars(sa.select(sa.func.now())).one()
        assert mark.tries == tried + 1
        assert timedelta(minutes=1) < mark.not_before - passed <= timedelta(hours=1)
    with tenant_session(tenant) as session:
        found = look(session, NOW, 1).summing
        (alert,) = session.scalars(sa.select(Alert))
    assert (found.hours, found.oldest_mark) == (0, None)
    assert found.unsummed is not None
    assert (found.unsummed.hours, found.unsummed.oldest) == (1, HOUR)
    assert "SQLSTATE 22P02" in found.unsummed.failure
    assert alert.message.startswith("1 hours cannot be summed, the oldest 20")

    mend(tenant, services)
    pass_time(tenant)
    assert roll_up(tenant) == (HOUR,)
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(Alert.resolved_at)).one() is not None
        assert look(session, NOW, 1).summing.unsummed is None


def test_what_waits_does_not_keep_other_hours_from_being_summed(
    tenant: TenantId, services: TemporaryServices
) -> None:
    spoil(tenant, services, HOUR)
    send(tenant, [HOUR - timedelta(hours=1)])
    with tenant_session(tenant) as session:
        assert roll_up_dirty_hours(session, at_most=1) == ()
        # The newest hour is not tried again and again before the others have had their turn.
        assert roll_up_dirty_hours(session, at_most=1) == (HOUR - timedelta(hours=1),)


def test_its_events_stay_and_all_other_old_ones_go(
    tenant: TenantId, services: TemporaryServices
) -> None:
    spoil(tenant, services, OLD)
    others = [OLD + timedelta(hours=n) for n in (-30, -1, 1, 30)]
    send(tenant, others)
    with tenant_session(tenant) as session:
        keep_for(session, 30)
    assert sorted(roll_up(tenant)) == others
    for _ in range(2):
        keep_no_longer(NOW, [tenant])
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(EventRow.occurred_at)).all() == [OLD, OLD]
    mend(tenant, services)
    pass_time(tenant)
    assert roll_up(tenant) == (OLD,)
    keep_no_longer(NOW, [tenant])
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(EventRow.occurred_at)).all() == []
