"""The wire to an OpenAI-compatible endpoint: each HTTP call recorded, each fault in one line."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import httpx2
import openai
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field, ValidationError

from shared.evaluation.agents.keys import KeyNotAllowedError, check_key_may_go
from shared.evaluation.agents.parameters import STAND_IN, LlmParameters
from shared.evaluation.protocol import EndpointError, LlmCall, Tokens

Number = TypeVar("Number", int, float)

_LOOKS_LIKE_A_KEY = re.compile(r"(?i)\b(?:sk|key|pk|rk)[-_][\w*.-]{4,}|bearer\s+\S+")


class _Details(BaseModel):
    cached_tokens: Tokens = None


class _Usage(BaseModel):
    prompt_tokens: Tokens = None
    completion_tokens: Tokens = None
    prompt_tokens_details: _Details | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    """The part of a chat completion that is used; what an endpoint leaves out stays None."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass
class _Attempts:
    """The HTTP calls behind one question. The client retries inside, so they are seen here."""

    provider: str
    model: str
    query_length: int
    failed: list[LlmCall] = field(default_factory=list)
    _sent_at: float | None = None

    async def on_request(self, request: httpx2.Request) -> None:
        if self._sent_at is not None:  # the one before got no response, and is tried again
            self.fail("no_response")
        self._sent_at = time.monotonic()

    async def on_response(self, response: httpx2.Response) -> None:
        if response.is_error:
            self.fail(f"http_{response.status_code}")

    def fail(self, error_type: str) -> None:
        """Record the call under way as failed; no tokens were reported for it."""
        if self._sent_at is not None:
            self.failed.append(self.call(error_type=error_type))
            self._sent_at = None

    def call(
        self,
        *,
        model: str | None = None,
        tokens: tuple[int | None, int | None, int | None] = (None, None, None),
        error_type: str | None = None,
    ) -> LlmCall:
        elapsed = time.monotonic() - (self._sent_at or time.monotonic())
        return LlmCall(
            provider=self.provider,
            llm_model=model or self.model,
            latency_ms=round(elapsed * 1000),
            input_tokens=tokens[0],
            cached_input_tokens=tokens[1],
            output_tokens=tokens[2],
            query_length=self.query_length,
            error_type=error_type,
        )


