"""What features there are, their values, and which of the monitored ones are not watched."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base
from shared.tenancy.tables import Tenant


class FeatureRow(Base):
    """A version of a feature. It is never changed: a change is the next version."""

    __tablename__ = "feature_store"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    data_type: Mapped[str]
    owner: Mapped[str]
    description: Mapped[str]
    unit: Mapped[str]
    source_kind: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class FeatureValueRow(Base):
    """What a feature was of an entity from `event_time` on, as it was written at `written_at`.

    A value that is written again for the same time is a row more, and the last one written holds:
    so it can also be said what was known before.
    """

    __tablename__ = "feature_values"
    # One index finds the newest value before a time, and its newest writing, as its next entry.
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["tenant_id", "feature", "version"],
            [FeatureRow.tenant_id, FeatureRow.name, FeatureRow.version],
        ),
        sa.CheckConstraint(
            "num_nonnulls(number_value, text_value, boolean_value) = 1", name="one_value"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    feature: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    entity: Mapped[str] = mapped_column(primary_key=True)
    event_time: Mapped[datetime] = mapped_column(primary_key=True)
    written_at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    "Of two that were written at the same moment the greater one is later."
    number_value: Mapped[float | None]
    text_value: Mapped[str | None]
    boolean_value: Mapped[bool | None]


class FeatureWatch(Base):
    """Whether a monitored feature is watched for drift. One without a row is."""

    __tablename__ = "feature_watches"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    feature: Mapped[str] = mapped_column(primary_key=True)
    watched: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
