"""The roll-up job: hours and their cost together, and one job at a time per tenant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import redis
import sqlalchemy as sa

from shared.alerts.spending import is_due
from shared.alerts.tables import Alert
from shared.costs.aggregation import Period
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.reading import totals
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import JobMessage, RollUp
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.tables import DirtyHour
from shared.tenancy.tenants import create_tenant
from tasks import costs
from tasks.costs import enqueue_judging, enqueue_roll_ups, roll_up

AT = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def record_calls(tenant: TenantId, hours: int) -> None:
    calls = [
        LlmCallEvent(
            event_id=uuid4(),
            occurred_at=AT - timedelta(hours=hour),
            model="buyer@1",
            function="checkout",
            provider="p",
            llm_model="m",
            latency_ms=1,
        )
        for hour in range(hours)
    ]
    with tenant_session(tenant) as session:
        store(session, calls, lambda _: CallCost(7, "a price"))


def queued(tenant: TenantId) -> int:
    with tenant_session(tenant) as session:
        return session.scalar(
            sa.select(sa.func.count()).where(JobRow.kind == "roll_up", JobRow.status == "queued")
        )


def jobs(tenant: TenantId) -> list[tuple[datetime, UUID]]:
    """What waits in the queue, by the time when it was sent."""
    with tenant_session(tenant) as session:
        waiting = sa.select(JobRow.sent_at, JobRow.id).where(JobRow.status == "queued")
        return [(sent_at, job_id) for sent_at, job_id in session.execute(waiting)]


def dirty(tenant: TenantId) -> int:
    with tenant_session(tenant) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(DirtyHour)) or 0


def run(tenant: TenantId) -> str:
    job_id = submit(tenant, RollUp())
    outcome: str = roll_up(**JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json"))
    return outcome


def test_the_job_rolls_up_and_aggregates(tenant: TenantId, clean_redis: redis.Redis) -> None:
    record_calls(tenant, hours=1)
    assert run(tenant) == "succeeded"
    with tenant_session(tenant) as session:
        assert totals(session, AT.date()).day.cost_nanos == 7
        assert session.scalar(sa.select(JobRow.result)) == {
            "hours": 1,
            "alerts_raised": 0,
            "alerts_resolved": 0,
        }


def test_the_job_judges_the_budgets_by_what_it_has_just_summed(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with tenant_session(tenant) as session:
        set_budget(session, Budget(Period.DAY, 10, Scope.MODEL, "buyer@1"))
    record_calls(tenant, hours=1)
    assert run(tenant) == "succeeded"
    with tenant_session(tenant) as session:
        alert = session.scalars(sa.select(Alert)).one()
    assert alert.message.startswith("70 % of the budget of $0.00000001 a day for model buyer@1")


def test_a_period_that_ends_is_judged_though_nothing_is_sent(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    with tenant_session(tenant) as session:
        set_budget(session, Budget(Period.DAY, 7, Scope.MODEL, "buyer@1"))
    record_calls(tenant, hours=1)
    run(tenant)
    with tenant_session(tenant) as session:
        assert not is_due(session, AT)
        assert is_due(session, AT + timedelta(days=1))
    assert enqueue_judging(AT + timedelta(days=1)) >= 1
    assert queued(tenant) == 1
    yesterday = (AT - timedelta(days=1)).date().isoformat()
    with tenant_session(tenant) as session:
        alert = session.scalars(sa.select(Alert)).one()
        alert.fingerprint = "budget:of:yesterday"
        alert.details = alert.details | {"starts_on": yesterday}
        session.execute(sa.text("DELETE FROM mlops.cost_tracking"))
    assert run(tenant) == "succeeded"
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(Alert.resolved_at)).one() is not None
        assert not is_due(session, AT + timedelta(days=9))


def test_hours_beyond_one_transaction_are_left_to_the_next_job(
    tenant: TenantId, clean_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "HOURS_AT_ONCE", 2)
    record_calls(tenant, hours=2)
    assert run(tenant) == "succeeded"
    assert queued(tenant) == 1


def test_a_tenant_with_many_changed_hours_keeps_no_other_waiting(
    tenant: TenantId, clean_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "HOURS_AT_ONCE", 2)
    quiet = create_tenant(f"quiet-{uuid4()}")
    record_calls(tenant, hours=5)
    record_calls(quiet, hours=1)
    enqueue_roll_ups()
    waiting = [(sent_at, tenant, job) for sent_at, job in jobs(tenant)]
    waiting += [(sent_at, quiet, job) for sent_at, job in jobs(quiet)]
    # Who has waited longest comes first; what is left of it comes after all others.
    for _, whose, job_id in sorted(waiting):
        roll_up(**JobMessage(tenant_id=whose, job_id=job_id).model_dump(mode="json"))
    assert [whose for _, whose, _ in sorted(waiting)] == [tenant, quiet]
    assert [dirty(tenant), dirty(quiet)] == [3, 0]
    assert [queued(tenant), queued(quiet)] == [1, 0]
    ((sent_at, _),) = jobs(tenant)
    assert sent_at > max(waiting)[0]


def test_each_tenant_with_changed_hours_gets_one_job_and_no_second_while_it_waits(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    other, idle = create_tenant(f"other-{uuid4()}"), create_tenant(f"idle-{uuid4()}")
    record_calls(tenant, hours=3)
    record_calls(other, hours=1)
    assert enqueue_roll_ups() >= 2
    assert enqueue_roll_ups() == 0
    assert [queued(tenant), queued(other), queued(idle)] == [1, 1, 0]
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(status="succeeded"))
        session.execute(sa.delete(DirtyHour))
    assert enqueue_roll_ups() == 0
