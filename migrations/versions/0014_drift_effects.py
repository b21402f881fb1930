"""How far days of a baseline differ, and the smallest effect that matters to a tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.walls import wall

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "drift_detection", sa.Column("usual_effect", sa.Double(), nullable=True), schema="mlops"
    )
    op.add_column(
        "drift_baselines", sa.Column("baseline_model", sa.Text(), nullable=True), schema="mlops"
    )
    op.create_table(
        "drift_effects",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("minimum_effect", sa.Double(), nullable=False),
        sa.Column(
            "changed_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("tenant_id", "metric"),
        sa.CheckConstraint("minimum_effect > 0", name="drift_effects_positive_check"),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON mlops.drift_effects TO mlops_app")
    wall("drift_effects")
