"""What each drift test said, what it compares with, and how many false alarms are accepted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
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
        sa.UniqueConstraint(
            "tenant_id",
            "sweep_id",
            "function",
            "model",
            "metric",
            "test",
            # The usual name would be longer than PostgreSQL's names are.
            name="drift_detection_test_key",
        ),
        # For what earlier sweeps said of one metric.
        sa.Index(
            "drift_detection_history_idx",
            "tenant_id",
            "function",
            "model",
            "metric",
            "created_at",
        ),
        # Findings are removed by age, and come in the order of their age.
        sa.Index("drift_detection_created_at_idx", "created_at", postgresql_using="brin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    sweep_id: Mapped[UUID]
    "The job that made it."
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    function: Mapped[str]
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
    usual_effect: Mapped[float | None]
    "How far days of the baseline were from the rest of it, by the effect that decides."
    verdict: Mapped[str]
    change: Mapped[str | None]
    "From what to what, of a metric that drifts or is about to. The reason begins with it."
    reason: Mapped[str]


class SweepKind(StrEnum):
    TIMETABLE = "timetable"
    "What it finds raises and closes alerts."
    BY_HAND = "by_hand"
    "Somebody asked for it; it alarms nobody."


class DriftSubject(Base):
    """The newest sweep of each kind that looked at a function and model, to be found at once."""

    __tablename__ = "drift_subjects"
    __table_args__ = (sa.CheckConstraint("kind IN ('timetable', 'by_hand')", name="kind"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    sweep_id: Mapped[UUID]
    swept_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class DriftBaseline(Base):
    """What the current window of a function and model is compared with, where that was set."""

    __tablename__ = "drift_baselines"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('previous', 'fixed', 'accepted')", name="kind"),
        sa.CheckConstraint(
            "(kind = 'previous') = (hours IS NOT NULL)"
            " AND (kind <> 'previous') = (starts_at IS NOT NULL AND ends_at IS NOT NULL)",
            name="complete",
        ),
        sa.CheckConstraint("hours > 0 AND ends_at > starts_at", name="in_order"),
    )

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    "Empty: of every function that has none of its own."
    model: Mapped[str] = mapped_column(primary_key=True)
    "Empty: of every model that has none of its own."
    kind: Mapped[str]
    hours: Mapped[int | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    baseline_model: Mapped[str | None]
    "Whose window it is, where that is another model's."
    changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class DriftEffect(Base):
    """From where on a metric's difference matters to a tenant. Without a row it is as built in."""

    __tablename__ = "drift_effects"
    __table_args__ = (sa.CheckConstraint("minimum_effect > 0", name="positive"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    minimum_effect: Mapped[float]
    "A magnitude, see `effects`."
    changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class DriftBudget(Base):
    """How many false alarms a week a tenant accepts. A tenant without a row has the default."""

    __tablename__ = "drift_budgets"
    __table_args__ = (sa.CheckConstraint("false_alarms_a_week > 0", name="positive"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    false_alarms_a_week: Mapped[float]
    changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
