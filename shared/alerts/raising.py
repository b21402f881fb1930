"""Opening and closing alerts: one open row per thing that is wrong, however often it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.alerts.tables import Alert
from shared.database import tenant_of


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def raise_alert(
    session: Session,
    kind: str,
    fingerprint: str,
    severity: Severity,
    message: str,
    details: Mapping[str, Any] | None = None,
) -> Alert:
    """Open the alert of `fingerprint`, or note on the open one that it was seen again.

    `times_seen` is 1 for one that was just opened. The newest message, severity and details stay.
    """
    statement = insert(Alert).values(
        tenant_id=tenant_of(session),
        kind=kind,
        fingerprint=fingerprint,
        severity=severity.value,
        message=message,
        details=dict(details or {}),
    )
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "fingerprint"],
        index_where=sa.text("resolved_at IS NULL"),
        set_={
            "severity": statement.excluded.severity,
            "message": statement.excluded.message,
            "details": statement.excluded.details,
            "times_seen": Alert.times_seen + 1,
            # Not now(): that is when the transaction began, the same for two in one.
            "last_seen_at": sa.func.clock_timestamp(),
        },
    )
    return session.scalars(
        statement.returning(Alert), execution_options={"populate_existing": True}
    ).one()


def resolve_alert(session: Session, fingerprint: str, because: str) -> bool:
    """Close the open alert of `fingerprint`; whether there was one.

    `because` is kept with its details, as `resolved_because`.
    """
    closed = session.scalars(
        sa.update(Alert)
        .where(Alert.fingerprint == fingerprint, Alert.resolved_at.is_(None))
        .values(
            resolved_at=sa.func.clock_timestamp(),
            details=Alert.details.concat(
                sa.func.jsonb_build_object("resolved_because", sa.literal(because))
            ),
        )
        .returning(Alert.id)
    ).all()
    return bool(closed)
