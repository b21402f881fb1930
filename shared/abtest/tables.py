"""A/B tests, and what their units did. PostgreSQL is the truth, Redis a copy made from it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class AbTest(Base):
    __tablename__ = "ab_tests"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "environment", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    environment: Mapped[str]
    name: Mapped[str]
    status: Mapped[str]
    success_metric: Mapped[str]
    variants: Mapped[list[Any]]
    """[{name, weight, model, payload, slots}]; the slots as ranges [first, end)."""
    rules: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    "Who takes part and when: `definition.Rules`."
    plan: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    "What its author settled beforehand: `plan.Plan`, but for the success metric."
    moved: Mapped[list[Any]] = mapped_column(server_default="[]")
    "Ranges of the slots that were taken from a variant since the test began."
    moving: Mapped[list[Any]] = mapped_column(server_default="[]")
    "Ranges of the slots that let nobody in until they belong to their next owner."
    kept: Mapped[str | None] = mapped_column(server_default="")
    """The digest of the packed units that keep their variant, empty where there are none; None
    where nobody has found it out since the slots have moved."""
    winner: Mapped[str | None]
    table_version: Mapped[int]
    began_at: Mapped[datetime | None]
    "When it was started."
    split_changed_at: Mapped[datetime | None]
    "When its weights were changed first since it began: from then on units have no one ratio."
    ended_at: Mapped[datetime | None]
    "When it was stopped or concluded, whichever came first. Its rules may end it before that."
    units_removed_at: Mapped[datetime | None]
    "When what is kept of its units was given up, long after its end: see `retention`."
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    def __repr__(self) -> str:
        return (
            f"<AbTest {self.name!r} in {self.environment!r}: {self.status}, version"
            f" {self.table_version}>"
        )


class AbCopy(Base):
    """A process that may show units the variants of an environment's sticky tests."""

    __tablename__ = "ab_copies"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    environment: Mapped[str]
    process: Mapped[str]
    "Its host and process id, for people."
    acknowledged: Mapped[dict[str, Any]]
    """By test, the version that it assigns by; whom it showed a variant before is stored."""
    lease_expires_at: Mapped[datetime]
    "By PostgreSQL's clock; some time after the process has ceased to serve by its own."


class AbUnit(Base):
    """What one exposed unit has done since, and what it did before: see `metrics.COMPONENTS`."""

    __tablename__ = "ab_units"
    __table_args__ = (
        # Whoever sums an event asks for the tests of its unit.
        sa.Index("ab_units_unit_id_idx", "tenant_id", "unit_id"),
        # How many there are of each variant is asked with every verdict.
        sa.Index(
            "ab_units_mixed_idx",
            "tenant_id",
            "test_id",
            "variant",
            postgresql_where=sa.text("mixed"),
        ),
    )

    # No foreign keys: each would be looked up for every one of millions of units.
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    test_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant: Mapped[str]
    mixed: Mapped[bool]
    "Whether it was given another variant as well; then it is in no sum."
    counted_from: Mapped[datetime]

    tasks: Mapped[int] = mapped_column(server_default="0")
    successes: Mapped[int] = mapped_column(server_default="0")
    llm_calls: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    errors: Mapped[int] = mapped_column(server_default="0")
    llm_latency_ms: Mapped[int] = mapped_column(server_default="0")
    timed_calls: Mapped[int] = mapped_column(server_default="0")
    task_latency_ms: Mapped[int] = mapped_column(server_default="0")
    timed_tasks: Mapped[int] = mapped_column(server_default="0")
    cost_nanos: Mapped[int] = mapped_column(server_default="0")
    unpriced_calls: Mapped[int] = mapped_column(server_default="0")
    tokens: Mapped[int] = mapped_column(server_default="0")
    uncounted_calls: Mapped[int] = mapped_column(server_default="0")
    quality: Mapped[int] = mapped_column(server_default="0")
    "The sum of `SHARE_UNIT` times the quality of each rated call."
    rated_calls: Mapped[int] = mapped_column(server_default="0")
    tasks_before: Mapped[int] = mapped_column(server_default="0")
    successes_before: Mapped[int] = mapped_column(server_default="0")
    llm_calls_before: Mapped[int] = mapped_column(server_default="0")
    cost_nanos_before: Mapped[int] = mapped_column(server_default="0")
    tokens_before: Mapped[int] = mapped_column(server_default="0")


class AbSum(Base):
    """Of one metric of a variant the sums over its units: all that an analysis reads."""

    __tablename__ = "ab_sums"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    test_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    units: Mapped[int]
    "All of whom y is known."
    y: Mapped[Decimal]
    x: Mapped[Decimal]
    yy: Mapped[Decimal]
    "The sum of squares, as `xx`; `xy` is the sum of the products."
    xx: Mapped[Decimal]
    xy: Mapped[Decimal]
    unknown: Mapped[int]
    "Units of which part of y is unknown: they are in no sum."
    capped: Mapped[int] = mapped_column(server_default="0")
    "Units above the plan's cap: they are in the sums as if they were it."
    histogram: Mapped[bytes] = mapped_column(server_default="")
    "Of the units' own ratios, where `metrics.SPREADS` has the metric."


class AbLook(Base):
    """What the timetable found when it looked at a test."""

    __tablename__ = "ab_looks"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    test_id: Mapped[UUID] = mapped_column(primary_key=True)
    looked_at: Mapped[datetime] = mapped_column(primary_key=True)
    state: Mapped[str]
    verdict: Mapped[str]
    units: Mapped[int]
    sample_ratio_p: Mapped[float | None]
    "The one that holds at any time."
    shown: Mapped[dict[str, Any]]
    "Units and weight of each variant, and how it compares by the success metric: see `looks`."
