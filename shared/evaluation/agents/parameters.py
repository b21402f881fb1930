"""What can be set for each kind of agent. A key is never a parameter, only where it is found."""

from __future__ import annotations

import ipaddress
import re
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.evaluation.agents import prompting

STAND_IN = "stand-in"
"As a base URL: the stand-in server of this process. As a model: the only one that it offers."
OPENAI_URL = "https://api.openai.com/v1"


class RuleBasedParameters(BaseModel):
    """The rule-based agent has nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LlmParameters(BaseModel):
    """An OpenAI-compatible endpoint, the model on it, and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    base_url: str = OPENAI_URL
    "Up to and with `/v1`, or `stand-in` for the keyless server in this process."
    api_key_env: str | None = "OPENAI_API_KEY"
    "Name of the environment variable that holds the key; null for an endpoint without one."
    provider: str | None = Field(default=None, min_length=1, max_length=100)
    "The name that prices are looked up under; by default told from the base URL."
    temperature: float | None = Field(default=None, ge=0, le=2)
    "Null: the endpoint's own; some models refuse any other."
    max_output_tokens: int | None = Field(default=None, ge=1, le=100_000)
    timeout_seconds: float = Field(default=60, gt=0, le=600)
    "For one HTTP call, retries not counted."
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60)
    max_retries: int = Field(default=2, ge=0, le=10)
    "After HTTP 408, 409, 429, 5xx and lost connections."
    max_repairs: int = Field(default=2, ge=0, le=5)
    "How often in a step an answer that cannot be used is sent back."
    max_page_characters: int = Field(default=24_000, ge=500, le=1_000_000)
    prompt_version: str = "v1"

    @field_validator("base_url")
    @classmethod
    def _is_an_endpoint(cls, value: str) -> str:
        if value == STAND_IN:
            return value
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"must be '{STAND_IN}' or an http(s) URL such as {OPENAI_URL}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or query: a key goes into api_key_env")
        return urlunsplit(parts).rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
            raise ValueError("must name an environment variable, such as OPENAI_API_KEY")
        return value

    @field_validator("prompt_version")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if value not in prompting.versions():
            raise ValueError(f"must be one of {', '.join(prompting.versions())}")
        return value

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
        if self.base_url == STAND_IN or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
