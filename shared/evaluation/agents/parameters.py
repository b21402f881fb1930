"""What can be set for each kind of agent. A key is never a parameter, only where it is found."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from shared.evaluation.agents import prompting
from shared.evaluation.agents.prompting import Mode, PageForm, Vision
from shared.evaluation.protocol import Part, RecordedAction

STAND_IN = "stand-in"
"As a base URL: the stand-in server of this process. As a model: the only one that it offers."
OPENAI_URL = "https://api.openai.com/v1"
_MOST_ACTIONS: Final = 1_000


def _is_a_name(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
        raise ValueError("must name an environment variable, such as OPENAI_API_KEY")
    return value


VariableName = Annotated[str, AfterValidator(_is_a_name)]


def http_url(value: str, example: str) -> str:
    """The URL without a slash at its end. ValueError unless it is one without secrets."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be {example}")
    _ = parts.port
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password or query: a key goes into api_key_env")
    return urlunsplit(parts).rstrip("/")


def on_loopback(url: str) -> bool:
    """Whether a URL's host is this machine, so that no proxy may stand in between."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Parameters(BaseModel):
    """Of one kind of agent. What a field is stands below it, and in the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RuleBasedParameters(Parameters):
    """Nothing can be set."""


class RandomParameters(Parameters):
    """Nothing can be set: the lots are drawn by the seed of the episode."""


class EndpointParameters(Parameters):
    """An OpenAI-compatible endpoint, the model on it, and how often and how long it is asked."""

    model: str = Field(min_length=1, max_length=200)
    "The model's name at the endpoint."
    base_url: str = OPENAI_URL
    "Up to and with `/v1`, or `stand-in` for the keyless server in this process."
    api_key_env: VariableName | None = "OPENAI_API_KEY"
    "Name of the environment variable that holds the key; null for an endpoint without one."
    provider: str | None = Field(default=None, min_length=1, max_length=100)
    "The name that prices are looked up under; by default told from the base URL."
    temperature: float | None = Field(default=None, ge=0, le=2)
    "Null: the endpoint's own; some models refuse any other."
    max_output_tokens: int | None = Field(default=None, ge=1, le=100_000)
    "Sent as `max_completion_tokens`; null: the endpoint's own."
    timeout_seconds: float = Field(default=60, gt=0, le=600)
    "For all of one HTTP call; at most half of the task's time. Retries are not counted."
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60)
    "To reach the endpoint."
    max_retries: int = Field(default=2, ge=0, le=10)
    "After HTTP 408, 409, 425, 429, 5xx, lost connections and timeouts; honours Retry-After."
    max_concurrency: int | None = Field(default=None, ge=1, le=10_000)
    "Calls at a time to this model, key and address, of all workers together; null: any number."
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    "Calls in any 60 seconds, of all workers together; null: any number."

    @field_validator("base_url")
    @classmethod
    def _is_an_endpoint(cls, value: str) -> str:
        example = f"'{STAND_IN}' or an http(s) URL such as {OPENAI_URL}"
        return value if value == STAND_IN else http_url(value, example)

    @model_validator(mode="after")
    def _stand_in_has_one_model(self) -> Self:
        if self.base_url == STAND_IN and self.model != STAND_IN:
            raise ValueError(f"the stand-in offers only the model '{STAND_IN}'")
        return self

    @property
    def provider_name(self) -> str:
        """The given name, else `openai` for its own API, else the host of the endpoint."""
        if self.provider is not None:
            return self.provider
        if self.base_url == STAND_IN:
            return STAND_IN
        return "openai" if self.base_url == OPENAI_URL else self.host

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or self.base_url

    @property
    def on_loopback(self) -> bool:
        """Whether the endpoint is on this machine, so that no proxy may stand in between."""
        return self.base_url == STAND_IN or on_loopback(self.base_url)


