"""Whether there is a price for what an agent or a judge will ask, before it asks."""

from __future__ import annotations

from shared.costs.agents import why_unpriced
from shared.costs.prices import shipped_prices
from shared.evaluation.agents.parameters import LlmParameters


def test_a_judges_endpoint_is_priced_as_an_agents_is() -> None:
    assert why_unpriced(shipped_prices(), LlmParameters(model="gpt-4.1-mini")) is None
    said = why_unpriced(shipped_prices(), LlmParameters(model="nobody-sells-this"))
    assert said is not None
    assert "nobody-sells-this" in said
