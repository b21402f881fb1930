"""The wire to an OpenAI-compatible endpoint: each HTTP call recorded, each fault in one line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from shared.evaluation.agents import retrying, wire
from shared.evaluation.agents.chat import Chat
from shared.evaluation.agents.keys import (
    KeyMissingError,
    KeyNotAllowedError,
    check_key_may_go,
    the_key,
)
from shared.evaluation.agents.parameters import STAND_IN, EndpointParameters
from shared.evaluation.agents.patience import Deadline, Patience, Waiting
from shared.evaluation.agents.places import Limits, NoPlaceError, admitted
from shared.evaluation.agents.wire import Answered, ExchangeError, Fault
from shared.evaluation.protocol import EndpointError, LlmCall, Tokens

log = logging.getLogger(__name__)

Message = Mapping[str, Any]
"One message of a chat, in OpenAI's form."

_LOOKS_LIKE_A_KEY: Final = re.compile(r"(?i)\b(?:sk|key|pk|rk)[-_][\w*.-]{4,}|bearer\s+\S+")
_TOLD_FROM_SECONDS: Final = 1.0
"A shorter wait for a place is not worth a line in the log."
_LONGEST_WAIT: Final = 3_600.0


class _InputDetails(BaseModel):
    cached_tokens: Tokens = None
    cache_write_tokens: Tokens = None


class _OutputDetails(BaseModel):
    reasoning_tokens: Tokens = None


class _Usage(BaseModel):
    prompt_tokens: Tokens = None
    completion_tokens: Tokens = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Function(BaseModel):
    name: str
    arguments: str | dict[str, Any] | None = None
    "OpenAI sends JSON in a string, some others the object itself."


class ToolCall(BaseModel):
    """One function that the model calls."""

    id: str = ""
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    """The part of a chat completion that is used; what an endpoint leaves out stays None."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Refusal(BaseModel):
    message: str = ""
    code: str | int | None = None


class _Refused(BaseModel):
    error: _Refusal | str = _Refusal()


