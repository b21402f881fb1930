"""Units of A/B tests that ended long ago may be removed, and no others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

ONLY_ENDED = """
AS RESTRICTIVE FOR DELETE TO mlops_app
USING (test_id IN (SELECT id FROM mlops.ab_tests WHERE units_removed_at IS NOT NULL))
"""


def upgrade() -> None:
    op.add_column(
        "ab_tests",
        sa.Column("units_removed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        schema="mlops",
    )
    for table in ("ab_units", "exposures"):
        op.execute(f"GRANT DELETE ON mlops.{table} TO mlops_app")
        op.execute(f"CREATE POLICY ended ON mlops.{table} {ONLY_ENDED}")
    # Each unit is updated again and again: with room in its page that touches no index.
    op.execute("ALTER TABLE mlops.ab_units SET (fillfactor = 80)")
    op.drop_index("ab_units_mixed_idx", "ab_units", schema="mlops")
    op.create_index(
        "ab_units_mixed_idx",
        "ab_units",
        ["tenant_id", "test_id", "variant"],
        schema="mlops",
        postgresql_where=sa.text("mixed"),
    )
