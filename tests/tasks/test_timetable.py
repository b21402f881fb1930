"""Each entry of the timetable has a task, and its work is done once per slot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
import sqlalchemy as sa
from celery import Celery

from shared.database import system_session
from shared.jobs.contracts import CONTRACTS, Queue
from shared.jobs.tables import TimetableSlot
from shared.local.ephemeral import TemporaryServices


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


def test_a_slot_is_taken_once_however_many_want_it(app: Celery) -> None:
    take = import_module("tasks.control").take_slot
    now = datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC)
    every = timedelta(seconds=5)
    with ThreadPoolExecutor(6) as threads:
        taken = list(threads.map(lambda _: take("test-entry", every, now), range(12)))
    assert sum(taken) == 1
    assert take("test-entry", every, now + every)
    assert take("another-entry", every, now)


def test_old_slots_are_forgotten(app: Celery) -> None:
    take = import_module("tasks.control").take_slot
    every = timedelta(seconds=5)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(40):
        take("forgetful", every, now + n * every)
    with system_session() as session:
        kept = session.scalar(sa.select(sa.func.count()).where(TimetableSlot.entry == "forgetful"))
    assert kept <= 12
