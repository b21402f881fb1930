"""Model cards, every version of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.registry.tables import ModelVersion
from shared.tenancy.tables import Tenant


class ModelCardRow(Base):
    __tablename__ = "model_cards"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "model_version_id", "number"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id))
    model_version_id: Mapped[UUID] = mapped_column(sa.ForeignKey(ModelVersion.id))
    number: Mapped[int] = mapped_column(sa.Integer)
    content: Mapped[str]
    content_hash: Mapped[str]
    figures: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
