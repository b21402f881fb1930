"""Plain Celery, from a process that knows nothing of this product."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.jobs.tables import JobRow
from shared.tenancy.tenants import create_tenant

pytestmark = pytest.mark.timeout(300)

SENDER = """
import json, sys
from celery import Celery

app = Celery(broker=sys.argv[1])
app.send_task("mlops.submit", kwargs=json.loads(sys.argv[2]), queue="control")
assert not [name for name in sys.modules if name.split(".")[0] in ("shared", "tasks", "mlops")]
"""


@pytest.fixture
def sender(cluster: Any) -> tuple[TenantId, Any]:
    """A new tenant, and a function that sends its kwargs by plain Celery."""
    name = f"plain-{uuid.uuid4()}"
    tenant = create_tenant(name)

    def send(**message: object) -> None:
        message = {"tenant": name} | message
        # -I and another folder: nothing of the checkout can be imported.
        subprocess.run(
            [sys.executable, "-I", "-c", SENDER, cluster.running.redis_url, json.dumps(message)],
            check=True,
            cwd="/",
            timeout=60,
        )

    return tenant, send


def jobs_of(tenant: TenantId) -> list[JobRow]:
    with tenant_session(tenant) as session:
        return list(session.scalars(sa.select(JobRow)))


def only_job(cluster: Any, tenant: TenantId) -> JobRow:
    """The tenant's job, once it has ended."""
    found: list[JobRow] = []

    def ended() -> bool:
        found[:] = jobs_of(tenant)
        return bool(found) and all(job.finished_at is not None for job in found)

    cluster.until(ended, "the job to end")
    assert len(found) == 1
    return found[0]


def test_a_job_is_submitted(cluster: Any, sender: tuple[TenantId, Any]) -> None:
    tenant, send = sender
    send(job={"job": "roll_up"})
    assert only_job(cluster, tenant).status == "succeeded"


def test_the_same_idempotency_key_submits_once(cluster: Any, sender: tuple[TenantId, Any]) -> None:
    tenant, send = sender
    send(job={"job": "roll_up"}, idempotency_key="nightly")
    only_job(cluster, tenant)
    send(job={"job": "roll_up"}, idempotency_key="nightly")
    # One worker takes submissions in their order: after this one the last one was looked at.
    send(job={"job": "roll_up"}, idempotency_key="the night after")
    cluster.until(lambda: len(jobs_of(tenant)) > 1, "the other job")
    assert sorted(job.idempotency_key or "" for job in jobs_of(tenant)) == [
        "nightly",
        "the night after",
    ]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"job": {"job": "dance"}}, "unknown job 'dance'"),
        ({"job": {"job": "run_benchmark", "seeds": [1]}}, "name either the models or an A/B test"),
        ({"job": {"job": "roll_up", "x": 1}}, "x: Extra inputs are not permitted"),
        ({"job": "roll_up"}, "job: Input should be a valid dictionary"),
        ({"job": {"job": "roll_up"}, "priority": 1}, "priority: Extra inputs are not permitted"),
    ],
)
def test_a_malformed_job_is_a_failed_row_with_the_reason(
    cluster: Any, sender: tuple[TenantId, Any], message: dict[str, Any], said: str
) -> None:
    tenant, send = sender
    send(**message)
    refused = only_job(cluster, tenant)
    assert refused.status == "failed"
    assert said in (refused.error or "")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"models": ["nobody"]}, "no model 'nobody' is registered"),
        ({"benchmark": "webarena", "models": ["m"]}, "no benchmark 'webarena'; there is: miniwob"),
        ({"tasks": ["fly"], "models": ["m"]}, "no task 'fly' in miniwob; there is:"),
        ({"ab": {"test": "none"}}, "'none'"),
    ],
)
def test_a_run_of_what_is_not_there_fails_with_the_reason(
    cluster: Any, sender: tuple[TenantId, Any], job: dict[str, Any], said: str
) -> None:
    tenant, send = sender
    send(job={"job": "run_benchmark", "seeds": [1]} | job)
    failed = only_job(cluster, tenant)
    assert failed.status == "failed"
    assert said in (failed.error or "")
    assert failed.attempt == 1, "what cannot succeed is not tried again"
