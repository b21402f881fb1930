"""The feature store: versions of features, their values, and what is watched for drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.walls import wall

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RIGHTS = {
    "feature_store": "SELECT, INSERT",
    "feature_values": "SELECT, INSERT",
    "feature_watches": "SELECT, INSERT, UPDATE (watched, changed_at)",
}


def upgrade() -> None:
    op.create_table(
        "feature_store",
        _tenant(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("data_type", "owner", "description", "unit", "source_kind", "source")
        ),
        _time("created_at", sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant_id", "name", "version"),
        schema="mlops",
    )
    op.create_table(
        "feature_values",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        _time("event_time"),
        _time("written_at"),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number_value", sa.Double(), nullable=True),
        sa.Column("text_value", sa.Text(), nullable=True),
        sa.Column("boolean_value", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint(
            "tenant_id", "feature", "version", "entity", "event_time", "written_at", "id"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "feature", "version"],
            [f"mlops.feature_store.{name}" for name in ("tenant_id", "name", "version")],
            name="feature_values_tenant_id_fkey",
        ),
        sa.CheckConstraint(
            "num_nonnulls(number_value, text_value, boolean_value) = 1",
            name="feature_values_one_value_check",
        ),
        schema="mlops",
    )
    op.create_table(
        "feature_watches",
        _tenant(),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("watched", sa.Boolean(), nullable=False),
        _time("changed_at", sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant_id", "feature"),
        schema="mlops",
    )
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON mlops.{table} TO mlops_app")
        wall(table)


def _tenant() -> sa.Column[object]:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False)


def _time(name: str, default: sa.TextClause | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=default, nullable=False)
