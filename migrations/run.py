"""`upgrade`: the schema at its newest version, the application let in, the first tenant made."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from migrations.definer import can_become
from shared.database import APPLICATION_ROLE, psycopg_url
from shared.local.postgres import password_verifier
from shared.settings import settings
from shared.tenancy.tables import Tenant
from shared.tenancy.tenants import audit

MINIMUM_POSTGRESQL = 150000  # security_invoker views


class MigrationError(RuntimeError):
    """The database cannot be migrated; the message says what to change."""


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def newest() -> str:
    """The revision this code wants."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    if head is None:
        raise MigrationError("the package holds no migrations: reinstall it")
    return head


def current(connection: sa.Connection) -> str | None:
    """The revision the database is at, None when it was never migrated."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": "mlops"})
    return context.get_current_revision()


def upgrade(owner_url: str, app_url: str | None = None) -> str:
    """Migrate with the owner's URL and let the role that `app_url` names in; return the revision.

    A role that does not exist yet is created with the password of the URL. The tenant of the
    settings is made if it is not there. A role that may not migrate will do when there is nothing
    to migrate. Raises `MigrationError`.
    """
    engine = sa.create_engine(
        psycopg_url(owner_url), poolclass=sa.NullPool, connect_args={"connect_timeout": 5}
    )
    try:
        with engine.begin() as connection:
            _check_version(connection)
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if app_url is not None:
                _let_in(connection, app_url)
            _make_tenant(connection, settings().tenant)
    except CommandError as error:
        raise MigrationError(
            f"the database was made by another version of this package ({error}): install that one"
        ) from None
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        if _revision_for_application(engine) != newest():
            raise MigrationError(_not_allowed(owner_url, error.orig)) from None
        with engine.begin() as connection:
            _make_tenant(connection, settings().tenant)
    finally:
        engine.dispose()
    return newest()


def _check_version(connection: sa.Connection) -> None:
    version = connection.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    if version < MINIMUM_POSTGRESQL:
        raise MigrationError(f"PostgreSQL 15 or newer is needed, this is {version // 10000}")


def _revision_for_application(engine: sa.Engine) -> str | None:
    """The revision as the application sees it, None when it sees none."""
    try:
        with engine.begin() as connection:
            connection.execute(_AS_APPLICATION, {"role": APPLICATION_ROLE, "id": ""})
            return current(connection)
    except DBAPIError as error:
        unseen = (
            psycopg.errors.InvalidParameterValue,  # there is no such role
            psycopg.errors.InsufficientPrivilege,
        )
        if isinstance(error.orig, unseen):
            return None
        raise


def _not_allowed(owner_url: str, refusal: psycopg.Error) -> str:
    return (
        f"role {make_url(owner_url).username!r} may not migrate the database "
        f"({refusal.diag.message_primary}): set DATABASE_OWNER_URL to the URL of a role that owns "
        "the database and may create roles, or to which mlops_app and mlops_definer were granted"
    )


_AS_APPLICATION = sa.text(
    "SELECT set_config('role', :role, true), set_config('app.tenant', :id, true)"
)


def _make_tenant(connection: sa.Connection, name: str) -> None:
    # As the application does it: the wall holds against the owner too.
    tenant_id = uuid4()
    connection.execute(_AS_APPLICATION, {"role": APPLICATION_ROLE, "id": str(tenant_id)})
    made = connection.scalar(
        insert(Tenant).values(id=tenant_id, name=name).on_conflict_do_nothing().returning(Tenant.id)
    )
    if made is not None:
        with Session(connection) as session:
            audit(session, "tenant.create", name)
            # Into the transaction of the migration, which this does not end.
            session.commit()


def _let_in(connection: sa.Connection, app_url: str) -> None:
    url = make_url(app_url)
    owner = connection.scalar(sa.text("SELECT current_user"))
    if url.username is None or url.username == owner:
        return
    name = connection.dialect.identifier_preparer.quote(url.username)
    exists = connection.scalar(
        sa.text("SELECT true FROM pg_roles WHERE rolname = :name"), {"name": url.username}
    )
    if not exists:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN{_password_of(connection, url)}")
    if not can_become(connection, url.username, APPLICATION_ROLE):
        connection.exec_driver_sql(f"GRANT {APPLICATION_ROLE} TO {name}")


def _password_of(connection: sa.Connection, url: URL) -> str:
    # Without one, the server lets the role in by other means, such as a certificate.
    if not url.password:
        return ""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    verifier = password_verifier(driver, str(url.username), str(url.password))
    return f" PASSWORD '{verifier}'"
