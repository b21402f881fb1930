"""Versions of models: stages, lineage, aliases, stated figures, and where they were deployed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.walls import wall

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# What was decided when a version went to production was decided of this: it must be there to be
# read as it was, also after the version was taken out of production.
FIXED = """
CREATE FUNCTION mlops.keep_model_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.stage <> 'development' OR NEW.fixed_at IS NOT NULL THEN
            RAISE EXCEPTION 'a version of a model begins in development, not in %', NEW.stage
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    NEW.fixed_at := OLD.fixed_at;
    IF OLD.fixed_at IS NOT NULL AND (to_jsonb(NEW) - 'stage') <> (to_jsonb(OLD) - 'stage') THEN
        RAISE EXCEPTION 'a version of a model that has been in production does not change'
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.stage = 'production' AND OLD.fixed_at IS NULL THEN
        NEW.fixed_at := now();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_model_version BEFORE INSERT OR UPDATE ON mlops.model_versions
FOR EACH ROW EXECUTE FUNCTION mlops.keep_model_version();
"""

# A model's description was given with its first version.
DESCRIBED = """
UPDATE mlops.model_versions v SET description = m.description FROM mlops.models m
WHERE m.id = v.model_id AND NOT EXISTS (
    SELECT FROM mlops.model_versions earlier
    WHERE earlier.model_id = v.model_id AND (earlier.created_at, earlier.id) < (v.created_at, v.id)
)
"""

# Beside the right to lock a row.
CHANGES = (
    "stage",
    "description",
    "parent_id",
    "dataset_version",
    "prompt_version",
    "evaluation_runs",
)


def upgrade() -> None:
    for column in (
        sa.Column("stage", sa.Text(), server_default="development", nullable=False),
        sa.Column("fixed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("parent_id", sa.Uuid(), sa.ForeignKey("mlops.model_versions.id"), nullable=True),
        sa.Column("dataset_version", sa.Text(), nullable=True),
        sa.Column("prompt_version", sa.Text(), nullable=True),
        sa.Column("evaluation_runs", JSONB(), server_default="[]", nullable=False),
    ):
        op.add_column("model_versions", column, schema="mlops")
    op.create_check_constraint(
        "model_versions_stage_check",
        "model_versions",
        "stage IN ('development', 'staging', 'production', 'archived')",
        schema="mlops",
    )
    for table in ("models", "model_versions"):
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
    op.execute(DESCRIBED)
    for table in ("models", "model_versions"):
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
    op.execute(FIXED)
    op.execute(f"GRANT UPDATE ({', '.join(CHANGES)}) ON mlops.model_versions TO mlops_app")
    _create_aliases()
    _create_stated_performance()
    _create_deployments()


def _create_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("model_id", sa.Uuid(), sa.ForeignKey("mlops.models.id"), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        _version(),
        _moment("moved_at"),
        sa.PrimaryKeyConstraint("tenant_id", "model_id", "alias"),
        schema="mlops",
    )
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (model_version_id, moved_at), DELETE"
        " ON mlops.model_aliases TO mlops_app"
    )
    wall("model_aliases")


def _create_stated_performance() -> None:
    op.create_table(
        "stated_performance",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        _version(),
        sa.Column("success_rate", sa.Float(), nullable=True),
        sa.Column("completion_seconds", sa.Float(), nullable=True),
        sa.Column("cost_nanos", sa.Numeric(38, 0), nullable=True),
        sa.Column("tasks", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("stated_by", sa.Text(), nullable=False),
        _moment("stated_at"),
        sa.CheckConstraint(
            "success_rate BETWEEN 0 AND 1", name="stated_performance_success_rate_check"
        ),
        sa.CheckConstraint(
            "completion_seconds >= 0 AND completion_seconds < 'Infinity'",
            name="stated_performance_completion_seconds_check",
        ),
        sa.CheckConstraint("cost_nanos >= 0", name="stated_performance_cost_nanos_check"),
        sa.CheckConstraint("tasks > 0", name="stated_performance_tasks_check"),
        schema="mlops",
    )
    _keep("stated_performance")


def _create_deployments() -> None:
    op.create_table(
        "model_deployments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        _version(),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("came_from", sa.Text(), nullable=False),
        sa.Column("deployed_by", sa.Text(), nullable=False),
        _moment("deployed_at"),
        schema="mlops",
    )
    _keep("model_deployments")


def _keep(table: str) -> None:
    """What was said and done stays."""
    op.create_index(
        f"{table}_tenant_id_model_version_id_id_idx",
        table,
        ["tenant_id", "model_version_id", "id"],
        schema="mlops",
    )
    op.execute(f"GRANT SELECT, INSERT ON mlops.{table} TO mlops_app")
    wall(table)


def _version() -> sa.Column[object]:
    return sa.Column(
        "model_version_id", sa.Uuid(), sa.ForeignKey("mlops.model_versions.id"), nullable=False
    )


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
    )
