"""How a migration runs: one at a time, in one transaction, never waiting long for a lock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from shared.tables import metadata

# Two migrations at once wait for each other here. The number is arbitrary and ours.
ADVISORY_LOCK = 0x6D6C6F7073


def run(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
    # A migration that waits for a table lock stops everybody behind it: rather fail and say so.
    connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
    connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS mlops"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema="mlops",
        include_schemas=True,
    )
    context.run_migrations()


run(context.config.attributes["connection"])
