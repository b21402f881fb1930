"""A tenant's own prices: replaced as a whole, audited, and in force with the next batch."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.overrides import PriceOverride
from shared.costs.prices import Origin, PriceTable, Quote, shipped_prices
from shared.costs.pricing import STATED, call_cost, replace_own_prices, tenant_prices
from shared.database import TenantId, tenant_session
from shared.telemetry.events import LlmCallEvent
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def own(model: str = "m", rate: str = "1", **fields: Any) -> PriceOverride:
    return PriceOverride.model_validate(
        {
            "provider": "p",
            "model": model,
            "starts": "2026-01-01",
            "source": "a contract",
            "input": rate,
            "output": rate,
        }
        | fields
    )


def call(**fields: Any) -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid4(),
        occurred_at=AT,
        model="buyer@1",
        function="checkout",
        **{
            "provider": "p",
            "llm_model": "m",
            "input_tokens": 10,
            "cached_input_tokens": 0,
            "output_tokens": 0,
        }
        | fields,
    )


def rate(table: PriceTable, model: str = "m") -> Decimal:
    quote = table.quote("p", model, AT)
    assert isinstance(quote, Quote)
    return quote.input.steps[0][1]


def test_without_prices_of_its_own_a_tenant_has_those_that_all_have(session: Session) -> None:
    assert tenant_prices(session) is shipped_prices()


def test_what_is_imported_holds_from_the_next_look_on(tenant: TenantId) -> None:
    for price in ("1", "2"):
        with tenant_session(tenant) as session:
            done = replace_own_prices(session, [own(rate=price)])
        with tenant_session(tenant) as session:
            table = tenant_prices(session)
            assert rate(table) == Decimal(price)
            assert table.version == done.version
            # Read once, until there is another import.
            assert tenant_prices(session) is table
    with tenant_session(tenant) as session:
        assert replace_own_prices(session, []).before == 1
    with tenant_session(tenant) as session:
        assert tenant_prices(session) is shipped_prices()


def test_an_import_replaces_all_and_is_audited_in_its_transaction(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        replace_own_prices(session, [own("m"), own("n"), own("n", starts="2026-02-01")])
    with pytest.raises(RuntimeError), tenant_session(tenant) as session:
        replace_own_prices(session, [])
        raise RuntimeError("broken off")
    with tenant_session(tenant) as session:
        done = replace_own_prices(session, [own("n", "3", cached_input="0.5", cache_write="4")])
        assert (done.before, done.after) == (3, 1)
        assert [entry.model for entry in tenant_prices(session).own] == ["n"]
        found = session.execute(
            sa.select(AuditEntry.action, AuditEntry.details).order_by(AuditEntry.id)
        ).all()
    said = [(action, details["before"], details["after"]) for action, details in found[1:]]
    assert said == [("prices.import", 0, 3), ("prices.import", 3, 1)]
    assert found[-1].details["version"] == done.version


def test_prices_read_back_are_the_ones_that_were_imported(tenant: TenantId) -> None:
    entries = (
        own("m", "0.000001", simulated=True),
        own("n", "123456789.123456", cached_input="0.10", cache_write="4"),
    )
    with tenant_session(tenant) as session:
        replace_own_prices(session, entries)
    with tenant_session(tenant) as session:
        table = tenant_prices(session)
    assert table.own == entries
    assert table.version == PriceTable(entries, shipped_prices().shipped).version


def test_each_tenant_has_its_own(tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid.uuid4()}")
    with tenant_session(tenant) as session:
        replace_own_prices(session, [own(rate="5")])
    with tenant_session(other) as session:
        assert tenant_prices(session) is shipped_prices()
        replace_own_prices(session, [own(rate="6")])
    with tenant_session(tenant) as session:
        assert rate(tenant_prices(session)) == 5


def test_of_imports_at_once_one_is_whole(tenant: TenantId) -> None:
    def attempt(number: int) -> None:
        with tenant_session(tenant) as session:
            replace_own_prices(session, [own("m", str(number)), own("n", str(number))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, range(1, 9)))
    with tenant_session(tenant) as session:
        table = tenant_prices(session)
    assert len(table.own) == 2
    assert rate(table, "m") == rate(table, "n")


def test_a_call_keeps_the_cost_that_its_caller_stated() -> None:
    found = call_cost(shipped_prices(), call(cost_dollars=Decimal("0.003")))
    assert (found.nanos, found.reason, found.simulated) == (3_000_000, STATED, False)
    free = call_cost(shipped_prices(), call(cost_dollars=Decimal(0)))
    assert (free.nanos, free.reason) == (0, "stated by the caller")


@pytest.mark.parametrize("dollars", ["-0.01", "nan", "inf", "10000.01", "1e20"])
def test_a_stated_cost_that_cannot_be_is_unknown(dollars: str) -> None:
    stated = SimpleNamespace(cost_dollars=Decimal(dollars))
    found = call_cost(shipped_prices(), stated)  # type: ignore[arg-type]
    assert found.nanos is None
    assert found.reason.startswith("more than one call can cost: a cost of $")


def test_a_price_that_would_be_more_than_any_call_costs_gives_none() -> None:
    table = PriceTable([own(rate="900000000")], shipped_prices().shipped)
    found = call_cost(table, call(input_tokens=10**9))
    assert found.nanos is None
    assert found.reason == (
        "more than one call can cost: the price gives $900,000,000,000; expected 0 to $10,000"
    )


def test_an_event_keeps_the_version_of_the_prices_or_why_there_is_none() -> None:
    table = PriceTable([own()], shipped_prices().shipped)
    assert call_cost(table, call()).reason == table.version
    found = call_cost(table, call(provider=None))
    assert (found.reason, found.provider) == (f"{table.version}, p by the model's name", "p")
    assert call_cost(table, call(llm_model=None)).reason == "no model was named"
    unknown = call_cost(table, call(llm_model="other"))
    assert (unknown.nanos, unknown.reason) == (None, "no price is known for p/other")


def test_own_prices_are_dated() -> None:
    table = PriceTable([own(), own(rate="2", starts="2026-03-02")])
    before, after = (table.quote("p", "m", datetime(2026, 3, d, tzinfo=UTC)) for d in (1, 2))
    assert isinstance(before, Quote)
    assert isinstance(after, Quote)
    assert (before.starts, after.starts) == (date(2026, 1, 1), date(2026, 3, 2))
    assert before.origin is Origin.OWN
