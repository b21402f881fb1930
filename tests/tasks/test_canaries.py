"""Secrets planted in every text of telemetry are in no table, no log and no export afterwards."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from typer.testing import CliRunner

from mlops import MetricsCollector
from mlops.cli import app
from shared.database import TenantId, psycopg_url, tenant_session
from shared.jobs.contracts import IngestEvents, JobMessage
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.tables import EventRow
from shared.tenancy.tables import Tenant
from tasks.costs import roll_up
from tasks.ingest import ingest_batch, ingest_events
from tests.shared.canaries import CANARIES, SECRETS

NAME_LENGTH = 200


@pytest.fixture
def in_tenant(
    tenant: TenantId, with_environment: Callable[..., None], clean_redis: redis.Redis
) -> TenantId:
    with tenant_session(tenant) as session:
        with_environment(MLOPS_TENANT=session.scalars(sa.select(Tenant.name)).one())
    return tenant


def event(kind: str, **fields: object) -> dict[str, Any]:
    return {
        "kind": kind,
        "event_id": str(uuid.uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(),
    } | fields


def planted(canary: str) -> list[dict[str, Any]]:
    """An event of every kind, good and bad, with the secret wherever a text can be."""
    name = " ".join(canary.split())[:NAME_LENGTH]
    common = {
        "model": name,
        "function": name,
        "variant": name,
        "attributes": {"note": canary, name: "x"},
    }
    failed = {"error_type": name, "error_message": f"it said {canary}"}
    return [
        event("llm_call", provider=name, llm_model=name, **common, **failed),
        event("action", success=False, action=name, **common, **failed),
        event("page_load", url=f"https://shop.test/{name}?key={name}", **common, **failed),
        event("task_start", **common),
        event("task_end", success=False, outcome=name, **common, **failed),
        event("metric", name=name, value=1, unit=name[:20], **common),
        event("system", host=name, cpu_percent=1, **common),
        event("llm_call", latency_ms=-1, **common, **failed),
        event("llm_call", mood=canary),
        event(canary),
    ]


def finish(tenant: TenantId) -> None:
    """Do the jobs that wait, as workers would."""
    tasks = {"ingest_events": ingest_events, "ingest_batch": ingest_batch, "roll_up": roll_up}
    with tenant_session(tenant) as session:
        waiting = session.execute(
            sa.select(JobRow.kind, JobRow.id).where(JobRow.status == "queued")
        ).all()
    for kind, job in waiting:
        message = JobMessage(tenant_id=tenant, job_id=job).model_dump(mode="json")
        assert tasks[kind].apply(kwargs=message).get() == "succeeded"


def everything_stored(services: TemporaryServices, tenant: TenantId) -> Iterator[tuple[str, str]]:
    """Every row of the tenant in every table, and of tables without tenants, as text."""
    url = sa.make_url(services.superuser_url).set(
        database=sa.make_url(services.database_url).database
    )
    engine = sa.create_engine(
        psycopg_url(url.render_as_string(hide_password=False)), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        tables = connection.scalars(
            sa.text("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
                    " AND relnamespace = 'mlops'::regnamespace AND NOT relispartition")
        ).all()  # fmt: skip
        assert {"events", "jobs", "rejected_events", "error_messages"} <= set(tables)
        for table in tables:
            columns = connection.scalars(
                sa.text("SELECT attname FROM pg_attribute WHERE attrelid = CAST(:t AS regclass)"),
                {"t": f"mlops.{table}"},
            ).all()
            of_tenant = "WHERE tenant_id = :tenant" if "tenant_id" in columns else ""
            rows = sa.text(f'SELECT t::text FROM mlops."{table}" t {of_tenant}')
            for row in connection.scalars(rows, {"tenant": tenant} if of_tenant else {}):
                yield table, row


def test_planted_secrets_are_found_nowhere(
    in_tenant: TenantId, services: TemporaryServices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert len(CANARIES) >= 12
    for canary in CANARIES.values():
        submit(in_tenant, IngestEvents(events=tuple(planted(canary))))
    collector = MetricsCollector()
    for canary in CANARIES.values():
        name = " ".join(canary.split())[:NAME_LENGTH]
        collector.start_task(name)
        collector.record_llm_call(model=name, error=RuntimeError(f"failed: {canary}"))
        collector.record_action(name, success=False, error=canary, attributes={"note": canary})
        collector.record_page_load(f"https://u:{canary}@shop.test/?k={name}", load_time=1)
        collector.record_metric(name, 1.0)
        collector.end_task(success=False, error=canary)
    assert collector.flush(timeout=30)
    collector.close()
    waiting = list(everything_stored(services, in_tenant))
    finish(in_tenant)
    submit(in_tenant, _roll_up())
    finish(in_tenant)
    with tenant_session(in_tenant) as session:
        stored = session.scalar(sa.select(sa.func.count()).select_from(EventRow))
    assert stored is not None
    assert stored > 10 * len(CANARIES)

    exports = [
        CliRunner().invoke(app, list(command)).output
        for command in (
            ("monitor", "performance", "--json"),
            ("monitor", "performance", "--by", "function"),
            ("monitor", "errors", "--json"),
            ("monitor", "health", "--json"),
            ("cost", "report", "--json"),
            ("job", "list", "--json"),
        )
    ]
    assert "[redacted]" in "".join(exports)
    rows = (*waiting, *everything_stored(services, in_tenant))
    for kind, secret in SECRETS.items():
        for table, row in rows:
            assert secret not in row, f"{kind} in mlops.{table}: {row[:500]}"
        assert secret not in caplog.text, f"{kind} in the log"
        assert not any(secret in export for export in exports), f"{kind} in an export"


def _roll_up() -> Any:
    from shared.jobs.contracts import RollUp

    return RollUp()
