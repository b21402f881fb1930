"""The newest sweep of each kind, so that one by hand does not hide that of the timetable."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

READ = ("drift_subjects", "drift_detection", "jobs")


def upgrade() -> None:
    op.add_column(
        "drift_subjects",
        sa.Column("kind", sa.Text(), server_default="by_hand", nullable=False),
        schema="mlops",
    )
    op.drop_constraint("drift_subjects_pkey", "drift_subjects", schema="mlops")
    op.create_primary_key(
        "drift_subjects_pkey",
        "drift_subjects",
        ["tenant_id", "function", "model", "kind"],
        schema="mlops",
    )
    op.create_check_constraint(
        "drift_subjects_kind_check",
        "drift_subjects",
        "kind IN ('timetable', 'by_hand')",
        schema="mlops",
    )
    # The wall stops the owner as well, and this is for all tenants.
    for table in READ:
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM mlops.drift_subjects")
    op.execute(
        """
        INSERT INTO mlops.drift_subjects (tenant_id, function, model, kind, sweep_id, swept_at)
        SELECT DISTINCT ON (found.tenant_id, found.function, found.model, swept.kind)
            found.tenant_id, found.function, found.model, swept.kind,
            found.sweep_id, found.created_at
        FROM mlops.drift_detection AS found
        LEFT JOIN mlops.jobs AS job
            ON job.id = found.sweep_id AND job.kind = 'detect_drift'
        CROSS JOIN LATERAL (
            SELECT CASE WHEN job.payload->>'alerts' = 'true' THEN 'timetable' ELSE 'by_hand' END
        ) AS swept (kind)
        ORDER BY found.tenant_id, found.function, found.model, swept.kind,
            found.created_at DESC, found.sweep_id
        """
    )
    for table in READ:
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
    op.alter_column("drift_subjects", "kind", server_default=None, schema="mlops")
