"""What the timetable's looks at A/B tests have found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.walls import wall

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ab_looks",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("looked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("sample_ratio_p", sa.Float(), nullable=True),
        sa.Column("shown", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "test_id", "looked_at"),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON mlops.ab_looks TO mlops_app")
    wall("ab_looks")
