"""What the model calls of an agent or a judge are priced by: before it made any, and at most."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from shared.costs.prices import Price, PriceTable, Unpriced
from shared.evaluation.agents.parameters import EndpointParameters, LlmParameters
from shared.evaluation.protocol import LlmCall
from shared.registry.tables import ModelVersion

ANSWER_TOKENS: Final = 4_096
"Of an answer whose length is not known, where a call has to be counted as something."


def most_nanos(prices: PriceTable, call: LlmCall, at: datetime) -> int | Unpriced:
    """What a call made at `at` (aware) has cost, or where not all of it is known, may have cost.

    That is reckoned from what is known: a prompt of unknown size has a token for each of its
    characters, nothing was read from a cache, and an answer has `ANSWER_TOKENS`, but a call that
    failed none. `Unpriced` where the model has no price.
    """
    price = prices.price(call, at)
    if isinstance(price, Price):
        return price.nanos
    written = call.cache_write_tokens or 0
    prompt = call.query_length if call.input_tokens is None else call.input_tokens
    answer = call.output_tokens
    if answer is None:
        answer = ANSWER_TOKENS if call.error_type is None else 0
    known = {
        "input_tokens": max(prompt, written),
        "cached_input_tokens": 0,
        "cache_write_tokens": written,
        "output_tokens": answer,
    }
    # Reasoning may be dearer than what is shown of an answer, or cheaper.
    reckoned = [
        prices.price(call.model_copy(update=known | {"reasoning_tokens": reasoning}), at)
        for reasoning in (0, answer)
    ]
    nanos = [one.nanos for one in reckoned if isinstance(one, Price)]
    return max(nanos) if nanos else price


def price_of_nothing(prices: PriceTable, version: ModelVersion) -> Price | Unpriced | None:
    """The price of a call without tokens: whether there is one, and whether it is simulated.

    None for agents of a kind that is not told which model it asks: what they report is counted.
    """
    if version.agent != "llm":
        return None
    return _of_endpoint(prices, LlmParameters.model_validate(version.parameters))


def _of_endpoint(prices: PriceTable, parameters: EndpointParameters) -> Price | Unpriced:
    call = LlmCall(
        provider=parameters.provider_name,
        llm_model=parameters.model,
        latency_ms=0,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        query_length=0,
    )
    return prices.price(call, datetime.now(UTC))


def why_unpriced(prices: PriceTable, asking: ModelVersion | EndpointParameters) -> str | None:
    """Why a budget cannot be kept with this agent, or with what asks an endpoint; else None."""
    price = (
        _of_endpoint(prices, asking)
        if isinstance(asking, EndpointParameters)
        else price_of_nothing(prices, asking)
    )
    return price.reason if isinstance(price, Unpriced) else None
