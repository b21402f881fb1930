"""Whether there is a price for what an agent or a judge will ask, and what it may come to."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.costs.agents import ANSWER_TOKENS, most_nanos, why_unpriced
from shared.costs.prices import Price, Unpriced, shipped_prices
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.protocol import LlmCall


def test_a_judges_endpoint_is_priced_as_an_agents_is() -> None:
    assert why_unpriced(shipped_prices(), LlmParameters(model="gpt-4.1-mini")) is None
    said = why_unpriced(shipped_prices(), LlmParameters(model="nobody-sells-this"))
    assert said is not None
    assert "nobody-sells-this" in said


AT = datetime(2026, 7, 1, tzinfo=UTC)


def call(**changes: object) -> LlmCall:
    known = {
        "provider": "openai",
        "llm_model": "gpt-4.1-mini",
        "latency_ms": 1,
        "input_tokens": 1_000,
        "cached_input_tokens": 400,
        "output_tokens": 100,
        "query_length": 5_000,
    }
    return LlmCall.model_validate(known | changes)


def at_most(**changes: object) -> int:
    found = most_nanos(shipped_prices(), call(**changes), AT)
    assert isinstance(found, int)
    return found


def priced(**changes: object) -> int:
    found = shipped_prices().price(call(**changes), AT)
    assert isinstance(found, Price)
    return found.nanos


def test_what_is_known_counts_as_what_it_is() -> None:
    assert at_most() == priced()


def test_what_a_call_does_not_say_counts_as_the_most_that_it_may_be() -> None:
    assert at_most(cached_input_tokens=None) == priced(cached_input_tokens=0)
    assert at_most(input_tokens=None) == priced(input_tokens=5_000, cached_input_tokens=0)
    long = priced(cached_input_tokens=0, output_tokens=ANSWER_TOKENS)
    assert at_most(output_tokens=None) == long
    assert at_most(cached_input_tokens=5_000) == priced(cached_input_tokens=0)


def test_a_call_that_failed_has_no_answer() -> None:
    failed = {"input_tokens": None, "output_tokens": None, "error_type": "timeout"}
    prompt = priced(input_tokens=5_000, cached_input_tokens=0, output_tokens=0)
    assert at_most(**failed) == prompt > 0


def test_what_nobody_sells_has_no_price_at_all() -> None:
    found = most_nanos(shipped_prices(), call(llm_model="nobody-sells-this"), AT)
    assert isinstance(found, Unpriced)