@dataclass(frozen=True)
class Reply:
    """What the model said. `cut_off` when it had no more tokens to say it with."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    cut_off: bool


class Endpoint:
    """One endpoint for one episode, or for one answer of a function.

    `calls` holds every HTTP call made, the failed ones too.
    """

    def __init__(self, parameters: EndpointParameters) -> None:
        self.calls: list[LlmCall] = []
        self._parameters = parameters
        self._limits = Limits(parameters.max_concurrency, parameters.requests_per_minute)
        self._chat: Chat | None = None
        self._key = ""
        self._url = ""
        self._place = ""
        self.begin(float("inf"))

    def begin(self, task_seconds: float) -> None:
        """From now on, `task_seconds` are there for a task."""
        self._begin(Patience(task_seconds, self._parameters.timeout_seconds))

    def begin_within(self, seconds: float) -> None:
        """From now on, all of `seconds` are there for answers and the pauses between tries."""
        self._begin(Deadline(seconds, self._parameters.timeout_seconds))

    def _begin(self, patience: Patience | Deadline) -> None:
        self._patience = patience
        self._began = time.monotonic()
        self._lost = 0.0
        self._slowest_answer: float | None = None
        self._question: _Question | None = None

    async def ask(
        self,
        messages: list[Message],
        tools: Sequence[Message] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> Reply:
        """What the model says to `messages`. `more` is of the request. Raises EndpointError."""
        chat = self._chat or self._connect()
        document = self._document(messages, tools) | dict(more or {})
        question = self._question = _Question(time.monotonic(), _characters(messages))
        while True:
            now = self._now(question)
            seconds = min(max(self._patience.left(now), self._patience.limit(now)), _LONGEST_WAIT)
            if seconds <= 0:
                raise EndpointError(self._kept_waiting(now))
            try:
                async with admitted(self._place, self._limits, seconds) as waited:
                    self._tell(waited)
                    return await self._try(chat, document, question, waited)
            except NoPlaceError:
                raise self._no_place(seconds) from None
            except _FailedError as failed:
                await self._pause(failed, question)

    def at_fault(self) -> str | None:
        """Why the endpoint has used up a task's time that is over now; None if it has not.

        To be asked while `ask` waits for an answer.
        """
        now = None if self._question is None else self._now(self._question)
        return None if now is None or not self._patience.blames(now) else self._kept_waiting(now)

    async def close(self) -> None:
        if self._chat is not None:
            await self._chat.close()
            self._chat = None

    def _connect(self) -> Chat:
        parameters = self._parameters
        self._url, self._key = _address_and_key(parameters)
        self._place = _identity(parameters)
        http = wire.Client(
            connect_seconds=parameters.connect_timeout_seconds, proxied=not parameters.on_loopback
        )
        self._chat = Chat(self._url, self._key, http, variable=parameters.api_key_env)
        return self._chat

    def _document(
        self, messages: list[Message], tools: Sequence[Message] | None
    ) -> dict[str, object]:
        parameters = self._parameters
        document: dict[str, object] = {"model": parameters.model, "messages": messages}
        if parameters.temperature is not None:
            document["temperature"] = parameters.temperature
        if parameters.max_output_tokens is not None:
            document["max_completion_tokens"] = parameters.max_output_tokens
        if tools:
            document |= {"tools": tools, "tool_choice": "required"}
        return document

    async def _try(
        self,
        chat: Chat,
        document: dict[str, object],
        question: _Question,
        waited: float,
    ) -> Reply:
        """One HTTP call. Raises EndpointError, and _FailedError where another try may do better."""
        call = _Call(self._parameters, question.characters, waited)
        # What was waited for a place has passed of the task's time as well.
        now = self._now(question)
        seconds = self._patience.limit(now)
        if seconds <= 0:
            raise EndpointError(self._kept_waiting(now))
        try:
            answered = await chat.complete(document, seconds)
        except ExchangeError as error:
            self.calls.append(call.ended(error_type=error.fault.value))
            why = self._why_no_answer(error, seconds)
            if error.fault is Fault.TOO_LONG:
                raise EndpointError(why) from None
            raise _FailedError(why) from None
        except asyncio.CancelledError:
            self.calls.append(call.ended(error_type="aborted"))
            raise
        if not 200 <= answered.status < 300:
            self.calls.append(call.ended(error_type=f"http_{answered.status}"))
            raise self._refused(answered)
        reply = self._read(answered.body, call)
        took = call.seconds()
        self._question = None
        self._slowest_answer = max(self._slowest_answer or 0.0, took)
        self._lost += max(0.0, time.monotonic() - question.asked_at - took)
        return reply

    async def _pause(self, failed: _FailedError, question: _Question) -> None:
        """Wait until the next try is due. Raises EndpointError when there is to be none."""
        question.failures += 1
        seconds = retrying.pause(question.failures, failed.headers)
        tries, asked = f"after {_attempts(question.failures)}", failed.retry_after
        if question.failures > self._parameters.max_retries:
            raise EndpointError(f"{failed}, {tries}", retry_after=asked)
        if seconds > retrying.MOST_ASKED_SECONDS:
            raise EndpointError(
                f"{failed}, {tries}: it asks to wait {seconds:.0f} s", retry_after=asked
            )
        if seconds >= self._patience.left(self._now(question)):
            raise EndpointError(
                f"{failed}, {tries}: no time {self._patience.of_whom} is left for another",
                retry_after=asked,
            )
        await asyncio.sleep(seconds)

    def _now(self, question: _Question) -> Waiting:
        now = time.monotonic()
        waited = now - question.asked_at
        return Waiting(now - self._began, waited, self._lost + waited, self._slowest_answer)

    def _read(self, body: bytes, call: _Call) -> Reply:
        try:
            completion = _completion(body)
        except ValidationError:
            self.calls.append(call.ended(error_type="invalid_response"))
            raise EndpointError(self._not_a_completion()) from None
        self.calls.append(call.ended(completion=completion))
        choice = completion.choices[0]
        return Reply(
            choice.message.content or "",
            tuple(choice.message.tool_calls or ()),
            choice.finish_reason == "length",
        )

    def _tell(self, waited: float) -> None:
        if waited >= _TOLD_FROM_SECONDS:
            log.info("waited %.1f s for a place at %s (%s)", waited, self._url, self._limits_said())

    def _limits_said(self) -> str:
        given = {
            "max_concurrency": self._limits.max_concurrency,
            "requests_per_minute": self._limits.requests_per_minute,
        }
        return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)

    def _no_place(self, seconds: float) -> EndpointError:
        return EndpointError(
            f"no place at {self._url} within {seconds:.1f} s: too many ask it at a time for"
            f" {self._limits_said()}"
        )

    def _kept_waiting(self, now: Waiting) -> str:
        return f"{self._url} kept {self._patience.kept_waiting(now)}"

    def _not_a_completion(self) -> str:
        return (
            f"{self._url} answered with something that is no chat completion: "
            "base_url must be that of an OpenAI-compatible API"
        )

    def _why_no_answer(self, error: ExchangeError, seconds: float) -> str:
        match error.fault:
            case Fault.NO_ANSWER if error.answering:
                return f"{self._url} began to answer and was not done within {seconds:.3g} s"
            case Fault.NO_ANSWER:
                return f"no answer from {self._url} within {seconds:.3g} s"
            case Fault.TOO_LONG:
                return f"{self._url} answered with more than {wire.MOST_BYTES // 2**20} MB"
            case Fault.UNREACHABLE if error.answering:
                return f"{self._url} broke off its answer"
            case Fault.UNREACHABLE:
                return f"cannot reach {self._url}: is it running, and is base_url right?"

    def _refused(self, answered: Answered) -> _FailedError | EndpointError:
        """The error for a status that is none of success."""
        said = _said(answered.body)
        code = str(said.code) if said.code is not None else None
        why = self._explain(answered, said)
        if retrying.is_transient(answered.status, answered.headers, code):
            return _FailedError(why, answered.headers)
        return EndpointError(why, permanent=True)

    def _explain(self, answered: Answered, said: _Refusal) -> str:
        """One line for the user, without the key, whatever the endpoint put into its answer."""
        parameters, url, status = self._parameters, self._url, answered.status
        match status:
            case _ if (to := answered.redirected_to) is not None:
                return (
                    f"{url} redirects to {self._without_secrets(to)} (HTTP {status}):"
                    " base_url must be the address itself"
                )
            case 401 | 403:
                where = parameters.api_key_env or "(none is set: api_key_env)"
                return f"{url} refused the key from {where} (HTTP {status})"
            case 404 if said.code == "model_not_found":
                return f"{url} knows no model {parameters.model!r}: choose one of its /models"
            case 404:
                return (
                    f"{url} has no chat completions for model {parameters.model!r} (HTTP 404): "
                    "base_url must end where /chat/completions begins"
                )
            case 429:
                return f"{url} refused for too many requests or no quota (HTTP 429)"
            case _ if status >= 500:
                return f"{url} failed with HTTP {status}"
            case _:
                told = self._without_secrets(said.message)
                return f"{url} refused the request (HTTP {status}): {told or 'it does not say why'}"

    def _without_secrets(self, text: str) -> str:
        if self._key:
            text = text.replace(self._key, "***")
        return _LOOKS_LIKE_A_KEY.sub("***", " ".join(text.split()))[:300]


@dataclass
class _Question:
    """What is asked until there is an answer, in one try or several."""

    asked_at: float
    characters: int
    failures: int = 0


class _FailedError(Exception):
    """A try that gave no answer, where another may; `headers` are those of what came instead."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}

    @property
    def retry_after(self) -> float | None:
        return retrying.asked_seconds(self.headers)


