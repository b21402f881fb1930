"""From `MetricsCollector` through PostgreSQL and the workers' tasks to the summary."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
import sqlalchemy as sa
from psycopg import sql

import tasks.costs
import tasks.ingest
from mlops import MetricsCollector
from mlops.telemetry.sending import DatabaseTransport, RefusedBatchError, WaitError
from shared import broker, database
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import JobMessage
from shared.jobs.tables import JobRow, JobStatus
from shared.local.ephemeral import TemporaryServices
from shared.telemetry import batches
from shared.telemetry.histograms import Histogram
from shared.telemetry.tables import EventRow, ModelPerformance, RejectedEvent
from shared.tenancy.tables import Tenant


@pytest.fixture
def tenant(
    tenant: TenantId, with_environment: Callable[..., None], clean_redis: redis.Redis
) -> TenantId:
    """The test's tenant, which is that of this process too."""
    with tenant_session(tenant) as session:
        with_environment(MLOPS_TENANT=session.scalar(sa.select(Tenant.name)))
    return tenant


@pytest.fixture
def metrics(tenant: TenantId, tmp_path: Path) -> Iterator[MetricsCollector]:
    with MetricsCollector(spill_folder=tmp_path / "spill", flush_seconds=0.05) as made:
        yield made


def do_queued_jobs(tenant: TenantId) -> None:
    """What workers would do, in this process."""
    registered = broker.celery_app().tasks
    tasks.costs.enqueue_roll_ups()
    with tenant_session(tenant) as session:
        queued = session.execute(
            sa.select(JobRow.id, JobRow.kind)
            .where(JobRow.status == JobStatus.QUEUED)
            .order_by(JobRow.created_at)
        ).all()
    for job_id, kind in queued:
        message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
        assert registered[broker.task_name(kind)](**message) == "succeeded"


def ingest_and_sum(metrics: MetricsCollector, tenant: TenantId) -> None:
    assert metrics.flush()
    do_queued_jobs(tenant)
    do_queued_jobs(tenant)


def the_documented_calls(metrics: MetricsCollector) -> None:
    metrics.start_task("web_search_task")
    metrics.record_action("navigate", success=True, duration=2.1)
    metrics.record_action("type", success=True, duration=1.5)
    metrics.record_llm_call(tokens_used=150, cost=0.003)
    metrics.record_page_load("https://google.com", load_time=1.2, dom_complexity=450)
    metrics.end_task(success=True)


def test_the_documented_calls_come_back_as_a_summary(
    metrics: MetricsCollector, tenant: TenantId
) -> None:
    the_documented_calls(metrics)
    ingest_and_sum(metrics, tenant)
    summary = metrics.get_performance_summary(hours=24)
    assert (summary.tasks_started, summary.tasks, summary.successes) == (1, 1, 1)
    assert summary.success_rate == 1
    assert summary.success_interval is not None
    assert 0 < summary.success_interval.low < summary.success_interval.high == 1
    assert (summary.actions, summary.action_error_rate, summary.page_loads) == (2, 0, 1)
    assert summary.action_latency.p50 == pytest.approx(1.5, rel=0.005)
    assert summary.page_load_time.p99 == pytest.approx(1.2, rel=0.005)
    assert (summary.llm_calls, summary.llm_errors, summary.unpriced_calls) == (1, 0, 0)
    assert summary.llm_latency.p50 is None
    assert summary.cost_nanos == 3_000_000
    assert summary["cost"] == pytest.approx(0.003)
    assert summary.as_of is not None
    assert summary.since < summary.as_of <= summary.until
    assert list(summary.functions) == ["web_search_task"]
    assert summary.functions["web_search_task"]["actions"] == 2
    assert summary.to_dict()["functions"]["web_search_task"]["tasks"] == 1


