"""Who takes part in an A/B test, which slots have moved, and which variant has won."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, empty in (("rules", "{}"), ("moved", "[]"), ("moving", "[]")):
        op.add_column(
            "ab_tests",
            sa.Column(name, JSONB(), server_default=empty, nullable=False),
            schema="mlops",
        )
    op.add_column("ab_tests", sa.Column("winner", sa.Text(), nullable=True), schema="mlops")
