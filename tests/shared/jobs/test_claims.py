"""A job belongs to one worker at a time, and only its holder can end it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.jobs import claims, reading
from shared.jobs.claims import Claim, claim, end_cancelled, fail, give_back, succeed
from shared.jobs.contracts import IngestEvents, RollUp
from shared.jobs.errors import JobError, LeaseLostError
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow


def row(tenant: TenantId, job_id: object) -> JobRow:
    with tenant_session(tenant) as session:
        return session.get_one(JobRow, job_id)


def claimed(tenant: TenantId, *, lease_seconds: float = 30.0) -> Claim:
    found = claim(tenant, submit(tenant, RollUp()), worker="first", lease_seconds=lease_seconds)
    assert found is not None
    return found


def test_of_many_claims_at_once_one_is_granted(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())

    def attempt(n: int) -> Claim | None:
        return claim(tenant, job_id, worker=f"worker-{n}", lease_seconds=30)

    with ThreadPoolExecutor(8) as threads:
        granted = [found for found in threads.map(attempt, range(8)) if found]
    assert len(granted) == 1
    assert row(tenant, job_id).worker == granted[0].worker


def test_a_job_of_another_tenant_cannot_be_claimed(tenant: TenantId, services: object) -> None:
    from shared.tenancy.tenants import create_tenant

    other = create_tenant(f"other-{time.time_ns()}")
    job_id = submit(tenant, RollUp())
    assert claim(other, job_id, worker="thief", lease_seconds=30) is None


def test_an_expired_lease_is_taken_over_and_the_first_worker_writes_nothing(
    tenant: TenantId,
) -> None:
    first = claimed(tenant, lease_seconds=0.05)
    time.sleep(0.1)
    second = claim(tenant, first.job_id, worker="second", lease_seconds=30)
    assert second is not None
    assert second.attempt == first.attempt + 1
    with pytest.raises(LeaseLostError), tenant_session(tenant) as session:
        succeed(session, first, {"by": "first"})
    with tenant_session(tenant) as session:
        succeed(session, second, {"by": "second"})
    assert row(tenant, first.job_id).result == {"by": "second"}


def test_a_lost_lease_rolls_back_what_was_written_with_it(tenant: TenantId) -> None:
    first = claimed(tenant, lease_seconds=0.05)
    time.sleep(0.1)
    claim(tenant, first.job_id, worker="second", lease_seconds=30)
    with pytest.raises(LeaseLostError), tenant_session(tenant) as session:
        submit_id = session.scalar(
            sa.text(
                "INSERT INTO mlops.models (id, tenant_id, name)"
                " VALUES (gen_random_uuid(), :t, 'x') RETURNING id"
            ),
            {"t": tenant},
        )
        assert submit_id is not None
        succeed(session, first, {})
    with tenant_session(tenant) as session:
        assert session.scalar(sa.text("SELECT count(*) FROM mlops.models")) == 0


def test_a_job_given_back_is_failed_after_its_last_attempt(tenant: TenantId) -> None:
    held = claimed(tenant)
    for _ in range(held.max_attempts - 1):
        with tenant_session(tenant) as session:
            give_back(session, held, "the page did not load")
            session.execute(sa.update(JobRow).values(not_before=sa.func.now()))
        waiting = row(tenant, held.job_id)
        assert (waiting.status, waiting.error) == ("queued", "the page did not load")
        again = claim(tenant, held.job_id, worker="next", lease_seconds=30)
        assert again is not None
        held = again
    with tenant_session(tenant) as session:
        give_back(session, held, "the page did not load")
    ended = row(tenant, held.job_id)
    assert (ended.status, ended.attempt) == ("failed", held.max_attempts)
    assert claim(tenant, held.job_id, worker="late", lease_seconds=30) is None


def test_a_job_that_waits_for_its_time_is_not_claimed_before(tenant: TenantId) -> None:
    held = claimed(tenant)
    with tenant_session(tenant) as session:
        give_back(session, held, "later")
    assert claim(tenant, held.job_id, worker="early", lease_seconds=30) is None


def test_an_ended_job_cannot_be_claimed_or_ended_again(tenant: TenantId) -> None:
    held = claimed(tenant)
    with tenant_session(tenant) as session:
        fail(session, held, "no such task")
    assert claim(tenant, held.job_id, worker="again", lease_seconds=30) is None
    with pytest.raises(LeaseLostError), tenant_session(tenant) as session:
        succeed(session, held, {})


def test_a_batch_that_was_ingested_is_not_stored_twice(tenant: TenantId) -> None:
    job_id = submit(tenant, IngestEvents(events=({"kind": "x"},)))
    held = claim(tenant, job_id, worker="w", lease_seconds=30)
    assert held is not None
    with tenant_session(tenant) as session:
        succeed(session, held, {"stored": 1})
    assert row(tenant, job_id).payload == {}


def test_renewing_tells_which_leases_are_still_held(tenant: TenantId) -> None:
    kept, lost = claimed(tenant), claimed(tenant)
    with tenant_session(tenant) as session:
        fail(session, lost, "ended elsewhere")
    with tenant_session(tenant) as session:
        held = claims.renew(session, {kept.id, lost.id}, lease_seconds=99)
    assert held == {kept.id}


def test_a_claim_that_a_crash_forgot_holds_nothing(tenant: TenantId) -> None:
    """Claims are not waited for on disk: after a crash the next one has the same number."""
    forgotten = claimed(tenant)
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(status="queued", attempt=0, claim_id=None))
    second = claim(tenant, forgotten.job_id, worker="first", lease_seconds=30)
    assert second is not None
    assert second.attempt == forgotten.attempt
    with pytest.raises(LeaseLostError), tenant_session(tenant) as session:
        succeed(session, forgotten, {})


def test_what_was_cancelled_while_it_ran_is_not_queued_again(tenant: TenantId) -> None:
    held = claimed(tenant)
    reading.cancel(tenant, str(held.job_id))
    with tenant_session(tenant) as session:
        give_back(session, held, "the page did not load")
    ended = row(tenant, held.job_id)
    assert ended.status == "cancelled"
    assert ended.finished_at is not None


def test_a_cancelled_job_is_never_claimed(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    assert reading.cancel(tenant, str(job_id)).status == "cancelled"
    assert claim(tenant, job_id, worker="w", lease_seconds=30) is None


def test_cancelling_a_running_job_asks_its_worker(tenant: TenantId) -> None:
    held = claimed(tenant)
    assert reading.cancel(tenant, str(held.job_id)).status == "running"
    with tenant_session(tenant) as session:
        assert claims.cancel_requested(session, [held.job_id]) == {held.job_id}
        end_cancelled(session, held)
    assert row(tenant, held.job_id).status == "cancelled"


def test_a_result_that_counts_is_not_made_a_second_time(tenant: TenantId) -> None:
    held = claimed(tenant)
    with tenant_session(tenant) as session:
        fail(session, held, "nonsense three times in a row", {"final": True})
    with pytest.raises(JobError, match="submit a new run"):
        reading.retry(tenant, str(held.job_id))


def test_a_failed_job_can_be_retried_with_new_attempts(tenant: TenantId) -> None:
    held = claimed(tenant)
    with tenant_session(tenant) as session:
        fail(session, held, "the endpoint refused the key")
    assert reading.retry(tenant, str(held.job_id)[:13]).status == "queued"
    again = claim(tenant, held.job_id, worker="w", lease_seconds=30)
    assert again is not None
    assert not again.last_attempt
