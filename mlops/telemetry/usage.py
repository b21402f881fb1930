"""The tokens of a response, as OpenAI (chat and responses), Anthropic and Gemini report them.

`capture` runs in the caller's thread and only takes hold of the response's usage; `read` runs
later, in the thread that sends. How providers count is the knowledge of `genai-prices`: Anthropic's
cache reads and writes come beside `input_tokens`, OpenAI's within it; Gemini's thoughts come beside
its candidates, OpenAI's reasoning within its output. `read` gives the sums that an event holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple


class Captured(NamedTuple):
    """The parts of a response that say what it used; none of its content."""

    usage: Any
    model: Any
    gemini: bool
    responses: bool
    "Whether it says that it is one of OpenAI's Responses API."


_TOKENS: Final = {
    "input_tokens": "input_tokens",
    "cached_input_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}
"An event's field, and what `genai-prices` calls it."

_GEMINI: Final = {
    "prompt_token_count": "promptTokenCount",
    "cached_content_token_count": "cachedContentTokenCount",
    "candidates_token_count": "candidatesTokenCount",
    "thoughts_token_count": "thoughtsTokenCount",
    "tool_use_prompt_token_count": "toolUsePromptTokenCount",
}
"The names in Python's objects, and those in JSON."

_ZERO_IF_UNSAID: Final = {
    "anthropic": ("cached_input_tokens", "cache_write_tokens"),
    "google": ("cached_input_tokens", "output_tokens", "reasoning_tokens"),
}
"""Counts that a provider leaves out, or sets to null, when they are zero: Anthropic's of a request
without caching, and Gemini's by the rules of proto3's JSON. With others, unsaid is unknown."""


def capture(response: object) -> Captured | None:
    """What `response`, an object or its JSON as a dict, says of its usage; None if nothing.

    Raises what the response's own attributes raise.
    """
    for name in ("usage", "usage_metadata", "usageMetadata"):
        found = _get(response, name)
        if found is None or isinstance(found, int | float | str):
            continue
        gemini = name != "usage"
        models = ("model_version", "modelVersion") if gemini else ("model",)
        model = next((said for key in models if (said := _get(response, key)) is not None), None)
        return Captured(found, model, gemini, _get(response, "object") == "response")
    return None


def capture_chunk(chunk: object) -> Captured | None:
    """`capture` for a part of a stream, which may have the response, or its beginning, within."""
    for name in ("response", "message"):
        within = _get(chunk, name)
        if within is not None and (found := capture(within)) is not None:
            return found
    return capture(chunk)


def read(parts: Sequence[Captured]) -> dict[str, Any]:
    """`provider`, `llm_model` and token counts of an event, as far as they are known.

    Of several parts of one stream the later counts hold, and the earlier where it says nothing:
    Anthropic states the input at the beginning and the output at the end. The provider is named
    only where the model is one of its own in the embedded table: many speak OpenAI's language.
    Empty where the usage has no form that is known.
    """
    found: dict[str, Any] = {}
    model = next((part.model for part in parts if isinstance(part.model, str)), None)
    if model is not None:
        found["llm_model"] = model
    counted = _counted(parts)
    if counted is None:
        return found
    provider_id, flavor, counts = counted
    try:
        provider = _provider(provider_id)
        _, reported = provider.extract_usage({_ROOTS[provider_id]: counts}, api_flavor=flavor)
    except ImportError:
        # Without the table there is no knowledge of how the classes overlap: unknown.
        return found
    except ValueError:
        return found
    for name, theirs in _TOKENS.items():
        # Not an attribute of it: that would be zero for what was not reported.
        value = vars(reported).get(theirs)
        if value is None and name in _ZERO_IF_UNSAID.get(provider_id, ()):
            value = 0
        found[name] = value
    # Only Anthropic tells these apart: with others nothing is said of them.
    if (for_an_hour := vars(reported).get("cache_write_1h_tokens")) is not None:
        found["cache_write_1h_tokens"] = for_an_hour
    if flavor == "chat":
        _count_thoughts(found, counts.get("total_tokens"))
    if model is not None and provider.find_model(model) is not None:
        found["provider"] = provider_id
    return found


_ROOTS: Final = {"openai": "usage", "anthropic": "usage", "google": "usageMetadata"}


def _counted(parts: Sequence[Captured]) -> tuple[str, str, Mapping[str, Any]] | None:
    """Whose form the usage has: the provider, its API, and the counts as its JSON has them."""
    counts: dict[str, Any] = {}
    for part in parts:
        said = _gemini_counts(part.usage) if part.gemini else _mapping(part.usage)
        counts |= {name: value for name, value in said.items() if value is not None}
    if "promptTokenCount" in counts:
        return "google", "default", counts
    if "prompt_tokens" in counts:
        return "openai", "chat", counts
    if "input_tokens" not in counts:
        return None
    if "input_tokens_details" in counts or any(part.responses for part in parts):
        return "openai", "responses", counts
    return "anthropic", "default", counts


def _count_thoughts(found: dict[str, Any], total: Any) -> None:
    """Have the output include reasoning where only the total does.

    So it is with Gemini's and xAI's endpoints that speak OpenAI's language.
    """
    if type(total) is not int or total <= found["input_tokens"] + found["output_tokens"]:
        return
    thoughts = total - found["input_tokens"] - found["output_tokens"]
    found["output_tokens"] += thoughts
    if found["reasoning_tokens"] is None:
        found["reasoning_tokens"] = thoughts


def _gemini_counts(usage: Any) -> dict[str, Any]:
    return {written: _first(usage, name, written) for name, written in _GEMINI.items()}


def _mapping(usage: Any) -> Mapping[str, Any]:
    if isinstance(usage, Mapping):
        return usage
    dump = getattr(usage, "model_dump", None)
    found = dump() if callable(dump) else getattr(usage, "__dict__", None)
    return found if isinstance(found, Mapping) else {}


def _first(source: Any, *names: str) -> Any:
    return next((value for name in names if (value := _get(source, name)) is not None), None)


def _get(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)


@lru_cache(maxsize=8)
def _provider(provider_id: str) -> Any:
    # Its own search for the model would refuse the usage of every model that it does not know.
    from genai_prices.data import providers

    return next(provider for provider in providers if provider.id == provider_id)
