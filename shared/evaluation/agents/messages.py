"""The protocol of agents from outside: what is sent, what is answered, and the JSON Schema of it.

`python -m shared.evaluation.agents.messages` prints the schema.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.evaluation.agents.actions import models, tool_definitions
from shared.evaluation.protocol import Label, LlmCall, Observation, Task, Text, Tokens, storable

VERSION: Final = 1
_PICTURES: Final = ("screenshot", "marks")


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    session: str
    "One episode's. A server that plays several at a time tells them apart by it."


class Reset(_Sent):
    """An episode begins."""

    type: Literal["reset"] = "reset"
    protocol: Literal[1] = VERSION
    task: Task
    "Its `timeout_seconds` are for the whole episode; `actions` are the kinds that it allows."
    seed: int
    tools: list[dict[str, Any]]
    "The allowed actions as function definitions, ready for a model."
    settings: dict[str, JsonValue]
    "As they were registered."


class Act(_Sent):
    """The page as it is now: what is to be done?"""

    type: Literal["act"] = "act"
    observation: dict[str, Any]


class Close(_Sent):
    """The episode is over. A program then has half a second to end by itself."""

    type: Literal["close"] = "close"


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    error: Text | None = Field(default=None, max_length=2_000)
    "Why the agent gives up. It ends the episode as the agent's error."


class ResetAnswer(_Answered):
    """`{}` will do."""


class Call(BaseModel):
    """A call of a language model that the agent has made and wants counted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: Label
    llm_model: Label
    latency_ms: int = Field(default=0, ge=0)
    input_tokens: Tokens = None
    cached_input_tokens: Tokens = None
    cache_write_tokens: Tokens = None
    cache_write_1h_tokens: Tokens = None
    output_tokens: Tokens = None
    reasoning_tokens: Tokens = None
    query_length: int = Field(default=0, ge=0)
    error_type: Label | None = None

    def as_llm_call(self) -> LlmCall:
        return LlmCall(**self.model_dump())


class ActAnswer(_Answered):
    """What the agent does. It is checked as any agent's is: three mistakes in a row end it."""

    action: dict[str, Any] | None = None
    'Such as `{"kind": "click", "element": 7}`. Needed unless there is an `error`.'
    reasoning: Text = ""
    calls: tuple[Call, ...] = Field(default=(), max_length=1_000)


def seen(observation: Observation) -> dict[str, Any]:
    """The observation as JSON, its pictures as base64."""
    document = observation.model_dump(mode="json", exclude=set(_PICTURES))
    for name in _PICTURES:
        picture: bytes | None = getattr(observation, name)
        document[name] = None if picture is None else base64.b64encode(picture).decode()
    return document


def reset_message(session: str, task: Task, seed: int, settings: dict[str, JsonValue]) -> Reset:
    return Reset(
        session=session,
        task=task,
        seed=seed,
        tools=tool_definitions(task.actions),
        settings=settings,
    )


def line(message: BaseModel) -> bytes:
    """The message as one line of JSON."""
    document = message.model_dump(mode="json")
    return storable(json.dumps(document, ensure_ascii=False)).encode() + b"\n"


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each message, of the observation, and of each action."""
    observation = Observation.model_json_schema()
    for name in _PICTURES:
        observation["properties"][name] = {
            "anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "null"}],
            "default": None,
        }
    sent = {model.__name__: model.model_json_schema() for model in (Reset, Act, Close)}
    answered = {model.__name__: model.model_json_schema() for model in (ResetAnswer, ActAnswer)}
    actions = {kind: model.model_json_schema() for kind, model in models().items()}
    return {**sent, **answered, "Observation": observation, **actions}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schemas(), indent=2) + "\n")
