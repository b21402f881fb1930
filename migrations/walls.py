"""Row-level security for a tenant's table that a later migration adds."""

from __future__ import annotations

from alembic import op

CURRENT_TENANT = "nullif(current_setting('app.tenant', true), '')::uuid"


def wall(table: str) -> None:
    """Let each tenant see and write its own rows of `mlops.<table>`, by `tenant_id`."""
    op.execute(f"ALTER TABLE mlops.{table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
    # A subselect is evaluated once per statement, not once per row.
    op.execute(
        f"CREATE POLICY tenant ON mlops.{table} TO mlops_app"
        f" USING (tenant_id = (SELECT {CURRENT_TENANT}))"
        f" WITH CHECK (tenant_id = (SELECT {CURRENT_TENANT}))"
    )
