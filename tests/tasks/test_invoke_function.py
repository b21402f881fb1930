"""The job `invoke_function`: its result, its next attempt, and its end when nobody wants it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from threading import Event

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.functions.definition import UnknownFunctionError, parse
from shared.functions.registering import create
from shared.jobs import claims
from shared.jobs.claims import Claim
from shared.jobs.contracts import InvokeFunction
from shared.jobs.errors import InvalidJobError
from shared.jobs.execution import Cancelled, Ending, Failed, Succeeded, TryAgain
from shared.jobs.leases import kept
from shared.jobs.requests import cancel_all
from shared.jobs.submission import submit
from shared.jobs.tables import JobRow
from shared.telemetry.tables import EventRow
from tasks.evaluation import answer_request
from tests.shared.evaluation.test_llm_agent import Answer, completion, endpoint

JOB = InvokeFunction(function="insight", query="Why?")


@pytest.fixture
def serve(tenant: TenantId):
    """Create the function `insight` whose endpoint gives `respond(n)` to the n-th request."""
    with ExitStack() as stack:

        def run(respond: Callable[[int], Answer]) -> None:
            url, _ = stack.enter_context(endpoint(respond))
            variant = {"name": "only", "model": "m", "base_url": url, "api_key_env": None}
            variant |= {"max_retries": 0}
            with tenant_session(tenant) as session:
                create(session, parse({"name": "insight", "variants": [variant]}))

        yield run


def claimed(tenant: TenantId, job: InvokeFunction = JOB) -> Claim:
    claim = claims.claim(tenant, submit(tenant, job), worker="w", lease_seconds=60)
    assert claim is not None
    return claim


def worked(claim: Claim) -> Ending:
    with kept(claim, 60) as lease:
        record = answer_request(InvokeFunction.model_validate(claim.payload), lease)
    # A transaction whose commit was not heard of is done again.
    for _ in range(2):
        with tenant_session(claim.tenant_id) as session:
            ending = record(session)
    return ending


def calls(tenant: TenantId) -> list[tuple[str | None, dict]]:
    with tenant_session(tenant) as session:
        query = sa.select(EventRow.error_type, EventRow.attributes)
        found = session.execute(query.where(EventRow.kind == "llm_call")).all()
    return [tuple(row) for row in found]


def test_the_answer_is_the_result_of_the_job(tenant: TenantId, serve) -> None:
    serve(lambda n: completion("Fewer items."))
    claim = claimed(tenant)
    ending = worked(claim)
    assert isinstance(ending, Succeeded)
    result = json.loads(json.dumps(ending.result))
    assert (result["text"], result["outcome"]) == ("Fewer items.", "answered")
    # The job is the call, so that each of its attempts has the same unit.
    assert (result["id"], result["unit"], result["unit_from"]) == (*[str(claim.job_id)] * 2, "call")
    # What is recorded twice is stored once.
    assert len(calls(tenant)) == 1


@pytest.mark.parametrize(("status", "ends"), [(503, TryAgain), (400, Failed)])
def test_what_may_be_better_later_is_tried_again(
    tenant: TenantId, serve, status: int, ends: type
) -> None:
    serve(lambda n: (status, b"{}"))
    ending = worked(claimed(tenant))
    assert isinstance(ending, ends)
    assert f"HTTP {status}" in ending.error
    assert [kind for kind, _ in calls(tenant)] == [f"http_{status}"]


def test_a_job_that_is_cancelled_asks_no_longer(tenant: TenantId, serve) -> None:
    asked, over = Event(), Event()
    claim: list[Claim] = []

    def hang(n: int) -> Answer:
        asked.set()
        with tenant_session(tenant) as session:
            cancel_all(session, sa.select(JobRow.id).where(JobRow.id == claim[0].job_id))
        over.wait(30)
        return 500, b"{}"

    serve(hang)
    claim.append(claimed(tenant))
    try:
        assert isinstance(worked(claim[0]), Cancelled)
    finally:
        over.set()
    assert asked.is_set()
    assert [kind for kind, _ in calls(tenant)] == ["aborted"]


def test_a_function_that_is_not_there_fails_the_job_for_good(tenant: TenantId) -> None:
    with pytest.raises(UnknownFunctionError, match="no function 'insight'; there is: none yet"):
        worked(claimed(tenant))


@pytest.mark.parametrize(
    "wrong",
    [{"query": "x" * 1_000_001}, {"context": {"a": "\ud800"}}, {"context": {"a": "x" * 10**6}}],
)
def test_what_cannot_be_stored_is_refused(wrong: dict) -> None:
    from shared.jobs.contracts import parse as parse_job

    with pytest.raises(InvalidJobError, match="invoke_function"):
        parse_job("invoke_function", {"function": "insight", "query": "q"} | wrong)
