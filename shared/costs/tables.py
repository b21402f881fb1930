"""Cost by day, week and month."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class CostTracking(Base):
    """Sums of the rollups of one period (UTC; weeks start on Monday)."""

    __tablename__ = "cost_tracking"
    __table_args__ = (sa.CheckConstraint("period IN ('day', 'week', 'month')", name="period"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    computed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    llm_calls: Mapped[int]
    unpriced_calls: Mapped[int]
    simulated_calls: Mapped[int]
    cost_nanos: Mapped[int]
    tasks: Mapped[int]
    successes: Mapped[int]
