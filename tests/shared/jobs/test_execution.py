"""Around the work: claimed once, kept alive, recorded with its end or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.jobs import reading
from shared.jobs.claims import claim
from shared.jobs.contracts import Contract, JobMessage, RollUp
from shared.jobs.execution import (
    Cancelled,
    Ending,
    Failed,
    Record,
    Succeeded,
    TryAgain,
    execute,
    in_transaction,
)
from shared.jobs.leases import Lease
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.registry.tables import Model


def message(tenant: TenantId, job_id: UUID) -> JobMessage:
    return JobMessage(tenant_id=tenant, job_id=job_id)


def job(tenant: TenantId, job_id: UUID) -> JobRow:
    with tenant_session(tenant) as session:
        return session.get_one(JobRow, job_id)


def recording(ending: Ending) -> Callable[[Contract, Lease], Record]:
    return lambda _job, _lease: lambda _session: ending


def test_the_result_is_stored_with_the_end(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    work = in_transaction(lambda _session, _job: {"hours": 3})
    assert execute(message(tenant, job_id), work, worker="w") == "succeeded"
    ended = job(tenant, job_id)
    assert (ended.status, ended.result, ended.worker) == ("succeeded", {"hours": 3}, "w")


def test_a_second_delivery_of_a_message_does_nothing(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    done: list[int] = []

    def step(_session: Session, _job: Contract) -> dict[str, object]:
        done.append(1)
        return {}

    outcomes = [
        execute(message(tenant, job_id), in_transaction(step), worker="w") for _ in range(3)
    ]
    assert outcomes == ["succeeded", "not ours", "not ours"]
    assert len(done) == 1


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        (Failed("no such agent"), "failed", "no such agent"),
        (TryAgain("the page did not load"), "queued", "the page did not load"),
        (Cancelled(), "cancelled", "cancelled"),
        (Succeeded({}), "succeeded", None),
    ],
)
def test_each_ending_is_a_state_of_the_row(
    tenant: TenantId, ending: Ending, status: str, error: str | None
) -> None:
    job_id = submit(tenant, RollUp())
    execute(message(tenant, job_id), recording(ending), worker="w")
    assert (job(tenant, job_id).status, job(tenant, job_id).error) == (status, error)


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        (ValueError("seed must be positive"), "failed", "seed must be positive"),
        (LookupError("no episode 7"), "failed", "LookupError: no episode 7"),
        (KeyError("a bug of ours"), "queued", "KeyError: 'a bug of ours'"),
        (RuntimeError("first line\nsecond"), "queued", "RuntimeError: first line"),
    ],
)
def test_a_mistake_fails_at_once_and_an_accident_is_tried_again(
    tenant: TenantId, raised: Exception, status: str, error: str
) -> None:
    def work(_job: Contract, _lease: Lease) -> Record:
        raise raised

    job_id = submit(tenant, RollUp())
    execute(message(tenant, job_id), work, worker="w")
    assert (job(tenant, job_id).status, job(tenant, job_id).error) == (status, error)


def test_what_a_failing_step_wrote_is_not_kept(tenant: TenantId) -> None:
    def step(session: Session, _job: Contract) -> dict[str, object]:
        session.add(Model(tenant_id=tenant, name="half-written"))
        session.flush()
        raise ValueError("and then this")

    job_id = submit(tenant, RollUp())
    execute(message(tenant, job_id), in_transaction(step), worker="w")
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Model)) == 0
    assert job(tenant, job_id).error == "and then this"


def test_an_error_of_the_database_does_not_tell_the_values(
    tenant: TenantId, caplog: pytest.LogCaptureFixture
) -> None:
    def step(session: Session, _job: Contract) -> dict[str, object]:
        session.execute(sa.text("SELECT CAST(:key AS int)"), {"key": "sk-secret"})
        return {}

    job_id = submit(tenant, RollUp())
    execute(message(tenant, job_id), in_transaction(step), worker="w")
    error = job(tenant, job_id).error
    assert error == "the database refused: InvalidTextRepresentation (SQLSTATE 22P02)"
    assert "sk-secret" not in caplog.text


def test_a_long_job_keeps_its_lease(tenant: TenantId) -> None:
    def work(_job: Contract, _lease: Lease) -> Record:
        time.sleep(4.5)  # the lease of the tests is three seconds
        return lambda _session: Succeeded({})

    job_id = submit(tenant, RollUp())
    thief: list[object] = []

    def steal() -> None:
        time.sleep(4)
        thief.append(claim(tenant, job_id, worker="thief", lease_seconds=30))

    stealing = threading.Thread(target=steal)
    stealing.start()
    assert execute(message(tenant, job_id), work, worker="w") == "succeeded"
    stealing.join()
    assert thief == [None]


def test_a_worker_whose_job_was_taken_over_writes_nothing(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())

    def work(_job: Contract, _lease: Lease) -> Record:
        with tenant_session(tenant) as session:
            session.execute(sa.update(JobRow).values(claim_id=uuid4(), worker="other"))
        return lambda _session: Succeeded({"by": "the first"})

    assert execute(message(tenant, job_id), work, worker="w") == "lost"
    assert job(tenant, job_id).result is None
    assert job(tenant, job_id).worker == "other"


def test_a_running_worker_hears_of_a_cancellation(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    heard: list[bool] = []

    def work(_job: Contract, lease: Lease) -> Record:
        reading.cancel(tenant, str(job_id))
        deadline = time.monotonic() + 30
        while not lease.cancelled() and time.monotonic() < deadline:
            time.sleep(0.02)
        heard.append(lease.cancelled())
        return lambda _session: Cancelled()

    execute(message(tenant, job_id), work, worker="w")
    assert heard == [True]
    assert job(tenant, job_id).status == "cancelled"


def test_a_row_that_no_longer_fits_its_contract_fails_with_the_reason(tenant: TenantId) -> None:
    job_id = submit(tenant, RollUp())
    with tenant_session(tenant) as session:
        session.execute(sa.update(JobRow).values(payload={"job": "roll_up", "x": 1}))
    execute(message(tenant, job_id), in_transaction(lambda _s, _j: {}), worker="w")
    assert job(tenant, job_id).error == "job roll_up: x: Extra inputs are not permitted"
