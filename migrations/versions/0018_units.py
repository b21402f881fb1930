"""Whom an event was for, who was given which variant of an A/B test, and what is to be summed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.definer import joined_to_definer
from migrations.walls import wall

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Who has waited longest comes first.
TENANTS_TO_SUM = """
CREATE FUNCTION mlops.tenants_with_unit_news() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT tenant_id FROM (
        SELECT t.id AS tenant_id,
            (SELECT min(w.occurred_at) FROM mlops.unit_events w WHERE w.tenant_id = t.id) AS since,
            EXISTS (SELECT FROM mlops.exposures x WHERE x.tenant_id = t.id AND x.changed) AS told
        FROM mlops.tenants t
    ) AS waiting
    WHERE since IS NOT NULL OR told ORDER BY since NULLS FIRST
$$;
REVOKE ALL ON FUNCTION mlops.tenants_with_unit_news() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.tenants_with_unit_news() TO mlops_app;
ALTER FUNCTION mlops.tenants_with_unit_news() OWNER TO mlops_definer;
"""

COMPONENTS = (
    "tasks",
    "successes",
    "llm_calls",
    "attempts",
    "errors",
    "llm_latency_ms",
    "timed_calls",
    "task_latency_ms",
    "timed_tasks",
    "cost_nanos",
    "unpriced_calls",
    "tokens",
    "uncounted_calls",
    "quality",
    "rated_calls",
)
BEFORE = ("tasks", "successes", "llm_calls", "cost_nanos", "tokens")


def upgrade() -> None:
    op.add_column("events", sa.Column("unit_id", sa.Uuid(), nullable=True), schema="mlops")
    # Of most events nobody says whom they were for, and they are in no index.
    op.create_index(
        "events_unit_id_idx",
        "events",
        ["tenant_id", "unit_id", "occurred_at"],
        schema="mlops",
        postgresql_where=sa.text("unit_id IS NOT NULL"),
    )
    op.create_table(
        "exposures",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=True),
        sa.Column("exposed_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("mixed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("changed", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "test_id", "unit_id"),
        schema="mlops",
    )
    op.create_index(
        "exposures_changed_idx",
        "exposures",
        ["tenant_id", "test_id", "unit_id"],
        schema="mlops",
        postgresql_where=sa.text("changed"),
    )
    op.create_table(
        "unit_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "occurred_at", "event_id"),
        schema="mlops",
    )
    op.create_table(
        "ab_units",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("mixed", sa.Boolean(), nullable=False),
        sa.Column("counted_from", sa.TIMESTAMP(timezone=True), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in (*COMPONENTS, *(f"{name}_before" for name in BEFORE))
        ),
        sa.PrimaryKeyConstraint("tenant_id", "test_id", "unit_id"),
        schema="mlops",
    )
    # Whoever sums an event asks for the tests of its unit.
    op.create_index("ab_units_unit_id_idx", "ab_units", ["tenant_id", "unit_id"], schema="mlops")
    op.create_index(
        "ab_units_mixed_idx",
        "ab_units",
        ["tenant_id", "test_id"],
        schema="mlops",
        postgresql_where=sa.text("mixed"),
    )
    op.create_table(
        "ab_sums",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Numeric(), nullable=False) for name in ("y", "x", "yy", "xx", "xy")),
        sa.Column("unknown", sa.BigInteger(), nullable=False),
        sa.Column("histogram", sa.LargeBinary(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "test_id", "variant", "metric"),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON mlops.ab_units, mlops.ab_sums TO mlops_app")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (slot, exposed_at, mixed, changed)"
        " ON mlops.exposures TO mlops_app"
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON mlops.unit_events TO mlops_app")
    for table in ("exposures", "unit_events", "ab_units", "ab_sums"):
        wall(table)
    op.execute("GRANT SELECT ON mlops.unit_events, mlops.exposures TO mlops_definer")
    for table in ("unit_events", "exposures"):
        op.execute(
            f"CREATE POLICY over_the_wall ON mlops.{table} FOR SELECT TO mlops_definer USING (true)"
        )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(TENANTS_TO_SUM)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
