"""Experiments, runs, and what a run has logged."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class Experiment(Base):
    """A question, and all runs that try to answer it."""

    __tablename__ = "experiments"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    hypothesis: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    configuration: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ExperimentRun(Base):
    """One try. `params` are set once each, `tags` may be changed."""

    __tablename__ = "experiment_runs"
    __table_args__ = (
        sa.Index(None, "tenant_id", "experiment_id", "started_at"),
        sa.Index(None, "tenant_id", "parent_id", postgresql_where=sa.text("parent_id IS NOT NULL")),
        sa.Index(None, "seen_at", postgresql_where=sa.text("status = 'running'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    experiment_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Experiment.id))
    parent_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("mlops.experiment_runs.id"))
    name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="running")
    success: Mapped[bool | None]
    "What its author said of it; None as long as nobody has."
    message: Mapped[str | None]
    "Why it failed."
    params: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    tags: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    environment: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    environment_digest: Mapped[str | None]
    "Of the packages, which many runs have in common and which are kept once."
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    "When its process was heard of last."
    ended_at: Mapped[datetime | None]


class PackageSet(Base):
    """The packages that were installed where a run was, by the digest of the list."""

    __tablename__ = "package_sets"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    packages: Mapped[dict[str, Any]]


class MetricPoint(Base):
    """One value that was logged. `number` is unique in its run, so that what is sent twice is
    stored once."""

    __tablename__ = "metric_points"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ExperimentRun.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    value: Mapped[float]
    step: Mapped[int | None]
    episode: Mapped[str | None]
    at: Mapped[datetime]


class RunMetric(Base):
    """A metric of a run: its last value (of the highest step, then the latest), and its range.

    `minimum` and `maximum` are without NaN; `not_finite` values were NaN or infinite.
    """

    __tablename__ = "run_metrics"
    __table_args__ = (sa.Index(None, "tenant_id", "name", "value"),)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ExperimentRun.id), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]
    step: Mapped[int | None]
    at: Mapped[datetime]
    points: Mapped[int]
    not_finite: Mapped[int]
    minimum: Mapped[float | None]
    maximum: Mapped[float | None]


class RunMessage(Base):
    """A message of the conversation of a run."""

    __tablename__ = "run_messages"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ExperimentRun.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str]
    content: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    at: Mapped[datetime]


class RunAction(Base):
    """An action that the agent of a run took. `success` is None where nobody has said."""

    __tablename__ = "run_actions"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ExperimentRun.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    success: Mapped[bool | None]
    duration_ms: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    at: Mapped[datetime]


class RunArtifact(Base):
    """A file that a run has logged, by its name in the run; its content is in the store."""

    __tablename__ = "run_artifacts"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ExperimentRun.id), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
