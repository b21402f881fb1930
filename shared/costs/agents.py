"""What the model calls of a registered agent, or a judge, are priced by, before it made any."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.costs.prices import Price, PriceTable, Unpriced
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.protocol import LlmCall
from shared.registry.tables import ModelVersion


def price_of_nothing(prices: PriceTable, version: ModelVersion) -> Price | Unpriced | None:
    """The price of a call without tokens: whether there is one, and whether it is simulated.

    None for agents of a kind that is not told which model it asks: what they report is counted.
    """
    if version.agent != "llm":
        return None
    return _of_endpoint(prices, LlmParameters.model_validate(version.parameters))


def _of_endpoint(prices: PriceTable, parameters: LlmParameters) -> Price | Unpriced:
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


def why_unpriced(prices: PriceTable, asking: ModelVersion | LlmParameters) -> str | None:
    """Why a budget cannot be kept with this agent, or with a judge by what it asks; else None."""
    price = (
        _of_endpoint(prices, asking)
        if isinstance(asking, LlmParameters)
        else price_of_nothing(prices, asking)
    )
    return price.reason if isinstance(price, Unpriced) else None