def test_the_summary_adds_up_its_functions(metrics: MetricsCollector, tenant: TenantId) -> None:
    for function, success in (("buy", True), ("buy", False), ("look", True)):
        metrics.start_task(function)
        metrics.record_llm_call(
            provider="openai", llm_model="gpt-4.1-mini", input_tokens=100, output_tokens=10,
            cached_input_tokens=0, cache_write_tokens=0, latency=0.2,
        )  # fmt: skip
        metrics.record_llm_call(provider="nobody", llm_model="unheard-of", error="refused")
        metrics.end_task(success=success)
    ingest_and_sum(metrics, tenant)
    summary = metrics.get_performance_summary()
    assert list(summary.functions) == ["buy", "look"]
    buy, look = summary.functions.values()
    assert (buy.tasks, buy.successes, look.tasks, look.successes) == (2, 1, 1, 1)
    assert (summary.tasks, summary.successes) == (3, 2)
    assert (summary.llm_calls, summary.llm_errors, summary.unpriced_calls) == (6, 3, 3)
    assert (summary.llm_error_rate, summary.error_rate) == (0.5, 0.5)
    assert sum(summary.errors_by_category.values()) == 3
    assert (summary.input_tokens, summary.output_tokens) == (300, 30)
    assert None not in (buy.cost_nanos, look.cost_nanos)
    assert summary.cost_nanos == buy.cost_nanos + look.cost_nanos  # type: ignore[operator]
    only = metrics.get_performance_summary(function="look")
    assert list(only.functions) == ["look"]
    assert only.tasks == 1


def test_of_nothing_nothing_is_known(metrics: MetricsCollector) -> None:
    summary = metrics.get_performance_summary(hours=1)
    assert (summary.tasks, summary.llm_calls, summary.functions) == (0, 0, {})
    unknown = ("success_rate", "success_interval", "cost", "input_tokens", "as_of")
    assert [summary[name] for name in unknown] == [None] * 5
    assert summary.llm_latency == (None, None, None)
    with pytest.raises(KeyError):
        summary["to_dict"]


def test_the_text_of_a_query_is_in_no_table(
    metrics: MetricsCollector, tenant: TenantId, services: TemporaryServices
) -> None:
    secret, told = "quokka4711", "told4711"
    for tokens in (5, -5):
        # The second is put aside, with the beginning of its line.
        metrics.record_llm_call(query=f"find {secret}", input_tokens=tokens, llm_model=told)
    assert metrics.flush()
    waiting = occurrences(services, secret)
    do_queued_jobs(tenant)
    do_queued_jobs(tenant)
    with tenant_session(tenant) as session:
        hours = session.execute(sa.select(ModelPerformance.query_words)).scalars().all()
        assert [Histogram.from_bytes(packed).values.tolist() for packed in hours] == [[2.0]]
        assert session.scalars(sa.select(RejectedEvent)).one().line.count("query_measures") == 1
    assert (waiting, occurrences(services, secret)) == ([], [])
    assert {"events", "rejected_events"} <= {
        table.partition("_2")[0] for table in occurrences(services, told)
    }


def occurrences(services: TemporaryServices, text: str) -> list[str]:
    """The tables that hold it, as text or as bytes, those of all tenants."""
    patterns = f"%{text}%", f"%{text.encode().hex()}%"
    with psycopg.connect(services.superuser_url, dbname=database_of(services)) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'mlops'::regnamespace"
        ).fetchall()
        return [
            name
            for (name,) in tables
            if connection.execute(
                sql.SQL("SELECT 1 FROM mlops.{} AS t WHERE t::text LIKE ANY (%s)").format(
                    sql.Identifier(name)
                ),
                [list(patterns)],
            ).fetchone()
        ]


def database_of(services: TemporaryServices) -> str:
    return urlsplit(services.database_url).path.lstrip("/")


def test_calls_without_a_price_have_no_cost(metrics: MetricsCollector, tenant: TenantId) -> None:
    metrics.record_llm_call(provider="nobody", llm_model="unheard-of", tokens_used=5)
    ingest_and_sum(metrics, tenant)
    summary = metrics.get_performance_summary()
    assert (summary.llm_calls, summary.unpriced_calls) == (1, 1)
    assert (summary.cost, summary.cost_nanos) == (None, None)


