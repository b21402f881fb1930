"""What `ConfigManager.assign` shows units reaches PostgreSQL once, with what they do afterwards."""

from __future__ import annotations

import json
import math
import multiprocessing
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis
import sqlalchemy as sa
from click.testing import Result

import tasks.costs
import tasks.ingest  # noqa: F401 (its tasks are registered)
from mlops import ConfigManager, MetricsCollector, exposing
from mlops.exposing import Exposing, exposing_of
from shared import broker
from shared.abtest.copies import close_copies
from shared.abtest.exposures import Exposure as Shown
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.tables import AbSum
from shared.abtest.unit_sums import sum_units
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import JobMessage
from shared.jobs.tables import JobRow, JobStatus
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import Tenant
from tests.shared.abtest.own_redis import until

UNITS = [f"user-{number}" for number in range(40)]


@pytest.fixture
def metrics(
    tenant: TenantId,
    with_environment: Callable[..., None],
    clean_redis: redis.Redis,
    tmp_path: Path,
) -> Iterator[MetricsCollector]:
    with tenant_session(tenant) as session:
        with_environment(MLOPS_TENANT=session.scalar(sa.select(Tenant.name)))
    with MetricsCollector(spill_folder=tmp_path / "spill", flush_seconds=0.05) as made:
        yield made


@pytest.fixture
def manager(tenant: TenantId, metrics: MetricsCollector) -> Iterator[ConfigManager]:
    yield ConfigManager(tenant, metrics=metrics)
    exposing_of(tenant, metrics).close()
    close_copies()


def arrive(exposing: Exposing, metrics: MetricsCollector, tenant: TenantId) -> None:
    """Hand over what was shown, and do what the workers of the queue `ingest` do."""
    exposing.hand_over()
    assert metrics.flush()
    with tenant_session(tenant) as session:
        queued = session.execute(
            sa.select(JobRow.id, JobRow.kind).where(
                JobRow.status == JobStatus.QUEUED, JobRow.kind == "ingest_batch"
            )
        ).all()
    for job_id, kind in queued:
        message = JobMessage(tenant_id=tenant, job_id=job_id).model_dump(mode="json")
        assert broker.celery_app().tasks[broker.task_name(kind)](**message) == "succeeded"


def test_what_units_are_shown_and_do_is_summed_by_variant(
    manager: ConfigManager,
    metrics: MetricsCollector,
    tenant: TenantId,
    mlops: Callable[..., Result],
) -> None:
    test = manager.create_ab_test("prompt", ["standard", "concise"], coverage=0.5)
    shown: dict[str, str] = {}
    for unit in UNITS:
        given = manager.assign("prompt", unit)
        if given.variant is not None:
            shown[unit] = given.variant.name
        metrics.start_task(
            "answer", unit_id=unit, variant=given.variant.name if given.variant else None
        )
        metrics.record_llm_call(latency=1.0)
        metrics.end_task(success=given.variant is not None)
    # Shown again, it is the same exposure.
    for unit in UNITS:
        manager.assign("prompt", unit)
    assert 5 < len(shown) < 35
    arrive(exposing_of(tenant), metrics, tenant)
    arrive(exposing_of(tenant), metrics, tenant)
    with tenant_session(tenant) as session:
        sum_units(session)
        known = session.scalars(sa.select(Exposure).where(Exposure.test_id == test.id)).all()
        assert {row.unit_id: row.variant for row in known} == {
            unit_digest(unit): variant for unit, variant in shown.items()
        }
        assert all(row.slot is not None and not row.mixed for row in known)
        sums = session.scalars(sa.select(AbSum).where(AbSum.metric == "task_completion_rate")).all()
        for row in sums:
            of_variant = [unit for unit, variant in shown.items() if variant == row.variant]
            assert (row.units, row.y, row.x) == (len(of_variant),) * 3
    text = mlops("ab", "show", "prompt").stdout
    of_control = sum(variant == "standard" for variant in shown.values())
    assert text.startswith(f"collecting: standard has {of_control} of at least 30 units\n")
    assert "sample ratio as intended (p = " in text
    found = json.loads(mlops("ab", "show", "prompt", "--json").stdout)
    assert (found["state"], found["units"]) == ("collecting", len(shown))


class _Kept:
    """A transport that keeps what it is to send."""

    def __init__(self) -> None:
        self.lines = b""

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        self.lines += zlib.decompress(packed) + b"\n"


def test_no_unit_id_leaves_the_process(tmp_path: Path) -> None:
    kept = _Kept()
    with MetricsCollector(transport=kept, spill_folder=tmp_path / "spill") as metrics:
        metrics.record_llm_call(unit_id="ann@example.org")
        metrics.record_exposure(uuid4(), "ann@example.org", "concise", slot=7)
        metrics.start_task("answer", unit_id="ann@example.org", variant="concise")
        metrics.end_task(success=True)
        assert metrics.flush()
    assert b"example" not in kept.lines
    assert kept.lines.count(str(unit_digest("ann@example.org")).encode()) == 4


def test_a_unit_outside_of_the_test_is_not_exposed(
    manager: ConfigManager, metrics: MetricsCollector, tenant: TenantId
) -> None:
    manager.create_ab_test("prompt", ["standard", "concise"], coverage=0.0)
    manager.create_ab_test("forced", ["a", "b"], forced={UNITS[0]: "b"}, coverage=0.0)
    for unit in UNITS:
        manager.assign("prompt", unit)
        manager.assign("forced", unit)
    assert exposing_of(tenant, metrics).hand_over() == 0


def test_what_a_child_of_multiprocessing_shows_is_sent_when_it_ends(
    manager: ConfigManager, metrics: MetricsCollector, tenant: TenantId
) -> None:
    manager.create_ab_test("prompt", ["standard", "concise"])
    manager.assign("prompt", UNITS[0])
    child = multiprocessing.get_context("fork").Process(
        target=lambda: [manager.assign("prompt", unit) for unit in UNITS]
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    arrive(exposing_of(tenant), metrics, tenant)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Exposure)) == len(UNITS)


def test_what_cannot_be_handed_over_waits_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exposing, "SECONDS", 0.01)
    buffer = ExposureBuffer()
    # Of no day that there is: the collector is never told of it.
    buffer.add(Shown(uuid4(), "user", "concise", 7, at=math.inf))
    with MetricsCollector(transport=_Kept(), spill_folder=tmp_path / "spill") as metrics:
        sending = Exposing(TenantId(uuid4()), buffer, metrics)
        until(lambda: "not handed over" in caplog.text)
        until(lambda: buffer.pending == 1)
        buffer.drain(lambda waiting: None)
        buffer.add(Shown(uuid4(), "user", "concise", 7, at=0.0))
        until(lambda: metrics.counts.recorded == 1)
        sending.close()
    assert caplog.text.count("not handed over") == 1


def test_the_collector_that_was_given_last_sends_until_it_is_closed(
    manager: ConfigManager, metrics: MetricsCollector, tenant: TenantId, tmp_path: Path
) -> None:
    manager.create_ab_test("prompt", ["standard", "concise"])
    manager.assign("prompt", UNITS[0])
    kept = _Kept()
    with MetricsCollector(transport=kept, spill_folder=tmp_path / "other") as other:
        another = ConfigManager(tenant, metrics=other)
        another.assign("prompt", UNITS[1])
        assert exposing_of(tenant).hand_over() == 2
        assert other.counts.recorded == 2
    another.assign("prompt", UNITS[2])
    assert exposing_of(tenant).hand_over() == 1
    assert other.counts.waiting == 0
