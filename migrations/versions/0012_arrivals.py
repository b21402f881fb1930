"""What is wrong with events as they come, and how long findings of drift are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.walls import wall

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


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
    # Findings are removed by age, and come in the order of their age: a few pages are all it takes.
    op.create_index(
        "drift_detection_created_at_idx",
        "drift_detection",
        ["created_at"],
        schema="mlops",
        postgresql_using="brin",
    )
    op.execute("GRANT DELETE ON mlops.drift_detection TO mlops_app")
