"""What each language model was billed in an hour, and why calls have no price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa

from shared.costs.aggregation import aggregate
from shared.costs.tables import LlmModelCost
from shared.database import TenantId, tenant_session
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.gaps import Gap, gap_of
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.rollups import roll_up_dirty_hours

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
PRICED = CallCost(5, "a price")


def record(tenant: TenantId, *calls: tuple[str | None, str | None, CallCost]) -> None:
    events = [
        LlmCallEvent(event_id=uuid4(), occurred_at=HOUR, provider=provider, llm_model=model)
        for provider, model, _ in calls
    ]
    costs = {event.event_id: cost for event, (*_, cost) in zip(events, calls, strict=True)}
    with tenant_session(tenant) as session:
        store(session, events, lambda event: costs[event.event_id])
    with tenant_session(tenant) as session:
        aggregate(session, roll_up_dirty_hours(session))


def billed(tenant: TenantId) -> set[tuple[str, str, str, int, int, int]]:
    with tenant_session(tenant) as session:
        return {
            (
                one.provider,
                one.llm_model,
                one.gap,
                one.llm_calls,
                one.simulated_calls,
                one.cost_nanos,
            )
            for one in session.scalars(sa.select(LlmModelCost).where(LlmModelCost.hour == HOUR))
        }


def test_an_hour_has_what_each_language_model_was_billed_and_is_replaced(tenant: TenantId) -> None:
    record(tenant, ("openai", "m", PRICED), ("openai", "m", CallCost(7, "a price", simulated=True)))
    assert billed(tenant) == {("openai", "m", "", 2, 1, 12)}
    record(tenant, ("openai", "m", PRICED), (None, None, PRICED))
    assert billed(tenant) == {("openai", "m", "", 3, 1, 17), ("", "", "", 1, 0, 5)}


def test_a_call_without_a_provider_is_that_of_whom_its_price_is(tenant: TenantId) -> None:
    record(tenant, (None, "m", CallCost(5, "by its name", provider="openai")), ("p", "m", PRICED))
    assert billed(tenant) == {("openai", "m", "", 1, 0, 5), ("p", "m", "", 1, 0, 5)}


def test_reasons_are_counted_by_class_whatever_names_and_numbers_they_hold(
    tenant: TenantId,
) -> None:
    why = [f"{gap} {number}" for gap in Gap for number in (1, 2) if gap is not Gap.OTHER]
    record(tenant, *(("p", "m", CallCost(None, reason)) for reason in [*why, "unheard of"]))
    assert billed(tenant) == {
        ("p", "m", gap.code, 1 if gap is Gap.OTHER else 2, 0, 0) for gap in Gap
    }
    assert [gap_of(gap.code) for gap in Gap] == list(Gap)
    assert gap_of("of an older version") is Gap.OTHER