class Endpoint:
    """One endpoint for one episode. `calls` holds every HTTP call made, the failed ones too."""

    def __init__(self, parameters: LlmParameters) -> None:
        self.calls: list[LlmCall] = []
        self._parameters = parameters
        self._attempts: _Attempts | None = None
        self._client: openai.AsyncOpenAI | None = None
        self._key = ""
        self._url = ""

    async def ask(self, messages: list[ChatCompletionMessageParam]) -> str:
        """The text of the answer to `messages`. Raises EndpointError."""
        client = self._client or self._connect()
        attempts = _Attempts(
            provider=self._parameters.provider_name,
            model=self._parameters.model,
            query_length=sum(len(str(message.get("content") or "")) for message in messages),
        )
        self._attempts = attempts
        try:
            response = await client.chat.completions.with_raw_response.create(
                model=self._parameters.model,
                messages=messages,
                temperature=_given(self._parameters.temperature),
                max_completion_tokens=_given(self._parameters.max_output_tokens),
            )
        except openai.OpenAIError as error:
            attempts.fail(_error_type(error))
            raise EndpointError(self._explain(error)) from None
        except asyncio.CancelledError:
            attempts.fail("aborted")
            raise
        finally:
            self.calls += attempts.failed
        return self._read(response.content, attempts)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connect(self) -> openai.AsyncOpenAI:
        parameters = self._parameters
        self._url, self._key = _address_and_key(parameters)
        self._client = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or "none",  # the client insists on one; a keyless endpoint ignores it
            max_retries=parameters.max_retries,
            http_client=openai.DefaultAsyncHttpxClient(
                verify=_tls(),
                trust_env=not parameters.on_loopback,
                timeout=httpx2.Timeout(
                    parameters.timeout_seconds, connect=parameters.connect_timeout_seconds
                ),
                event_hooks={"request": [self._on_request], "response": [self._on_response]},
            ),
        )
        return self._client

    async def _on_request(self, request: httpx2.Request) -> None:
        if self._attempts is not None:
            await self._attempts.on_request(request)

    async def _on_response(self, response: httpx2.Response) -> None:
        if self._attempts is not None:
            await self._attempts.on_response(response)

    def _read(self, body: bytes, attempts: _Attempts) -> str:
        """The client takes any body for a completion, so it is validated here."""
        try:
            completion = _Completion.model_validate_json(body)
        except ValidationError:
            self.calls.append(attempts.call(error_type="invalid_response"))
            raise EndpointError(self._not_a_completion()) from None
        usage = completion.usage or _Usage()
        details = usage.prompt_tokens_details or _Details()
        tokens = (usage.prompt_tokens, details.cached_tokens, usage.completion_tokens)
        self.calls.append(attempts.call(model=completion.model, tokens=tokens))
        return completion.choices[0].message.content or ""

    def _not_a_completion(self) -> str:
        return (
            f"{self._url} answered with something that is no chat completion: "
            "base_url must be that of an OpenAI-compatible API"
        )

    def _explain(self, error: openai.OpenAIError) -> str:
        """One line for the user, without the key, whatever the endpoint put into its answer."""
        parameters, url = self._parameters, self._url
        tries = f"after {parameters.max_retries + 1} attempts"
        match error:
            case openai.APITimeoutError():
                return f"no answer from {url} within {parameters.timeout_seconds:g} s, {tries}"
            case openai.APIConnectionError():
                return f"cannot reach {url}, {tries}: is it running, and is base_url right?"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                where = parameters.api_key_env or "(none is set: api_key_env)"
                return f"{url} refused the key from {where} (HTTP {error.status_code})"
            case openai.NotFoundError() if error.code == "model_not_found":
                return f"{url} knows no model {parameters.model!r}: choose one of its /models"
            case openai.NotFoundError():
                return (
                    f"{url} has no chat completions for model {parameters.model!r} (HTTP 404): "
                    "base_url must end where /chat/completions begins"
                )
            case openai.RateLimitError():
                return f"{url} refused for too many requests or no quota (HTTP 429), {tries}"
            case openai.InternalServerError():
                return f"{url} failed with HTTP {error.status_code}, {tries}"
            case openai.APIStatusError():
                said = self._without_secrets(error.message)
                return f"{url} refused the request (HTTP {error.status_code}): {said}"
            case _:
                return self._not_a_completion()

    def _without_secrets(self, text: str) -> str:
        if self._key:
            text = text.replace(self._key, "***")
        return _LOOKS_LIKE_A_KEY.sub("***", " ".join(text.split()))[:300]


@cache
def _tls() -> ssl.SSLContext:
    """Loading the certificates takes 50 ms, in the loop that all episodes share: do it once."""
    return httpx2.create_ssl_context()


def _address_and_key(parameters: LlmParameters) -> tuple[str, str]:
    if parameters.base_url == STAND_IN:
        from shared.evaluation.stand_in.server import running_stand_in

        return running_stand_in().base_url, ""
    if parameters.api_key_env is None:
        return parameters.base_url, ""
    # Here and not only at registration: what the worker's operator allows is what counts.
    try:
        check_key_may_go(parameters)
    except KeyNotAllowedError as error:
        raise EndpointError(str(error)) from None
    key = os.environ.get(parameters.api_key_env, "").strip()
    if not key:
        raise EndpointError(
            f"environment variable {parameters.api_key_env} is not set: "
            f"it must hold the key for {parameters.base_url}"
        )
    return parameters.base_url, key


def _given(value: Number | None) -> Number | openai.Omit:
    return openai.omit if value is None else value


def _error_type(error: openai.OpenAIError) -> str:
    match error:
        case openai.APITimeoutError():
            return "timeout"
        case openai.APIConnectionError():
            return "connection_error"
        case openai.APIStatusError():
            return f"http_{error.status_code}"
        case _:
            return "invalid_response"
