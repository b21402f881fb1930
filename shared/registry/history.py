"""What was done to a version, from the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.registry.models import key
from shared.registry.tables import ModelVersion
from shared.tenancy.tables import AuditEntry


def history(session: Session, version: ModelVersion) -> Sequence[AuditEntry]:
    """Every change of a version, the oldest first; also that an alias was moved away from it."""
    name = key(version)
    return session.scalars(
        sa.select(AuditEntry)
        .where(
            AuditEntry.action.startswith("model."),
            sa.or_(AuditEntry.subject == name, AuditEntry.details["before"].astext == name),
        )
        .order_by(AuditEntry.id)
    ).all()
