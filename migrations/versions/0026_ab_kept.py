"""What the units are named by that keep their variant of a sticky test."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ab_tests", sa.Column("kept", sa.Text(), nullable=True), schema="mlops")
    # Of the others nobody knows it: it is found out when it is needed next.
    op.execute(
        "UPDATE mlops.ab_tests SET kept = ''"
        " WHERE (moved = '[]' AND moving = '[]') OR status IN ('stopped', 'concluded')"
    )
    op.alter_column("ab_tests", "kept", server_default="", schema="mlops")
