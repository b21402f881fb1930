"""From what to what a metric moved that drifts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("drift_detection", sa.Column("change", sa.Text(), nullable=True), schema="mlops")
