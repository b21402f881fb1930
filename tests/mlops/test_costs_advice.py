"""`mlops cost advise`: what would save money, and what is not known."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result

from mlops.console import Exit
from shared.database import TenantId, tenant_session
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.rollups import roll_up_dirty_hours

Mlops = Callable[..., Result]

NOW = datetime.now(UTC)
KINDS = {"cheaper_model", "prompt_caching", "failed_calls", "long_prompts", "never_succeeds"}


def send(
    tenant: TenantId,
    price: CallCost,
    calls: int = 100,
    failed: int = 20,
    function: str = "checkout",
) -> None:
    """Calls with 5,000 input tokens, none of them cached; the first ones failed."""
    events = [
        {
            "kind": "llm_call",
            "event_id": str(uuid.uuid4()),
            "occurred_at": (NOW - timedelta(hours=2)).isoformat(),
            "model": "buyer@1",
            "function": function,
            "provider": "openai",
            "llm_model": "gpt-4.1",
            "input_tokens": 5000,
            "cached_input_tokens": 0,
            "output_tokens": 10,
            "query_length": 20_000,
            "error_type": "RateLimitError" if number < failed else None,
        }
        for number in range(calls)
    ]
    with tenant_session(tenant) as session:
        ingest(session, [json.dumps(one).encode() for one in events], lambda _: price, NOW)
        roll_up_dirty_hours(session)


def test_advice_is_a_table_and_a_sentence_each_with_the_evidence(
    tenant: TenantId, mlops: Mlops
) -> None:
    send(tenant, CallCost(10_000_000, "a price"))
    result = mlops("cost", "advise")
    assert result.exit_code == Exit.OK
    shown = result.stdout
    assert "$0.20" in shown
    assert "at most $0.75" in shown
    assert shown.index("failed calls") < shown.index("prompt caching")
    assert "1. Find out why calls of buyer@1 in checkout fail, most often with RateLim" in shown
    assert "calls that failed: 20.0 % (13.3 % to 28.9 %), n = 100; all model calls" in shown
    assert "do not add them up" in shown
    assert "missing for cheaper model" in shown


def test_advice_as_json_says_how_sure_each_saving_is(tenant: TenantId, mlops: Mlops) -> None:
    send(tenant, CallCost(10_000_000, "a price", simulated=True))
    found = json.loads(mlops("cost", "advise", "--days", "15", "--json").stdout)
    failures, caching = (
        next(one for one in found["advice"] if one["kind"] == kind)
        for kind in ("failed_calls", "prompt_caching")
    )
    assert failures["saving"]["in_30_days_nanos"] == 2 * 20 * 10_000_000
    assert (failures["saving"]["certainty"], failures["simulated"]) == ("estimate", True)
    assert caching["saving"]["certainty"] == "at_most"
    assert [caching["saving"][f"{end}_nanos"] for end in ("low", "high")] == [
        0,
        caching["saving"]["in_30_days_nanos"],
    ]
    assert {one["kind"] for one in found["looked_at"]} == KINDS
    assert found["margin_points"] == 5.0


def test_a_saving_that_is_not_known_is_no_zero(tenant: TenantId, mlops: Mlops) -> None:
    send(tenant, CallCost(None, "no price is known"))
    found = json.loads(mlops("cost", "advise", "--json").stdout)["advice"]
    (failures,) = (one for one in found if one["kind"] == "failed_calls")
    assert failures["saving"]["in_30_days_nanos"] is None
    assert "unpriced: 20 calls" in failures["saving"]["explanation"]
    assert "unknown" in mlops("cost", "advise").stdout


def test_no_advice_says_what_was_looked_at_and_what_is_missing(mlops: Mlops) -> None:
    result = mlops("cost", "advise")
    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("no advice for the last 30 days")
    for kind in KINDS:
        assert f"{kind.replace('_', ' ')}: no advice; looked at " in result.stdout
    assert "missing for cheaper model: two models on the same benchmark tasks" in result.stdout
    assert json.loads(mlops("cost", "advise", "--json").stdout)["advice"] == []


@pytest.mark.parametrize(
    "options", [("--days", "0"), ("--days", "many"), ("--margin", "0"), ("--margin", "nan")]
)
def test_options_that_cannot_be_are_one_line(mlops: Mlops, options: tuple[str, str]) -> None:
    result = mlops("cost", "advise", *options)
    assert result.exit_code == Exit.USAGE


def test_a_long_list_shows_the_largest_savings_of_each_kind_and_json_has_all(
    tenant: TenantId, mlops: Mlops
) -> None:
    for number in range(12):
        send(tenant, CallCost(10_000_000 * (number + 1), "a price"), 12, 12, f"f{number}")
    assert len(json.loads(mlops("cost", "advise", "--json").stdout)["advice"]) == 12
    shown = mlops("cost", "advise").stdout
    assert "and 8 more like these (--json has all)" in shown
    assert "in f11 fail" in shown
    assert "in f7 fail" not in shown