@pytest.mark.parametrize("hours", [0, -1, 8_785, "24", None, True, 1.5, float("nan"), [1] * 999])
def test_hours_that_cannot_be_are_refused(metrics: MetricsCollector, hours: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^hours is .*; expected 1 to 8,784") as said:
        metrics.get_performance_summary(hours=hours)
    assert len(str(said.value)) < 200


@pytest.mark.parametrize("wrong", [5, b"bytes", "a\0b", "x" * 201])
def test_names_that_cannot_be_are_refused(metrics: MetricsCollector, wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^function is .*; expected "):
        metrics.get_performance_summary(function=wrong)


def test_what_no_call_has_stated_is_unknown(metrics: MetricsCollector, tenant: TenantId) -> None:
    metrics.start_task("total")
    metrics.record_llm_call(tokens_used=150, cost=0.1)
    metrics.end_task(success=True)
    metrics.start_task("split")
    metrics.record_llm_call(input_tokens=100, output_tokens=10, cost=0.1)
    metrics.end_task(success=True)
    metrics.start_task("none")
    metrics.end_task(success=True)
    ingest_and_sum(metrics, tenant)
    summary = metrics.get_performance_summary()
    parts = ("cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    for figures in (summary, *summary.functions.values()):
        assert [figures[name] for name in parts] == [None] * 3
    total, split, none = (summary.functions[name] for name in ("total", "split", "none"))
    assert (total.input_tokens, total.output_tokens, total.uncounted_calls) == (None, None, 0)
    assert (split.input_tokens, split.output_tokens) == (100, 10)
    assert (none.input_tokens, none.cost, none.cost_nanos) == (None, None, None)
    assert (summary.input_tokens, summary.cost) == (100, pytest.approx(0.2))


def test_one_bad_event_is_put_aside_and_the_rest_is_stored(
    metrics: MetricsCollector, tenant: TenantId
) -> None:
    the_documented_calls(metrics)
    metrics.record_llm_call(input_tokens=-5)
    metrics.record_llm_call(confidence=float("nan"))
    ingest_and_sum(metrics, tenant)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 6
        reasons = sorted(session.scalars(sa.select(RejectedEvent.reason)))
    assert [reason.partition(":")[0] for reason in reasons] == [
        "llm_call.confidence",
        "llm_call.input_tokens",
    ]


def test_a_batch_that_is_sent_again_changes_nothing(tenant: TenantId) -> None:
    transport = DatabaseTransport(tenant)
    line = (
        b'{"kind":"llm_call","event_id":"%s","occurred_at":"%s","model":"m","function":"f"'
        b',"cost_dollars":"0.25"}'
    )
    said = line % (str(uuid4()).encode(), datetime.now(UTC).isoformat().encode())
    batch_id = uuid4()
    for _ in range(2):
        transport.send(batch_id, batches.pack([said]), 1)
        do_queued_jobs(tenant)
    transport.send(batch_id, batches.pack([said]), 1)
    do_queued_jobs(tenant)
    with tenant_session(tenant) as session:
        costs = session.scalars(sa.select(EventRow.cost_nanos)).all()
    assert costs == [int(Decimal("0.25") * 10**9)]


def run(code: str) -> None:
    """In a process of its own, which ends at once."""
    preamble = "import os; from mlops import MetricsCollector; metrics = MetricsCollector(); "
    done = subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_that_ends_at_once_has_sent_its_events(tenant: TenantId) -> None:
    """Or, on a machine that is too busy for the seconds that an end may take, left to the next."""
    run("metrics.record_llm_call(tokens_used=150, cost=0.003)")
    for later in (None, "assert metrics.flush()"):
        if later is not None:
            run(later)
        do_queued_jobs(tenant)
        with tenant_session(tenant) as session:
            if stored := session.scalars(sa.select(EventRow.cost_nanos)).all():
                break
    assert stored == [3_000_000]


def test_a_fork_has_connections_of_its_own(tenant: TenantId) -> None:
    run(
        """
metrics.record_llm_call(cost=1)
assert metrics.flush()
children = []
for cost in (2, 3):
    pid = os.fork()
    if pid == 0:
        metrics.record_llm_call(cost=cost)
        os._exit(0 if metrics.flush() and metrics.counts.sent == 1 else 1)
    children.append(pid)
metrics.record_llm_call(cost=4)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
"""
    )
    do_queued_jobs(tenant)
    with tenant_session(tenant) as session:
        costs = sorted(session.scalars(sa.select(EventRow.cost_nanos)))
    assert costs == [10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9]


def test_what_the_store_answers_is_told_apart(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(error: Exception) -> None:
        def accept(*_: object) -> None:
            raise error

        monkeypatch.setattr(batches, "accept", accept)

    answer(batches.StoreFullError(10, 5))
    with pytest.raises(WaitError) as wait:
        DatabaseTransport().send(uuid4(), b"", 0)
    assert wait.value.seconds == batches.RETRY_AFTER_SECONDS
    answer(batches.BatchError("not compressed"))
    with pytest.raises(RefusedBatchError, match="not compressed"):
        DatabaseTransport().send(uuid4(), b"", 0)


def a_batch() -> tuple[Any, bytes, int]:
    line = b'{"kind":"task_start","event_id":"%s","occurred_at":"%s"}'
    said = line % (str(uuid4()).encode(), datetime.now(UTC).isoformat().encode())
    return uuid4(), batches.pack([said]), 1


def test_a_statement_that_waits_for_ever_is_given_up(tenant: TenantId, services: Any) -> None:
    """By the server, or by the sender where the machine is too busy for the server to be first."""
    patient, hasty = DatabaseTransport(tenant), DatabaseTransport(tenant, answer_seconds=0.2)
    with psycopg.connect(services.database_owner_url) as other:
        other.execute("LOCK TABLE mlops.event_batches IN ACCESS EXCLUSIVE MODE")
        told = "statement timeout|server closed the connection"
        with pytest.raises(sa.exc.OperationalError, match=told):
            hasty.send(*a_batch())
    patient.send(*a_batch())


def test_a_server_that_hangs_is_given_up(tenant: TenantId) -> None:
    patient, hasty = DatabaseTransport(tenant), DatabaseTransport(tenant, answer_seconds=0.2)
    patient.send(*a_batch())
    backends = []
    try:
        for connection in pooled():
            backends.append(connection.info.backend_pid)
            os.kill(backends[-1], signal.SIGSTOP)
        with pytest.raises(sa.exc.OperationalError):
            hasty.send(*a_batch())
    finally:
        for backend in backends:
            os.kill(backend, signal.SIGCONT)
    patient.send(*a_batch())


def pooled() -> list[psycopg.Connection[Any]]:
    """The connections of this process that are at rest."""
    taken = []
    with ExitStack() as stack:
        while database.engine().pool.checkedin():  # type: ignore[attr-defined]
            connection = stack.enter_context(database.engine().connect())
            taken.append(connection.connection.driver_connection)
    return taken  # type: ignore[return-value]


def test_a_database_that_is_away_is_told_when_it_is_back(
    metrics: MetricsCollector,
    tenant: TenantId,
    services: Any,
    with_environment: Callable[..., None],
    until: Callable[[Callable[[], object]], None],
) -> None:
    with_environment(DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:1/nowhere")
    the_documented_calls(metrics)
    assert metrics.flush()
    assert (metrics.counts.sent, metrics.counts.spilled) == (0, 6)
    with_environment(DATABASE_URL=services.database_url)
    until(lambda: metrics.counts.sent == 6)
    ingest_and_sum(metrics, tenant)
    assert metrics.get_performance_summary().tasks == 1
