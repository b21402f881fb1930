"""What an agent is made with, from a provider, a model and whatever else is said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from shared.money import NANOS
from shared.registry.errors import RegistryError

_OPENAI: Final = "openai"
_STAND_IN: Final = "stand-in"
_DIGITS: Final = 12


def agent_parameters(
    provider: str | None,
    model: str | None,
    temperature: float | None,
    others: Mapping[str, Any],
) -> dict[str, Any]:
    """The parameters of an agent. Raises `RegistryError` where something is said twice, or where
    nobody says which endpoint a provider's model is at."""
    if provider is None and model is None:
        said: dict[str, Any] = {}
    elif provider is None or model is None:
        raise RegistryError("give both the provider and its model, such as openai gpt-4.1-mini")
    else:
        said = _of_provider(provider, model, others)
    if temperature is not None:
        said["temperature"] = temperature
    twice = sorted(name for name in said.keys() & others.keys() if said[name] != others[name])
    if twice:
        raise RegistryError(f"{', '.join(twice)}: said twice, and not the same")
    return {**said, **others}


def _of_provider(provider: str, model: str, others: Mapping[str, Any]) -> dict[str, Any]:
    if provider == _STAND_IN:
        return {"model": model, "base_url": _STAND_IN, "api_key_env": None}
    if "base_url" in others:
        return {"model": model, "provider": provider}
    if provider != _OPENAI:
        # Asked at the default endpoint, it would be another provider's model at this one's price.
        raise RegistryError(
            f"provider {provider[:100]!r}: say where its OpenAI-compatible endpoint is, with the"
            " parameters base_url and api_key_env"
        )
    return {"model": model}


def nanos_stated(dollars: object) -> int | None:
    """Nano-dollars of dollars that somebody states, rounded; None stays None.

    Raises `RegistryError` for what is no amount.
    """
    if dollars is None:
        return None
    try:
        amount = Decimal(str(dollars)) if not isinstance(dollars, bool) else Decimal("nan")
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0 or amount.adjusted() > _DIGITS:
        raise RegistryError(
            f"cost_per_task {dollars!r:.60}: expected dollars, 0 or more, such as 0.15"
        )
    return round(amount * NANOS)
