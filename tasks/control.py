"""Queue `control`: submissions from outside, benchmark runs, A/B analysis, and the timetable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
import sqlalchemy as sa
from celery import shared_task
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.abtest.analysis import step as analyze_step
from shared.abtest.assignment import assign
from shared.abtest.lifecycle import load_table
from shared.database import system_session, tenant_session
from shared.evaluation.runs import Assigned, Chooser, create_run
from shared.jobs.contracts import (
    AbSplit,
    AnalyzeAbTest,
    RunBenchmark,
    SubmitMessage,
    one_line,
    parse_submitted,
)
from shared.jobs.errors import InvalidJobError
from shared.jobs.submission import record_refused, submit
from shared.jobs.sweeping import sweep
from shared.jobs.tables import TimetableSlot
from shared.settings import settings
from shared.tenancy.tenants import TenancyError, find_tenant
from tasks.cards import enqueue_cards
from tasks.costs import enqueue_roll_ups
from tasks.declaring import transactional_task
from tasks.drift import watch_for_drift

log = logging.getLogger(__name__)

DAYS_AHEAD = 7


@shared_task(name="mlops.submit")
def submit_from_outside(**message: Any) -> str:
    """A job sent by plain Celery: `{"tenant": ..., "job": {"job": kind, ...}}`.

    Its sender hears nothing back, so a job that is refused is kept as a failed row.
    """
    try:
        parsed = SubmitMessage.model_validate(message)
        tenant_id = find_tenant(parsed.tenant)
    except ValidationError as error:
        return _refuse(message, one_line(error))
    except TenancyError as error:
        log.error("refused a submission: %s", error)
        return f"refused: {error}"
    try:
        job = parse_submitted(parsed.job)
    except InvalidJobError as error:
        return _refuse(message, str(error))
    return str(
        submit(tenant_id, job, idempotency_key=parsed.idempotency_key, not_before=parsed.not_before)
    )


def _refuse(message: Mapping[str, Any], reason: str) -> str:
    log.error("refused a submission: %s", reason)
    tenant = message.get("tenant", SubmitMessage.model_fields["tenant"].default)
    try:
        tenant_id = find_tenant(str(tenant))
    except TenancyError:
        return f"refused: {reason}"
    job = message.get("job")
    payload = job if isinstance(job, dict) else {"submitted": repr(job)[:1000]}
    with tenant_session(tenant_id) as session:
        return f"refused: {record_refused(session, payload.get('job'), payload, reason)}"


def _chooser(session: Session, split: AbSplit) -> Chooser:
    table = load_table(session, split.test, split.environment)

    def choose(unit_id: str) -> Assigned:
        variant = assign(table, unit_id)
        return Assigned(variant.name, variant.model)

    return choose


run_benchmark = transactional_task(
    RunBenchmark, lambda session, job: create_run(session, job, _chooser)
)
analyze_ab_test = transactional_task(AnalyzeAbTest, analyze_step)


def timetable_task(name: str, every: timedelta) -> Callable[[Callable[[], None]], Any]:
    """A task of the timetable: done once per slot of `every`, however many beats send it."""

    def declare(act: Callable[[], None]) -> Any:
        @shared_task(name=name)
        def run(entry: str) -> str:
            if not take_slot(entry, every, datetime.now(UTC)):
                return "done already"
            act()
            return "done"

        return run

    return declare


def take_slot(entry: str, every: timedelta, now: datetime) -> bool:
    """Whether the caller is the first to come for the slot of `every` that `now` lies in."""
    since_epoch = now.timestamp()
    slot = datetime.fromtimestamp(since_epoch - since_epoch % every.total_seconds(), UTC)
    with system_session() as session:
        # Slots tell something only while a second beat may still send the same one.
        session.execute(
            sa.delete(TimetableSlot).where(
                TimetableSlot.entry == entry, TimetableSlot.slot < slot - 10 * every
            )
        )
        taken = session.scalar(
            insert(TimetableSlot)
            .values(entry=entry, slot=slot)
            .on_conflict_do_nothing()
            .returning(TimetableSlot.entry)
        )
    return taken is not None


@timetable_task("mlops.sweep", every=timedelta(seconds=5))
def sweep_jobs() -> None:
    try:
        swept = sweep(settings().resend_after_seconds)
    except redis.RedisError as error:
        log.warning("not swept, Redis is away: %s", type(error).__name__)
        return
    if swept.freed or swept.failed or swept.sent:
        log.info("swept: %d freed, %d ended, %d sent", swept.freed, swept.failed, swept.sent)


@timetable_task("mlops.roll_up_dirty_hours", every=timedelta(minutes=1))
def roll_up_dirty_hours() -> None:
    enqueue_roll_ups()


@timetable_task("mlops.make_event_partitions", every=timedelta(hours=1))
def make_event_partitions() -> None:
    today = datetime.now(UTC).date()
    with system_session() as session:
        session.execute(
            sa.select(
                sa.func.mlops.ensure_event_partitions(today, today + timedelta(days=DAYS_AHEAD))
            )
        )


@timetable_task("mlops.watch_for_drift", every=timedelta(hours=1))
def watch() -> None:
    watch_for_drift(datetime.now(UTC))


@timetable_task("mlops.write_cards", every=timedelta(days=7))
def write_cards() -> None:
    enqueue_cards()
