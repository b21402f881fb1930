"""A/B tests: PostgreSQL is the truth, Redis a copy that is rebuilt from it."""

from __future__ import annotations

from datetime import datetime
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
    "[{name, weight, model}], in the order of their slots."
    table_version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
