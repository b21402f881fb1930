"""What each drift test said."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class DriftDetection(Base):
    """One test of one metric in one sweep; `verdict` is the metric's, from all its tests."""

    __tablename__ = "drift_detection"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "sweep_id", "model", "metric", "test"),
        sa.Index(None, "tenant_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    sweep_id: Mapped[UUID]
    "The job that made it."
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    model: Mapped[str]
    metric: Mapped[str]
    test: Mapped[str]
    baseline: Mapped[dict[str, Any]]
    current: Mapped[dict[str, Any]]
    n_baseline: Mapped[int]
    n_current: Mapped[int]
    statistic: Mapped[float | None]
    p_value: Mapped[float | None]
    p_adjusted: Mapped[float | None]
    threshold: Mapped[float]
    effect_name: Mapped[str | None]
    effect_size: Mapped[float | None]
    minimum_effect: Mapped[float | None]
    verdict: Mapped[str]
    reason: Mapped[str]
