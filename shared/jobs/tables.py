"""The row that is a job. Nothing outside this folder writes it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "kind", "idempotency_key"),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        sa.Index(None, "tenant_id", "created_at"),
        sa.Index("jobs_queued_idx", "queue", "sent_at", postgresql_where="status = 'queued'"),
        sa.Index("jobs_lease_idx", "lease_expires_at", postgresql_where="status = 'running'"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    kind: Mapped[str]
    queue: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    "As it was sent. `jsonb` would refuse what a single bad event of a batch may hold."
    idempotency_key: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=JobStatus.QUEUED)
    priority: Mapped[int] = mapped_column(sa.SmallInteger, server_default="5")
    "0 is done first, 9 last."
    attempt: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(sa.Integer)
    not_before: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    sent_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    sends: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    lease_expires_at: Mapped[datetime | None]
    claim_id: Mapped[UUID | None]
    "Of the claim that holds the job. Two claims never share it, whatever a crash forgets."
    worker: Mapped[str | None]
    cancel_requested_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TimetableSlot(Base):
    """One row per entry and slot of the timetable: whoever inserts it does the work."""

    __tablename__ = "timetable_slots"

    entry: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
