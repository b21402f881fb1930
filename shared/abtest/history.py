"""What has happened to a test, from the audit trail that every change of it leaves."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.tables import AbTest
from shared.tenancy.tables import AuditEntry


def split_changed(session: Session, test: AbTest) -> bool:
    """Whether its weights were changed: then there is no one ratio that its units should have."""
    found = session.scalar(sa.select(sa.exists().where(*_entries(test, "ab_test.weights"))))
    return bool(found)


def began_at(session: Session, test: AbTest) -> datetime | None:
    """When it began to assign units; None if it has not."""
    found: datetime | None = session.scalar(
        sa.select(sa.func.min(AuditEntry.at)).where(*_entries(test, "ab_test.running"))
    )
    return found


def harms_that_paused(session: Session, test: AbTest) -> frozenset[tuple[str, str]]:
    """The guardrails that have paused it so far, as (variant, metric)."""
    details = session.scalars(
        sa.select(AuditEntry.details).where(
            *_entries(test, "ab_test.paused"), AuditEntry.details.has_key("harmed")
        )
    )
    return frozenset(
        (one["variant"], one["metric"]) for paused in details for one in paused["harmed"]
    )


def ended_at(session: Session, test: AbTest) -> datetime | None:
    """When it was stopped or concluded for the last time; None if it has not been."""
    ends = (sa.and_(*_entries(test, f"ab_test.{end}")) for end in ("stopped", "concluded"))
    found: datetime | None = session.scalar(
        sa.select(sa.func.max(AuditEntry.at)).where(sa.or_(*ends))
    )
    return found


def _entries(test: AbTest, action: str) -> tuple[sa.ColumnElement[bool], ...]:
    return AuditEntry.action == action, AuditEntry.subject == f"{test.environment}/{test.name}"
