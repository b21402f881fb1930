"""Models and their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database import Base
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
    """What can be evaluated: a kind of agent with its parameters, under a semantic version."""

    __tablename__ = "model_versions"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "model_id", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    model_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Model.id))
    version: Mapped[str]
    agent: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    # A version means nothing without its model's name, so they are always read together.
    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)
