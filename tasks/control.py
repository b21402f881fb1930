"""Queue `control`: submissions from outside, benchmark runs, A/B analysis, and the timetable."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import redis
import sqlalchemy as sa
from celery import Task, shared_task
from celery.exceptions import Reject
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from shared.abtest.analysis import step as analyze_step
from shared.abtest.enrolment import complete_moves
from shared.abtest.exposed import store_exposures
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.lifecycle import find
from shared.abtest.retention import forget_old_units
from shared.abtest.serving import load_test, republish
from shared.abtest.states import AbStatus, AbTestError
from shared.abtest.unit_sums import sum_units
from shared.alerts.ab_looks import look_at, to_be_looked_at
from shared.costs.agents import why_unpriced
from shared.costs.pricing import tenant_prices
from shared.database import TenantId, system_session, tenant_session
from shared.drift.retention import forget_old_findings
from shared.drift.watching import EVERY
from shared.evaluation import artifacts
from shared.evaluation.changing import extend
from shared.evaluation.runs import Assigned, Chooser, ChooserOf, PriceCheck, create_run
from shared.jobs import timetable
from shared.jobs.contracts import (
    AbSplit,
    AnalyzeAbTest,
    ExtendRun,
    RunBenchmark,
    SubmitMessage,
    SumUnits,
    WatchAbTest,
    one_line,
    parse_submitted,
)
from shared.jobs.errors import InvalidJobError
from shared.jobs.execution import one_line as one_line_of
from shared.jobs.execution import outlives_a_restart
from shared.jobs.submission import (
    enqueue,
    enqueue_unless_queued,
    record_refused,
    storable,
    submit,
)
from shared.jobs.sweeping import sweep
from shared.settings import settings
from shared.telemetry.retention import keep_no_longer
from shared.tenancy.tenants import TenancyError, find_tenant
from shared.tracking.runs import SILENT, end_silent_runs
from tasks.cards import enqueue_cards
from tasks.costs import enqueue_anomalies, enqueue_judging, enqueue_roll_ups
from tasks.declaring import transactional_task
from tasks.drift import watch_for_drift

log = logging.getLogger(__name__)

DAYS_AHEAD = 7
REFUSED_LENGTH = 100_000


@shared_task(name="mlops.submit", bind=True)
def submit_from_outside(self: Task, **message: Any) -> str:
    """A job sent by plain Celery: `{"tenant": ..., "job": {"job": kind, ...}}`.

    Its sender hears nothing back, so a job that is refused is kept as a failed row. There is no
    row yet that a sweeper could find: until there is one, the message stays in the broker.
    """
    # A message that is delivered twice has the same identifier, and submits once.
    key = f"message:{self.request.id}"
    try:
        return _submitted(message, key)
    except (OperationalError, InterfaceError) as error:
        log.error("a submission goes back to the broker: %s", one_line_of(error))
        raise Reject(requeue=True) from None


@outlives_a_restart
def _submitted(message: Mapping[str, Any], key: str) -> str:
    try:
        parsed = SubmitMessage.model_validate(message)
        tenant_id = find_tenant(parsed.tenant)
        job = parse_submitted(parsed.job)
        return str(
            submit(
                tenant_id,
                job,
                idempotency_key=parsed.idempotency_key or key,
                not_before=parsed.not_before,
            )
        )
    except ValidationError as error:
        return _refuse(message, one_line(error), key)
    except (TenancyError, InvalidJobError) as error:
        return _refuse(message, str(error), key)


def _refuse(message: Mapping[str, Any], reason: str, key: str) -> str:
    log.error("refused a submission: %s", reason)
    tenant = message.get("tenant", SubmitMessage.model_fields["tenant"].default)
    try:
        tenant_id = find_tenant(storable(str(tenant)))
    except TenancyError:
        # There is nobody to keep it for.
        return f"refused: {reason}"
    job = message.get("job")
    kind = job.get("job") if isinstance(job, dict) else None
    with tenant_session(tenant_id) as session:
        record_refused(session, kind, _kept(job), reason, idempotency_key=key)
    return f"refused: {reason}"


def _kept(job: object) -> dict[str, Any]:
    """What is stored of a refused job: the job, or its beginning where it is no JSON or huge."""
    try:
        text = json.dumps(job, allow_nan=False)
    except ValueError:
        text = ""
    if isinstance(job, dict) and 0 < len(text) <= REFUSED_LENGTH:
        return job
    return {"submitted": repr(job)[:1000]}


def _chooser(exposures: ExposureBuffer, session: Session, split: AbSplit) -> Chooser:
    test = load_test(session, split.test, split.environment, exposures=exposures)
    if test.table.status is AbStatus.CONCLUDED:
        raise AbTestError(
            f"test {split.test!r} is concluded: evaluate the model of its winner,"
            f" {test.table.winner!r}"
        )
    for variant in test.table.variants:
        if variant.model is None:
            raise AbTestError(
                f"variant {variant.name!r} of test {split.test!r} names no model to be evaluated"
            )
    control = str(test.table.variants[0].model)

    def choose(unit_id: str) -> Assigned:
        given = test.assign(unit_id, {}).variant
        return Assigned(None, control) if given is None else Assigned(given.name, str(given.model))

    return choose


def _price_check(session: Session) -> PriceCheck:
    return partial(why_unpriced, tenant_prices(session))


def make_run(session: Session, job: RunBenchmark) -> Mapping[str, Any]:
    with _exposing(session) as chooser:
        return create_run(session, job, chooser, _price_check(session))


def make_more(session: Session, job: ExtendRun) -> Mapping[str, Any]:
    with _exposing(session) as chooser:
        return extend(session, job, chooser, _price_check(session))


@contextmanager
def _exposing(session: Session) -> Iterator[ChooserOf]:
    """What chooses the variants of a run's units, which are exposed by it in its transaction."""
    exposures = ExposureBuffer(most_pending=sys.maxsize)
    yield partial(_chooser, exposures)
    exposures.drain(partial(store_exposures, session))


