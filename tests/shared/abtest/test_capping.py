"""Caps are settled once, by what units did before the test, and stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.capping import settled
from shared.abtest.lifecycle import create, definition_of, find, redefine, start
from shared.abtest.plan import Plan
from shared.abtest.states import AbTestError
from shared.abtest.unit_analysis import plan_of
from shared.database import TenantId, tenant_session
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import AuditEntry

NOW = datetime.now(UTC)
EVEN = [{"name": "control", "weight": 0.5}, {"name": "treatment", "weight": 0.5}]


def call(unit: str, days: float = 1, **more: Any) -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid4(),
        occurred_at=NOW - timedelta(days=days),
        unit_id=unit_digest(unit),
        **more,
    )


def put_costs(session: Session, units: int) -> None:
    """Unit n has two calls of n nano-dollars together: half a day apart, and one long ago."""
    calls = []
    for n in range(1, units + 1):
        calls += [call(str(n), input_tokens=n - 1), call(str(n), 1.5, input_tokens=1)]
        calls.append(call(str(n), 28.1, input_tokens=10**6))
    store(session, calls, lambda one: CallCost(one.input_tokens, "a price"))


def test_a_percentile_is_that_of_what_units_did_in_the_four_weeks_before(session: Session) -> None:
    put_costs(session, 250)
    create(session, "prompt", EVEN, winsorize={"cost_per_unit": "p99", "llm_latency": 30})
    assert plan_of(find(session, "prompt")).winsorize["cost_per_unit"].at is None
    plan = plan_of(start(session, "prompt"))
    cap = plan.winsorize["cost_per_unit"]
    assert (cap.at, cap.of_units, cap.quantile) == (248, 250, 0.99)
    assert plan.winsorize["llm_latency"].at == 30_000
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "ab_test.running"))
    assert entry.one().details["winsorize"]["cost_per_unit"]["at"] == 248
    # To start it again settles nothing again.
    put_costs(session, 100)
    assert plan_of(start(session, "prompt")) == plan


def test_a_units_time_is_that_of_its_mean_call(session: Session) -> None:
    calls = [call(str(n), latency_ms=3 * n) for n in range(100)]
    calls += [call(str(n), latency_ms=0) for n in range(100)]
    # Of a call that nobody timed nothing is known.
    store(session, [*calls, call("101")], lambda _: CallCost(0, "a price"))
    plan = Plan(winsorize={"llm_latency": "p90"})
    found = settled(session, plan, NOW).winsorize["llm_latency"]
    # The 90th of 100 is unit 89, with 267 ms in two calls.
    assert (found.at, found.of_units) == (134, 100)


def test_units_whose_cost_is_not_known_are_not_asked(session: Session) -> None:
    put_costs(session, 100)
    store(session, [call("100"), call("101")], lambda _: CallCost(None, "no price"))
    plan = Plan(winsorize={"cost_per_unit": "p90"})
    with pytest.raises(AbTestError, match="is of 99 units, and it takes 100"):
        settled(session, plan, NOW)


def test_what_cannot_be_settled_leaves_the_test_a_draft(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        put_costs(session, 99)
        create(session, "prompt", EVEN, winsorize={"cost_per_unit": "p99"})
    complaint = (
        r"test 'prompt' in 'production': cap of cost_per_unit: p99 of the 28 days before is of 99"
        r" units, and it takes 100; give a number of \$ instead"
    )
    with pytest.raises(AbTestError, match=complaint), tenant_session(tenant) as session:
        start(session, "prompt")
    with tenant_session(tenant) as session:
        test = find(session, "prompt")
        assert (test.status, test.table_version) == ("draft", 1)
        store(session, [call("u"), call("v")], lambda _: CallCost(0, "a price"))
        put_costs(session, 100)
        with pytest.raises(AbTestError, match=r"p99\.9 of .* of 102 units, and it takes 1000"):
            settled(session, Plan(winsorize={"cost_per_unit": "p99.9"}), NOW)


def test_a_cap_of_nothing_is_none(session: Session) -> None:
    store(session, [call(str(n)) for n in range(100)], lambda _: CallCost(0, "a price"))
    with pytest.raises(AbTestError, match=r"p99 of the 28 days before is 0; give a number of \$"):
        settled(session, Plan(winsorize={"cost_per_unit": "p99"}), NOW)


def test_a_plan_changes_until_the_test_begins_and_never_after(session: Session) -> None:
    create(session, "prompt", EVEN, minimum_effect=0.01, guardrails=["error_rate"])
    given = definition_of(find(session, "prompt")).model_dump(mode="json")
    redefine(session, given | {"minimum_effect": 0.02, "winsorize": {}})
    assert plan_of(find(session, "prompt")).minimum_effect == 0.02
    started = start(session, "prompt")
    kept = dict(started.plan)
    with pytest.raises(AbTestError, match="it is running, and its definition is fixed with its pl"):
        redefine(session, given | {"minimum_effect": 0.5})
    assert find(session, "prompt").plan == kept
    assert definition_of(started).plan == plan_of(started)
