"""Experiments and their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.definer import joined_to_definer
from migrations.walls import wall

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLES = (
    "experiments",
    "package_sets",
    "experiment_runs",
    "metric_points",
    "run_metrics",
    "run_messages",
    "run_actions",
    "run_artifacts",
)

SILENT = """
CREATE FUNCTION mlops.tenants_with_silent_runs(before timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT tenant_id FROM mlops.experiment_runs
    WHERE status = 'running' AND seen_at < before
$$;
REVOKE ALL ON FUNCTION mlops.tenants_with_silent_runs(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.tenants_with_silent_runs(timestamptz) TO mlops_app;
ALTER FUNCTION mlops.tenants_with_silent_runs(timestamptz) OWNER TO mlops_definer;
"""


def _at(name: str, *, now: bool = False, null: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=default, nullable=null)


def _named_values(name: str) -> sa.Column[object]:
    return sa.Column(name, JSONB(), server_default="{}", nullable=False)


def _logged(table: str, key: sa.Column[object], *columns: sa.Column[object]) -> None:
    """A table of what runs have logged."""
    op.create_table(
        table,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        key,
        *columns,
        sa.PrimaryKeyConstraint("tenant_id", "run_id", key.name),
        sa.ForeignKeyConstraint(["run_id"], ["mlops.experiment_runs.id"]),
        schema="mlops",
    )


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("hypothesis", sa.Text(), server_default="", nullable=False),
        _named_values("tags"),
        _named_values("configuration"),
        _at("created_at", now=True),
        sa.UniqueConstraint("tenant_id", "name"),
        schema="mlops",
    )
    op.create_table(
        "package_sets",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("packages", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest"),
        schema="mlops",
    )
    op.create_table(
        "experiment_runs",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column(
            "experiment_id", sa.Uuid(), sa.ForeignKey("mlops.experiments.id"), nullable=False
        ),
        sa.Column("parent_id", sa.Uuid(), sa.ForeignKey("mlops.experiment_runs.id"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        _named_values("params"),
        _named_values("tags"),
        _named_values("environment"),
        sa.Column("environment_digest", sa.Text(), nullable=True),
        _at("started_at", now=True),
        _at("seen_at", now=True),
        _at("ended_at", null=True),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed', 'killed')", name="status"),
        schema="mlops",
    )
    op.create_index(
        None, "experiment_runs", ["tenant_id", "experiment_id", "started_at"], schema="mlops"
    )
    op.create_index(
        None,
        "experiment_runs",
        ["tenant_id", "parent_id"],
        schema="mlops",
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        None,
        "experiment_runs",
        ["seen_at"],
        schema="mlops",
        postgresql_where=sa.text("status = 'running'"),
    )
    _logged(
        "metric_points",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("episode", sa.Text(), nullable=True),
        _at("at"),
    )
    _logged(
        "run_metrics",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        _at("at"),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("not_finite", sa.BigInteger(), nullable=False),
        sa.Column("minimum", sa.Double(), nullable=True),
        sa.Column("maximum", sa.Double(), nullable=True),
    )
    op.create_index(None, "run_metrics", ["tenant_id", "name", "value"], schema="mlops")
    _logged(
        "run_messages",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        _named_values("details"),
        _at("at"),
    )
    _logged(
        "run_actions",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        _named_values("details"),
        _at("at"),
    )
    _logged(
        "run_artifacts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _at("at", now=True),
    )
    for table in TABLES:
        # What was logged stays.
        op.execute(f"GRANT SELECT, INSERT ON mlops.{table} TO mlops_app")
        wall(table)
    for table in ("experiments", "experiment_runs", "run_metrics", "run_artifacts"):
        op.execute(f"GRANT UPDATE ON mlops.{table} TO mlops_app")
    op.execute("GRANT SELECT ON mlops.experiment_runs TO mlops_definer")
    op.execute(
        "CREATE POLICY over_the_wall ON mlops.experiment_runs FOR SELECT TO mlops_definer"
        " USING (true)"
    )
    with joined_to_definer(op.get_bind()):
        op.execute("GRANT CREATE ON SCHEMA mlops TO mlops_definer")
        op.execute(SILENT)
        op.execute("REVOKE CREATE ON SCHEMA mlops FROM mlops_definer")
