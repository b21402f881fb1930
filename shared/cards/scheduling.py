"""What the timetable asks for: a card of every model that was evaluated."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from shared.database import TenantId, system_session, tenant_session
from shared.evaluation.tables import Episode
from shared.jobs.contracts import WriteCard
from shared.jobs.submission import enqueue
from shared.registry.models import key
from shared.registry.tables import ModelVersion


def enqueue_cards(slot: datetime) -> int:
    """Ask for the card of each model's version that has episodes, of all tenants; how many.

    Asked again for the same `slot`, nothing is added.
    """
    with system_session() as session:
        tenants = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
    asked = 0
    has_episodes = sa.exists().where(Episode.model_version_id == ModelVersion.id)
    for tenant_id in tenants:
        with tenant_session(TenantId(tenant_id)) as session:
            for version in session.scalars(sa.select(ModelVersion).where(has_episodes)):
                model = key(version)
                enqueue(
                    session,
                    WriteCard(model=model),
                    idempotency_key=f"slot:{slot.isoformat()}:{model}",
                )
                asked += 1
    return asked
