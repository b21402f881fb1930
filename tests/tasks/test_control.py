"""Queue `control`: the timetable once per slot, and submissions from outside once per message."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery
from kombu.exceptions import DecodeError
from kombu.serialization import loads

from shared.database import TenantId, system_session, tenant_session
from shared.jobs.contracts import CONTRACTS, Queue
from shared.jobs.tables import JobRow, TimetableSlot
from shared.jobs.timetable import SLOTS_KEPT, is_done, mark_done, slot_of
from shared.local.ephemeral import TemporaryServices
from shared.tenancy.tables import Tenant


@pytest.fixture
def app(services: TemporaryServices) -> Celery:
    """The application with its tasks and timetable, as a beat process has it."""
    loaded = import_module("beat_schedule").app
    loaded.loader.import_default_modules()
    return loaded


def test_every_entry_and_every_contract_has_a_task(app: Celery) -> None:
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
    for kind in CONTRACTS:
        assert f"mlops.{kind}" in app.tasks


def test_there_are_the_six_queues_and_no_other(app: Celery) -> None:
    assert {queue.name for queue in app.conf.task_queues} == set(Queue)
    assert not app.conf.task_create_missing_queues


def test_only_json_is_accepted(app: Celery) -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"


ENTRY_EVERY = timedelta(seconds=5)


def test_a_slot_begins_where_its_period_does() -> None:
    now = datetime(2026, 1, 1, 12, 0, 3, 500_000, tzinfo=UTC)
    assert slot_of(now, ENTRY_EVERY) == datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert slot_of(now + ENTRY_EVERY, ENTRY_EVERY) == datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


def test_the_work_of_a_slot_is_done_once_however_many_ticks_come(app: Celery) -> None:
    done: list[datetime] = []
    declare = import_module("tasks.control").timetable_task
    tick = declare("test.ticked", every=timedelta(days=1000))(done.append)
    assert [tick(entry="test-entry") for _ in range(3)] == ["done", "done already", "done already"]
    assert len(done) == 1


def test_a_slot_whose_work_failed_is_not_done(app: Celery) -> None:
    def fail(slot: datetime) -> None:
        raise RuntimeError("killed half-way")

    declare = import_module("tasks.control").timetable_task
    every = timedelta(days=1000)
    with pytest.raises(RuntimeError):
        declare("test.failing", every=every)(fail)(entry="half-way")
    assert not is_done("half-way", slot_of(datetime.now(UTC), every))


def test_old_slots_are_forgotten(services: TemporaryServices) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(40):
        mark_done("forgetful", now + n * ENTRY_EVERY, ENTRY_EVERY)
    with system_session() as session:
        kept = session.scalar(sa.select(sa.func.count()).where(TimetableSlot.entry == "forgetful"))
    assert kept <= SLOTS_KEPT + 1


@pytest.fixture
def deliver(app: Celery) -> Callable[..., None]:
    """Do what a control worker does with a message of plain Celery."""

    def delivered(message_id: str, **message: Any) -> None:
        app.tasks["mlops.submit"].apply(kwargs=message, task_id=message_id, throw=True)

    return delivered


def jobs_of(tenant: TenantId) -> list[JobRow]:
    with tenant_session(tenant) as session:
        return list(session.scalars(sa.select(JobRow)))


def test_a_submission_that_is_delivered_twice_is_one_job(
    deliver: Callable[..., None], tenant: TenantId
) -> None:
    for _ in range(2):
        deliver("m-1", tenant=name_of(tenant), job={"job": "roll_up"})
        deliver("m-2", tenant=name_of(tenant), job={"job": "dance"})
    assert sorted(job.status for job in jobs_of(tenant)) == ["failed", "queued"]


@pytest.mark.parametrize(
    "job",
    [
        {"job": "x\ud800"},
        {"job": "ingest_events", "events": [{"n": float("inf")}]},
        {"job": "x", "n": float("nan")},
        {"job": "x\x00"},
        {"job": "x", "s": "s" * 10**6},
        [1],
        None,
    ],
)
def test_whatever_is_submitted_leaves_a_failed_row(
    deliver: Callable[..., None], tenant: TenantId, job: object
) -> None:
    deliver("m", tenant=name_of(tenant), job=job)
    (refused,) = jobs_of(tenant)
    assert refused.status == "failed"
    assert refused.error


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_could_not_be_read_back_is_refused(
    deliver: Callable[..., None], tenant: TenantId, time: str
) -> None:
    deliver("m", tenant=name_of(tenant), job={"job": "roll_up"}, not_before=time)
    (refused,) = jobs_of(tenant)
    assert "not_before" in (refused.error or "")


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_a_message_nested_too_deeply_is_discarded_before_it_can_end_a_worker(depth: int) -> None:
    body = b"[" * depth + b"1" + b"]" * depth
    with pytest.raises(DecodeError, match="nested"):
        loads(body, "application/json", "utf-8", accept={"application/json"})


def test_a_tenant_that_is_not_there_is_told_in_the_log(
    deliver: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    deliver("m", tenant="nob\x00ody", job={"job": "roll_up"})
    deliver("m", tenant="nob\ud800ody", job={"job": "roll_up"})
    deliver("m", tenant="nobody", job={"job": "roll_up"})
    assert "no tenant 'nobody'" in caplog.text


def name_of(tenant: TenantId) -> str:
    with tenant_session(tenant) as session:
        return session.get_one(Tenant, tenant).name
