"""What is measured of the texts of queries: of each call, and by the hour and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SUMMED = ("query_words", "query_word_length", "query_non_letters", "query_vocabulary")


def upgrade() -> None:
    op.add_column(
        "events", sa.Column("query_measures", sa.LargeBinary(), nullable=True), schema="mlops"
    )
    # Empty means that nothing was measured.
    for table in ("model_performance", "daily_performance"):
        for name in SUMMED:
            op.add_column(
                table,
                sa.Column(name, sa.LargeBinary(), server_default="", nullable=False),
                schema="mlops",
            )
            # Compressing them takes as long as counting them, at each write and at each look.
            op.execute(f"ALTER TABLE mlops.{table} ALTER COLUMN {name} SET STORAGE EXTERNAL")