class LlmParameters(EndpointParameters):
    """The endpoint of an agent, how the page is shown to the model, and how it answers."""

    mode: Mode = Mode.TEXT
    "How the model gives its action: as JSON in `text`, or by a call of one of `tools`."
    page: PageForm = PageForm.ELEMENTS
    "How the page is shown: list of `elements`, accessibility `tree`, or pruned `dom`."
    vision: Vision = Vision.NONE
    "Picture of the page: `none`, `screenshot`, or `marks` (elements framed and numbered)."
    history_steps: int | None = Field(default=None, ge=0, le=1000)
    "So many of the last actions are told; null: all."
    max_page_characters: int = Field(default=24_000, ge=500, le=1_000_000)
    "Of what shows the page; the rest is cut off, and the model is told."
    prompt_version: str = "v1"
    "Templates of the prompt: v1, or v2 where mode, page or vision are not the default."
    max_repairs: int = Field(default=2, ge=0, le=5)
    "How often in a step an answer that cannot be used is sent back."

    @model_validator(mode="before")
    @classmethod
    def _oldest_prompt_that_will_do(cls, given: Any) -> Any:
        # What was registered before there was a v2 must go on meaning what it meant.
        if not isinstance(given, Mapping) or "prompt_version" in given:
            return given
        defaults = {"mode": Mode.TEXT, "page": PageForm.ELEMENTS, "vision": Vision.NONE}
        chosen = {name: given.get(name, default) for name, default in defaults.items()}
        return {**given, "prompt_version": "v1" if chosen == defaults else "v2"}

    @field_validator("prompt_version")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if value not in prompting.versions():
            raise ValueError(f"must be one of {', '.join(prompting.versions())}")
        return value

    @model_validator(mode="after")
    def _prompt_knows_it(self) -> Self:
        needed = prompting.version_for(self.mode, self.page, self.vision)
        if prompting.number(self.prompt_version) < prompting.number(needed):
            raise ValueError(
                f"prompt_version {self.prompt_version} knows mode text, page elements and vision"
                f" none only: take {needed}"
            )
        return self


def _recorded(value: object) -> object:
    """A bare action stands for a recorded one of which nothing else is known."""
    if isinstance(value, Mapping) and "kind" in value and "action" not in value:
        return {"action": value}
    return value


class ReplayParameters(Parameters):
    """A recorded episode, or its actions."""

    episode: UUID | None = None
    "The recorded episode; its stored trace is read when an episode is played."
    actions: tuple[Annotated[RecordedAction, BeforeValidator(_recorded)], ...] | None = Field(
        default=None, min_length=1, max_length=_MOST_ACTIONS
    )
    "Steps as in an episode's trace, or actions as an agent gives them."

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.episode is None) == (self.actions is None):
            raise ValueError("give either the episode or the actions")
        return self


class ExternalParameters(Parameters):
    """A program that the operator allows, or an HTTP server at a host that the operator allows."""

    command: str | None = Field(default=None, min_length=1, max_length=100)
    "Name of a program in `MLOPS_AGENT_COMMANDS`, which is asked over its stdin and stdout."
    url: str | None = None
    "Where `/reset`, `/act` and `/close` are, at a host of `MLOPS_AGENT_HOSTS`."
    api_key_env: VariableName | None = None
    "Variable whose value is sent to `url` as a bearer token, where `MLOPS_MODEL_KEYS` allows it."
    parts: tuple[Part, ...] = ()
    "What it wants to be shown besides what is always there: tree, dom, screenshot, marks."
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    "Handed to the agent as they are, with each reset. Cards show them: no place for a secret."
    timeout_seconds: float = Field(default=60, gt=0, le=3600)
    "For each answer."

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        example = "an http(s) URL such as http://127.0.0.1:8700"
        return None if value is None else http_url(value, example)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either the command or the url")
        if self.command is not None and self.api_key_env is not None:
            raise ValueError("api_key_env goes with url: a command has its own environment")
        return self
