"""Cost by language model, by day, week and month, the tenant's own prices, and its budgets."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base, WholeNumber
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
    cost_nanos: Mapped[int] = mapped_column(WholeNumber)
    tasks: Mapped[int]
    successes: Mapped[int]


class LlmModelCost(Base):
    """Rollup of what was billed: hour x tenant x provider x language model x why there is no price.

    Names are empty where the caller stated none.
    """

    __tablename__ = "llm_model_costs"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    llm_model: Mapped[str] = mapped_column(primary_key=True)
    gap: Mapped[str] = mapped_column(primary_key=True)
    "`shared.telemetry.gaps.Gap.code`; empty for the calls that have a price."
    llm_calls: Mapped[int]
    simulated_calls: Mapped[int]
    cost_nanos: Mapped[int]


class PriceOverrideRow(Base):
    """An entry of the tenant's own prices: dollars per million tokens from a day on (UTC)."""

    __tablename__ = "price_overrides"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    starts: Mapped[date] = mapped_column(primary_key=True)
    import_id: Mapped[UUID]
    "The entries are replaced as a whole, so all of a tenant have the same."
    simulated: Mapped[bool]
    source: Mapped[str]
    input: Mapped[Decimal] = mapped_column(sa.Numeric(15, 6))
    cached_input: Mapped[Decimal | None] = mapped_column(sa.Numeric(15, 6))
    cache_write: Mapped[Decimal | None] = mapped_column(sa.Numeric(15, 6))
    cache_write_1h: Mapped[Decimal | None] = mapped_column(sa.Numeric(15, 6))
    output: Mapped[Decimal] = mapped_column(sa.Numeric(15, 6))


class BudgetRow(Base):
    """What a tenant, one of its models or one of its functions may cost in a period."""

    __tablename__ = "budgets"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "scope", "name", "period"),
        sa.CheckConstraint("scope IN ('tenant', 'model', 'function')", name="scope"),
        sa.CheckConstraint("(scope = 'tenant') = (name = '')", name="name"),
        sa.CheckConstraint("period IN ('day', 'week', 'month')", name="period"),
        sa.CheckConstraint("amount_nanos > 0", name="amount"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    scope: Mapped[str]
    name: Mapped[str]
    "Of the model or function; empty for the tenant as a whole."
    period: Mapped[str]
    amount_nanos: Mapped[int]
    hard_stop: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
