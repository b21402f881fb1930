"""What of a test's past is in no column of it: from the audit trail that every change leaves."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.tables import AbTest
from shared.tenancy.tables import AuditEntry


def harms_that_paused(session: Session, test: AbTest) -> frozenset[tuple[str, str]]:
    """The guardrails that have paused it so far, as (variant, metric)."""
    details = session.scalars(
        sa.select(AuditEntry.details).where(
            AuditEntry.action == "ab_test.paused",
            # By its identifier: a name with a slash in it may be another test's elsewhere.
            AuditEntry.details["test_id"].astext == str(test.id),
            AuditEntry.details.has_key("harmed"),
            # What has an index is when it was.
            AuditEntry.at >= test.created_at,
        )
    )
    return frozenset(
        (one["variant"], one["metric"]) for paused in details for one in paused["harmed"]
    )