class _Call:
    """An HTTP call under way, for the record."""

    def __init__(self, parameters: EndpointParameters, characters: int, waited: float) -> None:
        self._parameters = parameters
        self._characters = characters
        self._waited = waited
        self._sent_at = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._sent_at

    def ended(
        self, *, completion: _Completion | None = None, error_type: str | None = None
    ) -> LlmCall:
        usage = (completion.usage if completion else None) or _Usage()
        read = usage.prompt_tokens_details or _InputDetails()
        written = usage.completion_tokens_details or _OutputDetails()
        return LlmCall(
            provider=self._parameters.provider_name,
            llm_model=(completion.model if completion else None) or self._parameters.model,
            latency_ms=round(self.seconds() * 1000),
            waited_ms=round(self._waited * 1000),
            input_tokens=usage.prompt_tokens,
            cached_input_tokens=read.cached_tokens,
            cache_write_tokens=read.cache_write_tokens,
            output_tokens=usage.completion_tokens,
            reasoning_tokens=written.reasoning_tokens,
            query_length=self._characters,
            error_type=error_type,
        )


def _attempts(count: int) -> str:
    return f"{count} attempt{'s' if count > 1 else ''}"


def _characters(messages: list[Message]) -> int:
    """Of text: a picture has none."""
    count = 0
    for message in messages:
        content = message.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        count += sum(len(part.get("text", "")) for part in parts)
    return count


def _said(body: bytes) -> _Refusal:
    try:
        error = _Refused.model_validate_json(body).error
    except ValidationError:
        return _Refusal()
    return _Refusal(message=error) if isinstance(error, str) else error


def _identity(parameters: EndpointParameters) -> str:
    """What is limited together: the same model at the same address, with the same key."""
    machine = socket.gethostname() if parameters.on_loopback else ""
    parts = (machine, parameters.base_url, parameters.model, parameters.api_key_env or "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _address_and_key(parameters: EndpointParameters) -> tuple[str, str]:
    if parameters.base_url == STAND_IN:
        from shared.evaluation.stand_in.server import running_stand_in

        return running_stand_in().base_url, ""
    if parameters.api_key_env is None:
        return parameters.base_url, ""
    # Here and not only at registration: what the worker's operator allows is what counts.
    try:
        check_key_may_go(parameters.api_key_env, parameters.base_url)
    except KeyNotAllowedError as error:
        raise EndpointError(str(error), permanent=True) from None
    try:
        return parameters.base_url, the_key(parameters.api_key_env, parameters.base_url)
    except KeyMissingError as error:
        raise EndpointError(str(error), permanent=True) from None


def _completion(body: bytes) -> _Completion:
    """Raises pydantic's `ValidationError`. Halves of characters are replaced: models write them,
    and one is no reason to lose an answer that is paid for."""
    try:
        return _Completion.model_validate_json(body)
    except ValidationError:
        if b"\\u" not in body:
            raise
        with suppress(ValueError, RecursionError):
            whole = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
            return _Completion.model_validate_json(whole)
        raise
