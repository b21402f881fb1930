"""The keywords that the methods of `MetricsCollector` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID


class Common(TypedDict, total=False):
    """Of every event."""

    model: str | None
    "Instead of the collector's."
    function: str | None
    variant: str | None
    unit_id: str | None
    """For whom it is done, as an A/B test assigns it: 1 to 1,000 characters, of which only a digest
    leaves this process. Within a task that of the task, if left out, as is the variant."""
    task_id: UUID | str | None
    "Instead of the current task's."
    attributes: Mapping[str, Any] | None
    "Up to 32 names with a text (of up to 1,000 characters), a number or a truth value."
    occurred_at: datetime | None
    "Aware; now if left out."
    event_id: UUID | str | None
    "An event that is sent again with the same identifier and time is the same event."


class Failing(Common, total=False):
    """Of what can fail."""

    error: BaseException | str | None
    "An exception gives its class and text, a text is the message of an `error`."
    error_type: str | None
    error_message: str | None


class LlmCall(Failing, total=False):
    """Of a call of a language model."""

    provider: str | None
    llm_model: str | None
    "As the provider calls it."
    tokens_used: int | None
    "All tokens, where the split is not known."
    cost: Any
    "Dollars, a number or a text; reckoned from the tokens if left out."
    latency: float | None
    first_token: float | None
    "Seconds until the first token."
    input_tokens: int | None
    "All of them, cache reads and cache writes included."
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    "Of the cache writes, those that are kept for an hour."
    output_tokens: int | None
    "All of them, reasoning included."
    reasoning_tokens: int | None
    query: str | Sequence[Mapping[str, Any] | str] | None
    "A text or messages of a chat, measured in this process and neither sent nor stored."
    query_length: int | None
    "Characters; those of `query` if left out."
    confidence: float | None
    "0 to 1."
    quality: float | None
    "0 to 1."


COMMON: Final = frozenset(Common.__annotations__)
FAILING: Final = frozenset(Failing.__annotations__)
LLM_CALL: Final = frozenset(LlmCall.__annotations__)


def check(given: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raises TypeError for a keyword that there is not, as Python does."""
    if not given.keys() <= allowed:
        unknown = min(given.keys() - allowed)
        raise TypeError(
            f"unknown keyword {unknown!r}; expected one of {', '.join(sorted(allowed))}"
        )
