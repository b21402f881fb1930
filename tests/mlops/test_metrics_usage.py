"""The tokens of a response are those that the provider means, each counted once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mlops import MetricsCollector
from mlops.telemetry import usage

Make = Callable[..., MetricsCollector]


def read(*parts: object) -> dict[str, Any]:
    return usage.read([found for part in parts if (found := usage.capture_chunk(part))])


# https://platform.openai.com/docs/api-reference/chat/object: cached_tokens are within
# prompt_tokens, reasoning_tokens within completion_tokens.
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [],
    "usage": {
        "prompt_tokens": 1486,
        "completion_tokens": 651,
        "total_tokens": 2137,
        "prompt_tokens_details": {"cached_tokens": 1408, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 512, "audio_tokens": 0},
    },
}

# https://platform.openai.com/docs/api-reference/responses/object
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476777,
    "model": "gpt-4.1-2025-04-14",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 0},
        "output_tokens": 52,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 380,
    },
}

# https://docs.claude.com/en/docs/build-with-claude/prompt-caching: "total_input_tokens =
# cache_read_input_tokens + cache_creation_input_tokens + input_tokens".
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [],
    "usage": {
        "input_tokens": 50,
        "cache_creation_input_tokens": 248,
        "cache_read_input_tokens": 100_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 503,
    },
}

# https://ai.google.dev/api/generate-content#UsageMetadata: the prompt includes what is cached; the
# thoughts and the prompts of tools are counted beside it and the candidates.
GEMINI = {
    "candidates": [],
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 800,
        "candidatesTokenCount": 40,
        "thoughtsTokenCount": 60,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 1105,
    },
}


def as_sent(response: dict[str, Any]) -> object:
    return response


# The package is imported by these tests alone, and not while they are collected.
def as_chat_of_the_package(response: dict[str, Any]) -> object:
    from openai.types.chat import ChatCompletion

    return ChatCompletion.model_validate(response)


def as_response_of_the_package(response: dict[str, Any]) -> object:
    from openai.types.responses import Response

    return Response.model_validate(response)


@pytest.mark.parametrize("given_as", [as_sent, as_chat_of_the_package])
def test_openais_chat_counts_the_cache_and_the_reasoning_within(given_as: Any) -> None:
    assert read(given_as(CHAT)) == {
        "provider": "openai",
        "llm_model": "gpt-4.1-2025-04-14",
        "input_tokens": 1486,
        "cached_input_tokens": 1408,
        "cache_write_tokens": None,
        "output_tokens": 651,
        "reasoning_tokens": 512,
    }


@pytest.mark.parametrize("given_as", [as_sent, as_response_of_the_package])
def test_openais_responses_count_alike(given_as: Any) -> None:
    assert read(given_as(RESPONSE)) == {
        "provider": "openai",
        "llm_model": "gpt-4.1-2025-04-14",
        "input_tokens": 328,
        "cached_input_tokens": 100,
        "cache_write_tokens": 0,
        "output_tokens": 52,
        "reasoning_tokens": 20,
    }


def test_anthropics_cache_is_added_to_the_input() -> None:
    assert read(MESSAGE) == {
        "provider": "anthropic",
        "llm_model": "claude-sonnet-4-5-20250929",
        "input_tokens": 50 + 248 + 100_000,
        "cached_input_tokens": 100_000,
        "cache_write_tokens": 248,
        "cache_write_1h_tokens": 100,
        "output_tokens": 503,
        "reasoning_tokens": None,
    }


def test_anthropics_nulls_mean_that_nothing_was_cached() -> None:
    found = read(
        SimpleNamespace(
            model="claude-sonnet-4-5",
            usage=SimpleNamespace(
                input_tokens=10,
                cache_creation_input_tokens=None,
                cache_read_input_tokens=None,
                output_tokens=3,
            ),
        )
    )
    assert (found["input_tokens"], found["cached_input_tokens"], found["cache_write_tokens"]) == (
        10,
        0,
        0,
    )


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


AS_OBJECT = SimpleNamespace(
    model_version="gemini-2.5-flash",
    usage_metadata=SimpleNamespace(
        **{snake(name): count for name, count in GEMINI["usageMetadata"].items()}  # type: ignore[attr-defined]
    ),
)


@pytest.mark.parametrize("response", [GEMINI, AS_OBJECT])
def test_geminis_thoughts_are_added_to_the_output(response: object) -> None:
    assert read(response) == {
        "provider": "google",
        "llm_model": "gemini-2.5-flash",
        "input_tokens": 1005,
        "cached_input_tokens": 800,
        "cache_write_tokens": None,
        "output_tokens": 100,
        "reasoning_tokens": 60,
    }


def test_what_gemini_leaves_out_is_zero() -> None:
    found = read({"modelVersion": "gemini-2.5-flash", "usageMetadata": {"promptTokenCount": 7}})
    assert (found["input_tokens"], found["output_tokens"]) == (7, 0)
    assert (found["cached_input_tokens"], found["reasoning_tokens"]) == (0, 0)


def test_an_endpoint_that_does_not_speak_of_its_cache_leaves_it_unknown() -> None:
    found = read(
        {"model": "my-own-model", "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
    )
    assert (found["input_tokens"], found["output_tokens"]) == (9, 3)
    assert found["cached_input_tokens"] is None
    assert "provider" not in found, "many endpoints speak OpenAI's language"


def test_reasoning_that_only_the_total_includes_is_counted() -> None:
    # https://discuss.ai.google.dev/t/question-with-usage-in-openai-compatibility/98760
    counts = {"prompt_tokens": 758, "completion_tokens": 102, "total_tokens": 1725}
    found = read({"model": "gemini-2.5-pro", "usage": counts})
    assert (found["output_tokens"], found["reasoning_tokens"]) == (967, 865)


def test_a_stream_of_anthropics_states_the_input_first_and_the_output_last() -> None:
    # https://docs.claude.com/en/docs/build-with-claude/streaming
    found = read(
        {
            "type": "message_start",
            "message": {
                "model": "claude-sonnet-4-5-20250929",
                "usage": {
                    "input_tokens": 25,
                    "cache_read_input_tokens": 75,
                    "cache_creation_input_tokens": 0,
                    "output_tokens": 1,
                },
            },
        },
        {"type": "content_block_delta", "delta": {"text": "Hello"}},
        {"type": "message_delta", "usage": {"output_tokens": 15}},
    )
    assert (found["provider"], found["llm_model"]) == ("anthropic", "claude-sonnet-4-5-20250929")
    assert (found["input_tokens"], found["cached_input_tokens"]) == (100, 75)
    assert found["output_tokens"] == 15


def test_the_last_event_of_a_stream_of_responses_holds_the_usage() -> None:
    found = read({"type": "response.created"}, {"type": "response.completed", "response": RESPONSE})
    assert (found["input_tokens"], found["output_tokens"]) == (328, 52)


@pytest.mark.parametrize(
    "response",
    [
        None,
        "text",
        5,
        {},
        {"usage": None},
        {"usage": 5},
        {"model": 5, "usage": {}},
        {"usage": {"prompt_tokens": "nine", "completion_tokens": 3}},
        {"usage": {"input_tokens": -1, "output_tokens": 3}},
        {"usage": {"prompt_tokens": 9}},
        SimpleNamespace(usage=object()),
    ],
)
def test_nothing_is_made_of_a_usage_without_a_known_form(response: object) -> None:
    assert read(response) == {}


def test_what_the_caller_states_holds_before_what_the_response_says(
    metrics: MetricsCollector, receiver: Any
) -> None:
    metrics.record_llm_call(response=CHAT, provider="azure", output_tokens=1)
    assert metrics.flush()
    event = receiver.event()
    assert (event["provider"], event["llm_model"]) == ("azure", "gpt-4.1-2025-04-14")
    assert (event["input_tokens"], event["output_tokens"]) == (1486, 1)
    assert "cache_write_tokens" not in event
