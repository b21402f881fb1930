"""Prices and budgets of a tenant's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.walls import wall

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "price_overrides",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("starts", sa.Date(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("input", sa.Numeric(15, 6), nullable=False),
        sa.Column("cached_input", sa.Numeric(15, 6), nullable=True),
        sa.Column("cache_write", sa.Numeric(15, 6), nullable=True),
        sa.Column("output", sa.Numeric(15, 6), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["mlops.tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "provider", "model", "starts"),
        schema="mlops",
    )
    # Replaced as a whole, never changed.
    op.execute("GRANT SELECT, INSERT, DELETE ON mlops.price_overrides TO mlops_app")
    wall("price_overrides")
    op.create_table(
        "budgets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("hard_stop", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "scope IN ('tenant', 'model', 'function')", name=op.f("budgets_scope_check")
        ),
        sa.CheckConstraint("(scope = 'tenant') = (name = '')", name=op.f("budgets_name_check")),
        sa.CheckConstraint("period IN ('day', 'week', 'month')", name=op.f("budgets_period_check")),
        sa.CheckConstraint("amount_nanos > 0", name=op.f("budgets_amount_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["mlops.tenants.id"], name=op.f("budgets_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("budgets_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "scope",
            "name",
            "period",
            name=op.f("budgets_tenant_id_scope_name_period_key"),
        ),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON mlops.budgets TO mlops_app")
    wall("budgets")
