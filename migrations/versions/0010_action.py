"""Actions in a column of their own: hours are summed by them, and each name has a cap."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("action", sa.Text(), nullable=True), schema="mlops")
    # The wall stops the owner as well, and this is for all tenants.
    op.execute("ALTER TABLE mlops.events NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "UPDATE mlops.events SET action = attributes->>'action', attributes = attributes - 'action'"
        " WHERE kind = 'action' AND attributes ? 'action'"
    )
    op.execute("ALTER TABLE mlops.events FORCE ROW LEVEL SECURITY")
