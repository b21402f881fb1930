"""Models, their versions, and what has been said of a version and done with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database import Base, WholeNumber
from shared.tenancy.tables import Tenant


class Model(Base):
    __tablename__ = "models"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ModelVersion(Base):
    """What can be evaluated: a kind of agent with its parameters, under a semantic version.

    `agent` and `parameters` never change. What is said of it may, until it is in production for
    the first time: a trigger of the table then sets `fixed_at`, and lets only the stage change.
    """

    __tablename__ = "model_versions"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "model_id", "version"),
        sa.CheckConstraint(
            "stage IN ('development', 'staging', 'production', 'archived')", name="stage"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    model_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Model.id))
    version: Mapped[str]
    agent: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    stage: Mapped[str] = mapped_column(server_default="development")
    fixed_at: Mapped[datetime | None]
    description: Mapped[str] = mapped_column(server_default="")
    parent_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("mlops.model_versions.id"))
    "The version that this one was made from."
    dataset_version: Mapped[str | None]
    prompt_version: Mapped[str | None]
    evaluation_runs: Mapped[list[Any]] = mapped_column(server_default="[]")
    "Identifiers of the benchmark runs that speak for it."

    # A version means nothing without its model's name, so they are always read together.
    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)


class ModelAlias(Base):
    """A name for one version of a model that can be moved to another, such as `champion`."""

    __tablename__ = "model_aliases"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    model_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Model.id), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ModelVersion.id))
    moved_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class StatedPerformance(Base):
    """Figures of a version that somebody gave: what was measured here is never among them.

    None is what was not said.
    """

    __tablename__ = "stated_performance"
    __table_args__ = (
        sa.Index(None, "tenant_id", "model_version_id", "id"),
        sa.CheckConstraint("success_rate BETWEEN 0 AND 1", name="success_rate"),
        sa.CheckConstraint(
            "completion_seconds >= 0 AND completion_seconds < 'Infinity'",
            name="completion_seconds",
        ),
        sa.CheckConstraint("cost_nanos >= 0", name="cost_nanos"),
        sa.CheckConstraint("tasks > 0", name="tasks"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ModelVersion.id))
    success_rate: Mapped[float | None]
    completion_seconds: Mapped[float | None]
    "Mean of a task."
    cost_nanos: Mapped[int | None] = mapped_column(WholeNumber)
    "Mean of a task, in nano-dollars."
    tasks: Mapped[int | None]
    "How many tasks the figures are of."
    note: Mapped[str] = mapped_column(server_default="")
    stated_by: Mapped[str]
    stated_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ModelDeployment(Base):
    """A version was put somewhere: where, when, by whom."""

    __tablename__ = "model_deployments"
    __table_args__ = (sa.Index(None, "tenant_id", "model_version_id", "id"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ModelVersion.id))
    target: Mapped[str]
    came_from: Mapped[str]
    "The stage in which it was."
    deployed_by: Mapped[str]
    deployed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
