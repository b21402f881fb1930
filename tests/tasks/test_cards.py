"""The card job."""

from __future__ import annotations

import redis
import sqlalchemy as sa

from shared.cards.tables import ModelCardRow
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import JobMessage, WriteCard
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.registry.models import register
from tasks.cards import write_card


def run(tenant: TenantId, model: str) -> str:
    job_id = submit(tenant, WriteCard(model=model))
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    outcome: str = write_card(**message)
    return outcome


def test_the_job_writes_the_card(tenant: TenantId, clean_redis: redis.Redis) -> None:
    with tenant_session(tenant) as session:
        register(session, "walker", "1.0.0", "rule-based", {}, check=lambda *_: None)
    assert run(tenant, "walker") == "succeeded"
    with tenant_session(tenant) as session:
        card = session.scalars(sa.select(ModelCardRow)).one()
        result = session.scalars(sa.select(JobRow.result)).one()
    assert result == {
        "card_id": str(card.id),
        "number": 1,
        "content_hash": card.content_hash,
    }


def test_a_model_that_is_not_there_fails_the_job_with_one_line(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    assert run(tenant, "wlaker") == "failed"
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(JobRow.error)).all() == [
            "no model 'wlaker' is registered; there is none yet"
        ]
