"""What is wrong with events as they come, and how long findings of drift are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.definer import joined_to_definer
from migrations.walls import CURRENT_TENANT, wall

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# The application may not delete what was found. This deletes nothing but what is older than its
# tenant's events, unless it is all that is known of a subject or somebody goes by it.
REMOVE_FINDINGS = f"""
CREATE FUNCTION mlops.remove_old_drift_findings() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH removed AS (
        DELETE FROM mlops.drift_detection d USING mlops.tenants t
        WHERE t.id = {CURRENT_TENANT} AND d.tenant_id = t.id AND d.created_at < t.events_from
            AND NOT EXISTS (
                SELECT FROM mlops.drift_subjects newest
                WHERE newest.tenant_id = d.tenant_id AND newest.sweep_id = d.sweep_id
                    AND newest.function = d.function AND newest.model = d.model)
            AND NOT EXISTS (
                SELECT FROM mlops.alerts a
                WHERE a.tenant_id = d.tenant_id AND a.resolved_at IS NULL
                    AND a.fingerprint
                        = concat('drift:', d.function, ':', d.model, ':', d.metric)
                    AND a.details->>'sweep_id' = CAST(d.sweep_id AS text))
            AND NOT EXISTS (
                SELECT FROM mlops.drift_baselines b
                WHERE b.tenant_id = d.tenant_id AND b.starts_at IS NOT NULL
                    AND b.function IN ('', d.function) AND b.model IN ('', d.model)
                    AND CAST(d.current->>'start' AS timestamptz) = b.starts_at
                    AND CAST(d.current->>'end' AS timestamptz) = b.ends_at)
        RETURNING 1)
    SELECT count(*) FROM removed
$$;
REVOKE ALL ON FUNCTION mlops.remove_old_drift_findings() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.remove_old_drift_findings() TO mlops_app;
ALTER FUNCTION mlops.remove_old_drift_findings() OWNER TO mlops_definer;
"""  # noqa: S608 (the expression of the walls)


def upgrade() -> None:
    # Of what came before now nobody knows.
    op.add_column(
        "tenants",
        sa.Column(
            "faults_from",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        schema="mlops",
    )
    op.create_table(
        "event_faults",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("happened", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "fault", "model", "function", "field", "happened"
        ),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (n) ON mlops.event_faults TO mlops_app")
    wall("event_faults")
    op.create_index(
        "drift_detection_created_at_idx",
        "drift_detection",
        ["created_at"],
        schema="mlops",
        postgresql_using="brin",
    )
    op.execute("GRANT SELECT, DELETE ON mlops.drift_detection TO mlops_definer")
    op.execute("GRANT SELECT ON mlops.drift_subjects, mlops.drift_baselines TO mlops_definer")
    op.execute("GRANT SELECT ON mlops.alerts TO mlops_definer")
    for table in ("drift_detection", "drift_subjects", "drift_baselines", "alerts"):
        op.execute(
            f"CREATE POLICY old_findings ON mlops.{table} TO mlops_definer"
            f" USING (tenant_id = (SELECT {CURRENT_TENANT}))"
        )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(REMOVE_FINDINGS)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
