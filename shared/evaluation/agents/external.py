"""An agent from outside: a program or an HTTP server that speaks the protocol of `messages`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from shared.evaluation.agents import messages, wire
from shared.evaluation.agents.keys import KeyMissingError, KeyNotAllowedError, the_key
from shared.evaluation.agents.messages import Act, ActAnswer, Close, ResetAnswer
from shared.evaluation.agents.outside import (
    NotAllowedError,
    check_allowed,
    environment,
    program,
)
from shared.evaluation.agents.parameters import ExternalParameters, on_loopback
from shared.evaluation.agents.stdio import Program, ProgramError
from shared.evaluation.agents.wire import ExchangeError, Fault
from shared.evaluation.protocol import (
    Action,
    AgentError,
    Decision,
    EndpointError,
    Observation,
    Task,
)

_CONNECT_SECONDS: Final = 5.0
_FAREWELL_SECONDS: Final = 1.0

AnswerT = TypeVar("AnswerT", ResetAnswer, ActAnswer)


class Line(Protocol):
    """How messages get there and answers back. Raises AgentError, EndpointError."""

    async def ask(self, message: BaseModel, seconds: float) -> bytes: ...

    async def close(self, farewell: BaseModel) -> None: ...


class ExternalAgent:
    """Hands every observation on and answers with what comes back.

    What the agent does wrong is AgentError. That it cannot be started or reached, or may not be,
    is EndpointError: of that it is not to blame. An action is checked where all agents' are.
    """

    def __init__(self, parameters: ExternalParameters) -> None:
        self.parts = frozenset(parameters.parts)
        self._parameters = parameters
        self._session = uuid4().hex
        self._line: Line | None = None

    async def reset(self, task: Task, seed: int) -> None:
        if self._line is None:
            self._line = await _connect(self._parameters)
        settings = self._parameters.settings
        await self._ask(messages.reset_message(self._session, task, seed, settings), ResetAnswer)

    async def act(self, observation: Observation) -> Decision:
        message = Act(session=self._session, observation=messages.seen(observation))
        answer = await self._ask(message, ActAnswer)
        calls = tuple(call.as_llm_call() for call in answer.calls)
        if answer.error is not None:
            raise AgentError(f"the agent gave up: {answer.error}", calls)
        if answer.action is None:
            raise AgentError('the agent\'s answer has neither "action" nor "error"', calls)
        return Decision(cast(Action, answer.action), calls, answer.reasoning)

    async def close(self) -> None:
        if self._line is not None:
            line, self._line = self._line, None
            await line.close(Close(session=self._session))

    async def _ask(self, message: BaseModel, model: type[AnswerT]) -> AnswerT:
        if self._line is None:
            raise AgentError("the agent was asked before it was given a task")
        said = await self._line.ask(message, self._parameters.timeout_seconds)
        try:
            answer = model.model_validate_json(said)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise AgentError(f"the agent answered {_kind(said)}: {where}: {first['msg']}") from None
        if isinstance(answer, ResetAnswer) and answer.error is not None:
            raise AgentError(f"the agent refused the task: {answer.error}")
        return answer


async def _connect(parameters: ExternalParameters) -> Line:
    try:
        check_allowed(parameters)
        if parameters.command is not None:
            return await _Stdio.start(parameters.command)
        key = parameters.api_key_env and the_key(parameters.api_key_env, parameters.url or "")
    except (NotAllowedError, KeyNotAllowedError, KeyMissingError) as error:
        raise EndpointError(str(error), permanent=True) from None
    return _Http(parameters.url or "", key or "")


class _Stdio:
    def __init__(self, running: Program) -> None:
        self._program = running

    @classmethod
    async def start(cls, name: str) -> _Stdio:
        said = f"the agent program {name!r}"
        try:
            return cls(await Program.start(program(name), environment(), said))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise EndpointError(f"{said} cannot be started: {why}", permanent=True) from None

    async def ask(self, message: BaseModel, seconds: float) -> bytes:
        try:
            return await self._program.ask(messages.line(message), seconds)
        except ProgramError as error:
            raise AgentError(str(error)) from None

    async def close(self, farewell: BaseModel) -> None:
        await self._program.close(messages.line(farewell))


class _Http:
    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = wire.Client(connect_seconds=_CONNECT_SECONDS, proxied=not on_loopback(url))

    async def ask(self, message: BaseModel, seconds: float) -> bytes:
        document: dict[str, Any] = message.model_dump(mode="json")
        where = f"{self._url}/{document['type']}"
        try:
            answered = await wire.post(
                self._client, where, document, headers=self._headers, seconds=seconds
            )
        except ExchangeError as error:
            raise _unanswered(error, where, seconds) from None
        if (to := answered.redirected_to) is not None:
            raise EndpointError(
                f"{where} redirects to {to} (HTTP {answered.status}): url must be the address"
                " itself",
                permanent=True,
            )
        if answered.status in (401, 403, 404):
            raise EndpointError(f"{where} answered HTTP {answered.status}", permanent=True)
        if answered.status != 200:
            raise AgentError(f"{where} answered HTTP {answered.status}")
        return answered.body

    async def close(self, farewell: BaseModel) -> None:
        try:
            # The episode has its result, and a server that is gone needs no farewell.
            with suppress(AgentError):
                await self.ask(farewell, _FAREWELL_SECONDS)
        finally:
            await self._client.aclose()


def _unanswered(error: ExchangeError, where: str, seconds: float) -> AgentError:
    match error.fault:
        case Fault.UNREACHABLE if not error.answering:
            return EndpointError(f"cannot reach {where}: is the agent running, and url right?")
        case Fault.UNREACHABLE:
            return AgentError(f"{where} broke off its answer")
        case Fault.TOO_LONG:
            return AgentError(f"{where} answered with more than {wire.MOST_BYTES // 2**20} MB")
        case Fault.NO_ANSWER:
            return AgentError(f"{where} did not answer within {seconds:g} s")


def _kind(said: bytes) -> str:
    shown = said[:40].decode("utf-8", "replace").strip()
    return f"{shown!r}..." if len(said) > len(shown) + 1 else repr(shown)
