"""When a test began, when its split was changed first and when it ended stands in its own row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# A test that has begun can be no draft again, so its first start is its beginning. What was changed
# of it before is of the draft.
FILL = """
UPDATE mlops.ab_tests t
SET began_at = told.began_at,
    split_changed_at = (
        SELECT min(a.at) FROM mlops.audit_log a
        WHERE a.tenant_id = t.tenant_id AND a.subject = told.subject
            AND a.action = 'ab_test.weights' AND a.at >= told.began_at),
    ended_at = CASE WHEN t.status IN ('stopped', 'concluded') THEN told.ended_at END
FROM (
    SELECT tenant_id, subject,
        min(at) FILTER (WHERE action = 'ab_test.running') AS began_at,
        min(at) FILTER (WHERE action IN ('ab_test.stopped', 'ab_test.concluded')) AS ended_at
    FROM mlops.audit_log GROUP BY tenant_id, subject
) AS told
WHERE told.tenant_id = t.tenant_id AND told.subject = t.environment || '/' || t.name
    AND t.status <> 'draft'
"""


def upgrade() -> None:
    for name in ("began_at", "split_changed_at", "ended_at"):
        op.add_column(
            "ab_tests",
            sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=True),
            schema="mlops",
        )
    # The walls stop the owner as well, and this is for all tenants.
    for table in ("ab_tests", "audit_log"):
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
    op.execute(FILL)
    for table in ("ab_tests", "audit_log"):
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
