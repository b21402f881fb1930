"""What the author of an A/B test settled beforehand, and how many units are above its caps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ab_tests",
        sa.Column("plan", JSONB(), server_default="{}", nullable=False),
        schema="mlops",
    )
    op.add_column(
        "ab_sums",
        sa.Column("capped", sa.BigInteger(), server_default="0", nullable=False),
        schema="mlops",
    )
