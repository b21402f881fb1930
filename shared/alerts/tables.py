"""Alerts as rows: one per thing that is wrong, not one per time it was seen."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class Alert(Base):
    __tablename__ = "alerts"
    __table_args__ = (
        # One open alert per fingerprint.
        sa.Index(
            "alerts_open_idx",
            "tenant_id",
            "fingerprint",
            unique=True,
            postgresql_where="resolved_at IS NULL",
        ),
        sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    kind: Mapped[str]
    fingerprint: Mapped[str]
    severity: Mapped[str]
    message: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    raised_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    times_seen: Mapped[int] = mapped_column(server_default="1")
    resolved_at: Mapped[datetime | None]
