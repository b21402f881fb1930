"""The jobs of drift: what they find is stored and told with their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import redis
import sqlalchemy as sa

from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_session
from shared.drift.tables import DriftDetection
from shared.jobs.contracts import CheckQuality, DetectDrift, JobMessage, LastRequests, WindowOf
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.rollups import roll_up_dirty_hours
from tasks.drift import check_quality, detect_drift

AT = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
JOB = DetectDrift(
    baseline=WindowOf(start=AT - HOUR, end=AT), current=WindowOf(start=AT, end=AT + HOUR)
)


def record_calls(tenant: TenantId, hour: datetime, latency_ms: int) -> None:
    calls = [
        LlmCallEvent(
            event_id=uuid4(),
            occurred_at=hour,
            model="buyer@1.0.0",
            function="checkout",
            provider="p",
            llm_model="m",
            latency_ms=latency_ms + number,
        )
        for number in range(50)
    ]
    with tenant_session(tenant) as session:
        store(session, calls, lambda _: CallCost(7, "a price"))
        roll_up_dirty_hours(session)


def run(tenant: TenantId, job: DetectDrift = JOB) -> UUID:
    job_id = submit(tenant, job)
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    assert detect_drift(**message) == "succeeded"
    # The same message again finds the job ended.
    assert detect_drift(**message) == "not ours"
    return job_id


def test_events_become_a_verdict_under_the_name_of_the_job(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    record_calls(tenant, AT - HOUR, 100)
    record_calls(tenant, AT, 400)
    job_id = run(tenant, JOB.model_copy(update={"alerts": True}))
    with tenant_session(tenant) as session:
        result = session.get_one(JobRow, job_id).result
        assert result is not None
        assert (result["sweep_id"], result["alerts_raised"]) == (str(job_id), 1)
        found = session.execute(
            sa.select(DriftDetection.metric, DriftDetection.verdict)
            .where(DriftDetection.sweep_id == job_id)
            .distinct()
        ).all()
    assert ("llm_latency_ms", "drift") in found
    assert ("page_load_ms", "no_data") in found


def test_a_sweep_by_hand_finds_and_alarms_nobody(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    record_calls(tenant, AT - HOUR, 100)
    record_calls(tenant, AT, 400)
    job_id = run(tenant)
    with tenant_session(tenant) as session:
        result = session.get_one(JobRow, job_id).result
        assert result is not None
        assert result["states"]["drift"] >= 1
        assert "alerts_raised" not in result
        assert session.scalars(sa.select(Alert.id)).all() == []


def test_a_tenant_without_any_telemetry_has_a_sweep_without_findings(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    run(tenant)
    with tenant_session(tenant) as session:
        result = session.scalars(sa.select(JobRow.result)).one()
    assert result is not None
    assert (result["metrics"], result["states"]) == (0, {})


@pytest.mark.parametrize("kind", ["time", "requests", "quality"])
def test_a_window_that_is_still_to_come_fails_in_one_line(
    tenant: TenantId, clean_redis: redis.Redis, kind: str
) -> None:
    """Its alerts would be left as they are until then."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + 30 * HOUR
    window = WindowOf(start=AT, end=end)
    job = (
        CheckQuality(current=window)
        if kind == "quality"
        else DetectDrift(
            current=window if kind == "time" else LastRequests(requests=50, until=end), alerts=True
        )
    )
    job_id = submit(tenant, job)
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    task = check_quality if kind == "quality" else detect_drift
    assert task(**message) == "failed"
    with tenant_session(tenant) as session:
        error = session.get_one(JobRow, job_id).error
    assert error is not None
    assert error.startswith(f"the current window ends at {end:%Y-%m-%d %H:%M} UTC, which is still")


def test_a_check_of_the_data_tells_of_what_is_broken(
    tenant: TenantId, clean_redis: redis.Redis
) -> None:
    """Every second event came twice, of every hour of the day."""
    with tenant_session(tenant) as session:
        for back in range(24):
            hour = AT - back * HOUR
            calls = [LlmCallEvent(event_id=uuid4(), occurred_at=hour) for _ in range(10)]
            for batch in (calls, calls[:5]):
                store(session, batch, lambda _: CallCost(7, "a price"), hour)
        roll_up_dirty_hours(session)
    job_id = submit(tenant, CheckQuality(current=WindowOf(start=AT - 23 * HOUR, end=AT + HOUR)))
    message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
    assert check_quality(**message) == "succeeded"
    with tenant_session(tenant) as session:
        result = session.get_one(JobRow, job_id).result
        assert result is not None
        assert (result["functions"], result["alerts_raised"]) == (1, 1)
        said = session.scalars(sa.select(Alert.message)).one()
    assert said.startswith("events sent again of unknown in unknown: 120 of 360 (33.33%)")
