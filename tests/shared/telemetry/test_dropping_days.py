"""A day that every tenant has closed goes as a whole, in a database of this test's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from migrations.run import upgrade
from shared import database
from shared.database import TenantId, psycopg_url, tenant_session
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.retention import keep_for, keep_no_longer
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import ModelPerformance
from shared.tenancy.tenants import create_tenant, find_tenant

NOW = datetime.now(UTC)


@pytest.fixture
def own_database(
    services: TemporaryServices, with_environment: Callable[..., None]
) -> Iterator[None]:
    owner = sa.make_url(services.database_owner_url)
    name = f"dropping_{uuid.uuid4().hex}"
    server = sa.create_engine(psycopg_url(services.superuser_url), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {owner.username}"))
        owner_url, login_url = (
            sa.make_url(url).set(database=name).render_as_string(hide_password=False)
            for url in (services.database_owner_url, services.database_url)
        )
        upgrade(owner_url, login_url)
        with_environment(DATABASE_URL=login_url, DATABASE_OWNER_URL=owner_url)
        yield
        database.engine().dispose()
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def send(tenant: TenantId, days_ago: int) -> None:
    event = {
        "kind": "action",
        "event_id": str(uuid.uuid4()),
        "occurred_at": (NOW - timedelta(days=days_ago)).isoformat(),
        "success": True,
    }
    with tenant_session(tenant) as session:
        ingest(session, [json.dumps(event).encode()], lambda _: CallCost(None, "none"), NOW)


def partition(days_ago: int) -> str | None:
    name = f"mlops.events_{NOW - timedelta(days=days_ago):%Y%m%d}"
    with database.system_session() as session:
        return session.scalar(sa.text("SELECT to_regclass(:name)::text"), {"name": name})


def test_a_day_is_dropped_once_every_tenant_has_closed_and_summed_it(own_database: None) -> None:
    short, long = create_tenant("short"), create_tenant("long")
    # It is there from the beginning, and reports nothing.
    idle = find_tenant("default")
    for tenant in (short, long):
        send(tenant, 41)
        send(tenant, 40)
        send(tenant, 1)
    with tenant_session(short) as session:
        keep_for(session, 30)
    for _ in range(2):
        keep_no_longer(NOW)
    # One keeps it, and of the other its hour is not summed yet.
    assert partition(40) is not None
    for tenant in (long, idle):
        with tenant_session(tenant) as session:
            keep_for(session, 30)
            roll_up_dirty_hours(session)
    for _ in range(2):
        keep_no_longer(NOW)
    assert partition(40) is not None
    # Of what is not summed its own day is kept, and no other.
    with tenant_session(short) as session:
        assert len(roll_up_dirty_hours(session, at_most=2)) == 2
    keep_no_longer(NOW)
    assert partition(40) is None
    assert partition(41) is not None
    with tenant_session(short) as session:
        roll_up_dirty_hours(session)
    keep_no_longer(NOW)
    assert partition(41) is None
    assert partition(1) is not None
    with tenant_session(long) as session:
        assert len(session.scalars(sa.select(ModelPerformance.hour)).all()) == 3