run_benchmark = transactional_task(RunBenchmark, make_run)
extend_run = transactional_task(ExtendRun, make_more)
analyze_ab_test = transactional_task(AnalyzeAbTest, analyze_step)


def look(session: Session, job: WatchAbTest) -> Mapping[str, Any]:
    return asdict(look_at(session, find(session, job.test, job.environment), datetime.now(UTC)))


watch_ab_test = transactional_task(WatchAbTest, look)


def enqueue_looks(slot: datetime) -> int:
    """A job for each test that is to be looked at; return how many.

    Asked again for the same slot, nothing is added.
    """
    with system_session() as session:
        tenants = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
    asked = 0
    for tenant_id in tenants:
        with tenant_session(TenantId(tenant_id)) as session:
            for test in to_be_looked_at(session):
                job = WatchAbTest(test=test.name, environment=test.environment)
                enqueue(session, job, idempotency_key=f"{slot.isoformat()}:{test.id}")
                asked += 1
    return asked


def add_up(session: Session, job: SumUnits) -> Mapping[str, Any]:
    """Sum what waits, and ask for another job where more does: no transaction grows long."""
    summed = sum_units(session)
    if summed.more:
        enqueue(session, SumUnits())
    return {"events": summed.events, "exposures": summed.exposures}


sum_up = transactional_task(SumUnits, add_up)


def enqueue_unit_sums() -> int:
    """A job for each tenant whose units have news and that has none queued; return how many."""
    with system_session() as session:
        tenants = session.scalars(sa.text("SELECT mlops.tenants_with_unit_news()")).all()
    return sum(enqueue_unless_queued(TenantId(tenant), SumUnits()) for tenant in tenants)


def timetable_task(name: str, every: timedelta) -> Callable[[Callable[[datetime], None]], Any]:
    """A task of the timetable: its work is given the slot of `every` that it is done for.

    Done once per slot, however many beats send it. Two workers that come at the same moment may
    both begin; what they ask for is keyed by the slot, so it is there once.
    """

    def declare(act: Callable[[datetime], None]) -> Any:
        @outlives_a_restart
        def act_once(entry: str) -> str:
            slot = timetable.slot_of(datetime.now(UTC), every)
            if timetable.is_done(entry, slot):
                return "done already"
            act(slot)
            timetable.mark_done(entry, slot, every)
            return "done"

        @shared_task(name=name, bind=True, max_retries=20, default_retry_delay=30)
        def run(self: Task, entry: str) -> str:
            try:
                return act_once(entry)
            except (OperationalError, InterfaceError) as error:
                log.error("%s is tried again later: %s", entry, one_line_of(error))
                raise self.retry() from None

        return run

    return declare


