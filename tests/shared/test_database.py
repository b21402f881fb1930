"""Sessions: one transaction of one tenant each, on connections that outlive neither."""

from __future__ import annotations

import uuid

import psycopg
import pytest
import sqlalchemy as sa

from shared.database import APPLICATION_ROLE, TenantId, engine, system_session, tenant_session
from shared.local.ephemeral import TemporaryServices

_WHO = sa.text("SELECT current_user, current_setting('app.tenant'), current_setting('TimeZone')")
_PID = sa.text("SELECT pg_backend_pid()")


def test_a_session_is_the_application_as_one_tenant(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        assert tuple(session.execute(_WHO).one()) == (APPLICATION_ROLE, str(tenant), "UTC")
    with system_session() as session:
        assert tuple(session.execute(_WHO).one()) == (APPLICATION_ROLE, "", "UTC")


def test_a_failing_block_writes_nothing(tenant: TenantId) -> None:
    insert = sa.text(
        "INSERT INTO mlops.models (id, tenant_id, name) VALUES (gen_random_uuid(), :t, 'x')"
    )
    with pytest.raises(ZeroDivisionError), tenant_session(tenant) as session:
        session.execute(insert, {"t": tenant})
        raise ZeroDivisionError
    with tenant_session(tenant) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.models")) == 0
        assert session.execute(insert, {"t": tenant}) is not None
    with tenant_session(tenant) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.models")) == 1


def test_a_tenant_is_an_identifier_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="UUID"), tenant_session("', true); --"):  # type: ignore[arg-type]
        pass


def test_a_connection_that_the_server_ended_is_replaced(
    tenant: TenantId, services: TemporaryServices
) -> None:
    with tenant_session(tenant) as session:
        before = session.scalar(_PID)
    with psycopg.connect(services.superuser_url, autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    with tenant_session(tenant) as session:
        assert session.scalar(_PID) != before


def test_a_transaction_leaves_nothing_on_its_connection(tenant: TenantId) -> None:
    other = TenantId(uuid.uuid4())
    # Of a pool that earlier tests have filled, the next session may get another connection.
    engine().dispose()
    with tenant_session(tenant) as session:
        first = session.scalar(_PID)
    with tenant_session(other) as session:
        assert session.scalar(_PID) == first
        assert session.execute(_WHO).one()[1] == str(other)
