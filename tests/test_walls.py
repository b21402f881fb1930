"""The wall between tenants is PostgreSQL's: no statement of the application looks over it."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, ProgrammingError

from migrations.run import upgrade
from shared.database import TenantId, psycopg_url, system_session, tenant_session
from shared.jobs.contracts import RollUp
from shared.jobs.submission import enqueue
from shared.local.ephemeral import TemporaryServices
from shared.tables import metadata
from shared.tenancy.tenants import create_tenant

TENANT_TABLES = sorted(
    table.name for table in metadata.tables.values() if "tenant_id" in table.columns
)


@pytest.fixture
def owner(services: TemporaryServices) -> sa.Connection:
    engine = sa.create_engine(psycopg_url(services.database_owner_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def test_every_table_that_knows_a_tenant_is_walled(owner: sa.Connection) -> None:
    """Also the partitions, also against the owner."""
    rows = owner.execute(
        sa.text(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
            " WHERE c.relnamespace = 'mlops'::regnamespace AND c.relkind IN ('r', 'p')"
        )
    ).all()
    assert {name for name, _, _ in rows} >= set(TENANT_TABLES)
    assert [name for name, enabled, forced in rows if not (enabled and forced)] == []


def test_the_owner_sees_no_rows_either(owner: sa.Connection, tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        enqueue(session, RollUp())
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.jobs")) == 1
    # What the migrations made of this role decides, and not only the flags of the tables.
    for table in (*TENANT_TABLES, "tenants"):
        assert owner.scalar(sa.text(f"SELECT count(*) FROM mlops.{table}")) == 0, table
    members = sa.text("SELECT pg_has_role(current_user, 'mlops_definer', 'USAGE')")
    assert owner.scalar(members) is False


def test_nobody_can_slip_a_table_under_a_function(owner: sa.Connection) -> None:
    """pg_temp is searched first for tables and types unless it is named last."""
    functions = owner.execute(
        sa.text(
            "SELECT proname, proconfig FROM pg_proc"
            " WHERE pronamespace = 'mlops'::regnamespace AND prosecdef"
        )
    ).all()
    assert len(functions) >= 8
    for name, configuration in functions:
        assert configuration == ["search_path=pg_catalog, pg_temp"], name


def test_every_unique_constraint_of_a_tenants_table_holds_its_tenant() -> None:
    for table in metadata.tables.values():
        if "tenant_id" not in table.columns:
            continue
        for constraint in table.constraints:
            if isinstance(constraint, sa.UniqueConstraint):
                assert "tenant_id" in constraint.columns, f"{table.name}: {constraint.name}"


def test_views_ask_with_the_rights_of_their_reader(owner: sa.Connection) -> None:
    options = owner.scalars(
        sa.text(
            "SELECT reloptions::text FROM pg_class"
            " WHERE relnamespace = 'mlops'::regnamespace AND relkind = 'v'"
        )
    ).all()
    assert options
    assert all("security_invoker=true" in option for option in options)


def test_the_application_is_neither_owner_nor_superuser(services: TemporaryServices) -> None:
    with system_session() as session:
        row = session.execute(
            sa.text(
                "SELECT current_user, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles"
                " WHERE rolname = current_user"
            )
        ).one()
        owners = session.scalars(
            sa.text(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
                " WHERE relnamespace = 'mlops'::regnamespace"
            )
        ).all()
    assert tuple(row) == ("mlops_app", False, False, False)
    assert "mlops_app" not in owners


@pytest.mark.parametrize("table", TENANT_TABLES)
def test_without_a_tenant_there_are_no_rows(tenant: TenantId, table: str) -> None:
    with system_session() as session:
        assert session.scalar(sa.text(f"SELECT count(*) FROM mlops.{table}")) == 0


def test_a_tenant_sees_and_changes_only_its_own(tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid.uuid4()}")
    with tenant_session(other) as session:
        session.execute(
            sa.text("INSERT INTO mlops.dirty_hours (tenant_id, hour) VALUES (:t, now())"),
            {"t": other},
        )
    with tenant_session(tenant) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.dirty_hours")) == 0
        assert session.execute(sa.text("UPDATE mlops.dirty_hours SET hour = hour")).rowcount == 0
        assert session.execute(sa.text("DELETE FROM mlops.dirty_hours")).rowcount == 0
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.tenants")) == 1


def test_a_row_cannot_be_written_into_another_tenant(tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid.uuid4()}")
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenant_session(tenant) as session,
    ):
        session.execute(
            sa.text("INSERT INTO mlops.models (id, tenant_id, name) VALUES (:id, :t, 'x')"),
            {"id": uuid.uuid4(), "t": other},
        )


def test_the_tenant_of_a_session_ends_with_it(tenant: TenantId) -> None:
    """A pooled connection must not carry the last tenant into the next session."""
    with tenant_session(tenant) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.tenants")) == 1
    for _ in range(10):
        with system_session() as session:
            assert session.scalar(sa.text("SELECT count(*) FROM mlops.tenants")) == 0


KEPT = (
    "ab_looks",
    "audit_log",
    "benchmark_runs",
    "drift_detection",
    "events",
    "feature_store",
    "feature_values",
    "model_cards",
    "model_deployments",
    "models",
    "stated_performance",
)
REMOVED = (
    "ab_copies",
    "ab_looks",
    "ab_units",
    "artifacts",
    "budgets",
    "cost_tracking",
    "custom_metrics",
    "daily_performance",
    "dirty_days",
    "dirty_hours",
    "drift_baselines",
    "drift_effects",
    "error_messages",
    "event_batches",
    "exposures",
    "llm_model_costs",
    "model_aliases",
    "model_performance",
    "price_overrides",
    "rejected_events",
    "unit_events",
)


@pytest.mark.parametrize(
    "statement",
    [
        *(f"UPDATE mlops.{table} SET tenant_id = tenant_id" for table in KEPT),
        *(f"DELETE FROM mlops.{table}" for table in TENANT_TABLES if table not in REMOVED),
        *(f"TRUNCATE mlops.{table}" for table in TENANT_TABLES),
        "UPDATE mlops.model_versions SET parameters = '{}'",
    ],
)
def test_what_happened_stays(tenant: TenantId, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        tenant_session(tenant) as session,
    ):
        session.execute(sa.text(statement))


def test_partitions_cannot_be_read_around_the_wall(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        partition = session.scalar(
            sa.text("SELECT inhrelid::regclass::text FROM pg_inherits LIMIT 1")
        )
    with pytest.raises(DBAPIError, match="permission denied"), tenant_session(tenant) as session:
        session.execute(sa.text(f"SELECT count(*) FROM {partition}"))


def test_the_migrations_make_exactly_the_mapped_tables(owner: sa.Connection) -> None:
    context = MigrationContext.configure(
        owner,
        opts={
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "mlops",
            "include_object": lambda item, name, kind, reflected, _: (
                not (kind == "table" and name.startswith(("events_2", "alembic_")))
            ),
            "compare_server_default": False,
        },
    )
    assert compare_metadata(context, metadata) == []


def test_migrating_twice_changes_nothing(services: TemporaryServices) -> None:
    assert upgrade(services.database_owner_url, services.database_url) == upgrade(
        services.database_owner_url, services.database_url
    )
