"""Drift by function and model, what is compared with, and the false alarms that are accepted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.walls import wall

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAMES_OF_HISTOGRAMS = (
    "confidence_of_successes",
    "confidence_of_failures",
    "query_length_of_successes",
    "query_length_of_errors",
)
WALLED = ("drift_detection", "alerts")

RIGHTS = {
    "drift_subjects": "SELECT, INSERT, UPDATE (sweep_id, swept_at)",
    "drift_baselines": "SELECT, INSERT, UPDATE, DELETE",
    "drift_budgets": "SELECT, INSERT, UPDATE",
}


def upgrade() -> None:
    # Empty means unknown: in hours that are not summed again nobody knows the outcomes.
    for table in ("model_performance", "daily_performance"):
        for name in NAMES_OF_HISTOGRAMS:
            op.add_column(
                table,
                sa.Column(name, sa.LargeBinary(), server_default="", nullable=False),
                schema="mlops",
            )
        op.add_column(
            table,
            sa.Column("names", postgresql.JSONB(), server_default="{}", nullable=False),
            schema="mlops",
        )
    op.add_column(
        "drift_detection", sa.Column("function", sa.Text(), nullable=True), schema="mlops"
    )
    # The wall stops the owner as well, and this is for all tenants.
    for table in WALLED:
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
    # Before, a sweep was of the function that its current window named, or of all together.
    op.execute("UPDATE mlops.drift_detection SET function = coalesce(\"current\"->>'function', '')")
    # An alert was of windows of one length; no sweep would see it again.
    op.execute(
        "UPDATE mlops.alerts SET resolved_at = now() WHERE kind = 'drift' AND resolved_at IS NULL"
    )
    op.alter_column("drift_detection", "function", nullable=False, schema="mlops")
    op.drop_constraint(
        "drift_detection_tenant_id_sweep_id_model_metric_test_key",
        "drift_detection",
        schema="mlops",
    )
    op.create_unique_constraint(
        "drift_detection_test_key",
        "drift_detection",
        ["tenant_id", "sweep_id", "function", "model", "metric", "test"],
        schema="mlops",
    )
    op.drop_index("drift_detection_tenant_id_created_at_idx", "drift_detection", schema="mlops")
    op.create_index(
        "drift_detection_history_idx",
        "drift_detection",
        ["tenant_id", "function", "model", "metric", "created_at"],
        schema="mlops",
    )
    op.create_table(
        "drift_subjects",
        _tenant(),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        _time("swept_at"),
        sa.PrimaryKeyConstraint("tenant_id", "function", "model"),
        schema="mlops",
    )
    op.execute(
        """
        INSERT INTO mlops.drift_subjects (tenant_id, function, model, sweep_id, swept_at)
        SELECT DISTINCT ON (tenant_id, function, model)
            tenant_id, function, model, sweep_id, created_at
        FROM mlops.drift_detection
        ORDER BY tenant_id, function, model, created_at DESC, sweep_id
        """
    )
    for table in WALLED:
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
    op.create_table(
        "drift_baselines",
        _tenant(),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hours", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ends_at", sa.TIMESTAMP(timezone=True), nullable=True),
        _time("changed_at"),
        sa.PrimaryKeyConstraint("tenant_id", "function", "model"),
        sa.CheckConstraint(
            "kind IN ('previous', 'fixed', 'accepted')", name="drift_baselines_kind_check"
        ),
        sa.CheckConstraint(
            "(kind = 'previous') = (hours IS NOT NULL)"
            " AND (kind <> 'previous') = (starts_at IS NOT NULL AND ends_at IS NOT NULL)",
            name="drift_baselines_complete_check",
        ),
        sa.CheckConstraint(
            "hours > 0 AND ends_at > starts_at", name="drift_baselines_in_order_check"
        ),
        schema="mlops",
    )
    op.create_table(
        "drift_budgets",
        _tenant(),
        sa.Column("false_alarms_a_week", sa.Double(), nullable=False),
        _time("changed_at"),
        sa.PrimaryKeyConstraint("tenant_id"),
        sa.CheckConstraint("false_alarms_a_week > 0", name="drift_budgets_positive_check"),
        schema="mlops",
    )
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON mlops.{table} TO mlops_app")
        wall(table)


def _tenant() -> sa.Column[object]:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False)


def _time(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
    )
