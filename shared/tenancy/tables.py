"""Tenants, their API keys, and who changed what."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base


class Tenant(Base):
    __tablename__ = "tenants"
    __table_args__ = (sa.CheckConstraint("event_days BETWEEN 1 AND 800", name="event_days"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    event_days: Mapped[int] = mapped_column(server_default="90")
    "How long telemetry events are kept; their rollups stay."
    events_from: Mapped[datetime | None]
    "Events from before were removed: their hours are closed, and are not summed again."
    faults_from: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    "Faults of what came before (`mlops.event_faults`) were not counted, or are not kept."


class ApiKey(Base):
    """Only the SHA-256 of a key is stored; `prefix` lets people tell keys apart."""

    __tablename__ = "api_keys"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "name"),
        sa.UniqueConstraint("tenant_id", "key_hash"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    name: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    __tablename__ = "audit_log"
    __table_args__ = (sa.Index(None, "tenant_id", "at"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