@timetable_task("mlops.sweep", every=timedelta(seconds=5))
def sweep_jobs(slot: datetime) -> None:
    try:
        swept = sweep(settings().resend_after_seconds)
    except redis.RedisError as error:
        log.warning("not swept, Redis is away: %s", type(error).__name__)
        return
    if swept.freed or swept.failed or swept.sent:
        log.info("swept: %d freed, %d ended, %d sent", swept.freed, swept.failed, swept.sent)


@timetable_task("mlops.roll_up_dirty_hours", every=timedelta(minutes=1))
def roll_up_dirty_hours(slot: datetime) -> None:
    enqueue_roll_ups()


@timetable_task("mlops.sum_units_everywhere", every=timedelta(minutes=1))
def sum_units_everywhere(slot: datetime) -> None:
    enqueue_unit_sums()


@timetable_task("mlops.republish_ab_tests", every=timedelta(minutes=1))
def republish_ab_tests(slot: datetime) -> None:
    """Of all tenants: Redis may have been emptied, or was away when a test was changed; and a
    process for which a test's slots have waited may have ended without a word."""
    with system_session() as session:
        tenants = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
    for tenant_id in tenants:
        if moved := complete_moves(TenantId(tenant_id)):
            log.info("moved the slots of A/B tests: %s", ", ".join(moved))
    try:
        for tenant_id in tenants:
            with tenant_session(tenant_id) as session:
                published = republish(session)
            if published:
                log.info("published %d A/B tests again", published)
    except redis.RedisError as error:
        log.warning("A/B tests not published, Redis is away: %s", type(error).__name__)


@timetable_task("mlops.look_at_ab_tests", every=timedelta(hours=1))
def look_at_ab_tests(slot: datetime) -> None:
    enqueue_looks(slot)


@timetable_task("mlops.end_silent_runs", every=timedelta(minutes=1))
def end_runs_of_dead_processes(slot: datetime) -> None:
    now = datetime.now(UTC)
    with system_session() as session:
        tenants = session.scalars(
            sa.select(sa.func.mlops.tenants_with_silent_runs(now - SILENT))
        ).all()
    for tenant_id in tenants:
        with tenant_session(tenant_id) as session:
            end_silent_runs(session, now)


@timetable_task("mlops.make_event_partitions", every=timedelta(hours=1))
def make_event_partitions(slot: datetime) -> None:
    today = slot.date()
    with system_session() as session:
        session.execute(
            sa.select(
                sa.func.mlops.ensure_event_partitions(today, today + timedelta(days=DAYS_AHEAD))
            )
        )


@timetable_task("mlops.find_cost_anomalies_everywhere", every=timedelta(hours=1))
def find_cost_anomalies(slot: datetime) -> None:
    enqueue_anomalies(slot)


@timetable_task("mlops.judge_budgets_everywhere", every=timedelta(hours=1))
def judge_budgets(slot: datetime) -> None:
    enqueue_judging(slot)


@timetable_task("mlops.remove_old_events", every=timedelta(hours=1))
def remove_old_events(slot: datetime) -> None:
    removed = keep_no_longer(slot)
    if removed:
        log.info("removed %d events that are not kept longer", removed)
    units = forget_old_units(slot, timedelta(days=settings().ab_keep_days))
    if units:
        log.info("removed %d units and exposures of A/B tests that ended long ago", units)
    forgotten = forget_old_findings()
    if forgotten:
        log.info("removed %d rows of findings of drift that are not kept longer", forgotten)


@timetable_task("mlops.watch_for_drift", every=EVERY)
def watch(slot: datetime) -> None:
    watch_for_drift(slot)


@timetable_task("mlops.prune_artifacts", every=timedelta(hours=1))
def prune_artifacts(slot: datetime) -> None:
    removed = artifacts.prune_all()
    if removed:
        log.info("removed %d pictures and traces", removed)


@timetable_task("mlops.write_cards", every=timedelta(days=7))
def write_cards(slot: datetime) -> None:
    enqueue_cards(slot)
