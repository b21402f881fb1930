"""Asks an agent, which is foreign code: whatever it says or raises becomes a value."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from shared.evaluation.protocol import (
    AgentError,
    AwaitsModel,
    Decision,
    EndpointError,
    LlmCall,
    ModelCaller,
    Outcome,
    Step,
    storable,
)

if TYPE_CHECKING:
    from shared.evaluation.protocol import Action, Agent, Observation, Task

log = logging.getLogger(__name__)

_CALLS: Final = TypeAdapter(tuple[LlmCall, ...])
FAREWELL_SECONDS: Final = 2.0
_REASONING_LIMIT: Final = 10_000
_LINE_LIMIT: Final = 300


class Answer(NamedTuple):
    """What came of asking the agent: an action, or an error."""

    action: Action | None = None
    calls: tuple[LlmCall, ...] = ()
    reasoning: str = ""
    error: str | None = None
    fatal: Outcome | None = None
    "How the episode ends, where it does."
    permanent: bool = False
    "Whether trying again will not help."


async def reset(agent: Agent, task: Task, seed: int) -> Answer | None:
    """Tell the agent its task; returns what went wrong."""
    try:
        await agent.reset(task, seed)
    except EndpointError as error:
        return _unreachable(error)
    except Exception as error:  # noqa: BLE001
        return Answer(calls=spent(agent), error=_blame(error), fatal=Outcome.AGENT_ERROR)
    return None


async def ask(agent: Agent, observation: Observation) -> Answer:
    """The agent's checked answer to what it sees."""
    try:
        decision: object = await agent.act(observation)
    except EndpointError as error:
        return _unreachable(error)
    except AgentError as error:
        return Answer(calls=error.calls, error=_blame(error), fatal=Outcome.AGENT_ERROR)
    except Exception as error:  # noqa: BLE001
        return Answer(calls=spent(agent), error=_blame(error), fatal=Outcome.AGENT_ERROR)
    if not isinstance(decision, Decision):
        said = f"the agent answered a {type(decision).__name__}, not a Decision"
        return Answer(calls=spent(agent), error=said)
    try:
        checked = Step(
            index=0,
            action=decision.action,
            error=None,
            reasoning=decision.reasoning[:_REASONING_LIMIT],
            observe_ms=0,
            think_ms=0,
            act_ms=0,
            dom_nodes=0,
            calls=decision.calls,
        )
    except (ValidationError, TypeError) as error:
        said = f"the agent's decision is malformed: {one_line(str(error))}"
        return Answer(calls=spent(agent) or _valid(decision.calls), error=said)
    if checked.action is None:
        return Answer(calls=checked.calls, error="the agent's decision names no action")
    return Answer(checked.action, checked.calls, checked.reasoning)


def spent(agent: Agent) -> tuple[LlmCall, ...]:
    """The model calls of the agent's current step, where it can tell."""
    return agent.calls_of_step() if isinstance(agent, ModelCaller) else ()


def endpoint_at_fault(agent: Agent) -> str | None:
    """Why an agent whose time is over was kept from playing by its endpoint, where it was."""
    fault = agent.endpoint_at_fault() if isinstance(agent, AwaitsModel) else None
    return None if fault is None else one_line(fault)


async def say_goodbye(agent: Agent) -> None:
    """Close the agent. A failing goodbye is logged: the episode has its result."""
    try:
        await asyncio.wait_for(agent.close(), FAREWELL_SECONDS)
    except Exception as error:  # noqa: BLE001
        log.warning("an agent did not close: %s", _blame(error))


def one_line(text: str) -> str:
    """Folded to one storable line of at most 300 characters."""
    return " ".join(storable(text).split())[:_LINE_LIMIT]


def _valid(calls: object) -> tuple[LlmCall, ...]:
    try:
        return _CALLS.validate_python(calls)
    except ValidationError:
        return ()


def _unreachable(error: EndpointError) -> Answer:
    return Answer(
        calls=error.calls,
        error=_blame(error),
        fatal=Outcome.ENVIRONMENT_ERROR,
        permanent=error.permanent,
    )


def _blame(error: Exception) -> str:
    said = str(error)
    if isinstance(error, AgentError):
        return one_line(said or "the agent gave up without a reason")
    return one_line(f"the agent raised {type(error).__name__}: {said}")
