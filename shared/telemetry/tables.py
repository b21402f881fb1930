"""Events as they came, the hours that changed, and one row of sums per hour."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class EventRow(Base):
    """Partitioned by the UTC day of `occurred_at`.

    The key holds the client-made event id, so that a resend is absorbed. A partitioned table's
    key must hold the partition column too: an event that is sent again has the same time.
    There is no foreign key to the tenant: it would be looked up for every event, and the row-level
    policy already ties each row to the tenant of its session.
    """

    __tablename__ = "events"
    __table_args__ = (
        sa.Index(None, "tenant_id", "occurred_at"),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    kind: Mapped[str]
    model: Mapped[str]
    function: Mapped[str]
    variant: Mapped[str]
    episode_id: Mapped[UUID | None]
    success: Mapped[bool | None]
    error_type: Mapped[str | None]
    latency_ms: Mapped[int | None]
    provider: Mapped[str | None]
    llm_model: Mapped[str | None]
    input_tokens: Mapped[int | None]
    cached_input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    query_length: Mapped[int | None]
    confidence: Mapped[float | None]
    dom_nodes: Mapped[int | None]
    cost_nanos: Mapped[int | None]
    cost_reason: Mapped[str | None]
    "Why the cost is unknown, or which price it was reckoned with."
    price_simulated: Mapped[bool] = mapped_column(server_default=sa.false())
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class DirtyHour(Base):
    """An hour whose events changed since its rollup was made."""

    __tablename__ = "dirty_hours"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    marked_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ModelPerformance(Base):
    """Rollup: hour x tenant x model x function x variant.

    Histograms are `shared.telemetry.histograms` in bytes; `string_agg(column, '')` adds them up.
    """

    __tablename__ = "model_performance"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    computed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    episodes: Mapped[int]
    successes: Mapped[int]
    actions: Mapped[int]
    action_errors: Mapped[int]
    page_loads: Mapped[int]
    llm_calls: Mapped[int]
    llm_errors: Mapped[int]
    errors_by_type: Mapped[dict[str, Any]]
    input_tokens: Mapped[int]
    cached_input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_nanos: Mapped[int]
    unpriced_calls: Mapped[int]
    simulated_calls: Mapped[int]
    "Calls whose price is stated as simulated."

    step_latency_ms: Mapped[bytes]
    llm_latency_ms: Mapped[bytes]
    page_load_ms: Mapped[bytes]
    query_length: Mapped[bytes]
    confidence: Mapped[bytes]
    tokens: Mapped[bytes]
    dom_nodes: Mapped[bytes]
