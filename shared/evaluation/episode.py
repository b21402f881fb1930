"""One episode: an agent on one task's page, from a fresh load to a classified end."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from playwright.async_api import Error as PlaywrightError
from pydantic import TypeAdapter, ValidationError

from shared.evaluation import acting, observing
from shared.evaluation.benchmark import BenchmarkMissingError, Goal, SoFar
from shared.evaluation.benchmarks import UnknownBenchmarkError
from shared.evaluation.benchmarks import benchmark as benchmark_of
from shared.evaluation.observing import PageHungError, PageReader, within
from shared.evaluation.protocol import (
    AgentError,
    Decision,
    EndpointError,
    EpisodeResult,
    LlmCall,
    ModelCaller,
    Outcome,
    ReportInfeasible,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import BrowserContext, Dialog, Page, Route

    from shared.evaluation.benchmark import Benchmark, Environment
    from shared.evaluation.protocol import Action, Agent, Observation, Task

log = logging.getLogger(__name__)

_CALLS: Final = TypeAdapter(tuple[LlmCall, ...])

NONSENSE_LIMIT: Final = 3
"So many answers in a row that make no sense end an episode."

_CANCEL_POLL_SECONDS: Final = 0.25
_FAREWELL_SECONDS: Final = 2.0
_REASONING_LIMIT: Final = 10_000
_REASON_LIMIT: Final = 300


class _End(NamedTuple):
    outcome: Outcome
    reason: str
    raw_reward: float | None = None


@dataclass
class _Trace:
    """What is known of an episode so far, whenever it is ended."""

    environment: Environment | None = None
    url: str = ""
    answer: str | None = None
    goal: Goal = field(default_factory=lambda: Goal("", {}))
    page_load_ms: int | None = None
    steps: list[Step] = field(default_factory=list)
    started: bool = False
    thinking: bool = False
    unfinished_calls: tuple[LlmCall, ...] = ()
    "Those of the answer that is being acted on."


async def run_episode(
    context: BrowserContext,
    agent: Agent,
    task: Task,
    seed: int,
    *,
    deadline_seconds: float,
    cancelled: Callable[[], bool],
    benchmark: Benchmark | None = None,
) -> EpisodeResult:
    """Run `agent` on `task` in `context` and say how it ended.

    Never raises for what agent, page or browser do: that is the result's outcome with its
    reason in one line. A page that is not loaded within `deadline_seconds` is an environment
    error; a loaded one that is not done by then is a timeout. `cancelled` is asked four times
    a second and must not block. `benchmark` is looked up by `task.benchmark` when not given.
    """
    began = time.monotonic()
    trace = _Trace()
    playing = asyncio.create_task(_play(context, agent, task, seed, trace, benchmark))
    try:
        end = await _watch(playing, trace, began + deadline_seconds, deadline_seconds, cancelled)
    finally:
        # Also when this very call is cancelled: nothing of an episode outlives it.
        playing.cancel()
        await asyncio.wait({playing}, timeout=_FAREWELL_SECONDS)
        await _say_goodbye(agent)
        violations = await _tear_down(trace.environment)
    return EpisodeResult(
        outcome=end.outcome,
        reason=_one_line(end.reason),
        raw_reward=end.raw_reward,
        violations=violations,
        answer=trace.answer,
        goal=trace.goal.text,
        page_load_ms=trace.page_load_ms,
        url=trace.url,
        steps=tuple(trace.steps),
        duration_ms=_ms_since(began),
        unfinished_calls=_spent(agent) if trace.thinking else trace.unfinished_calls,
    )


async def _watch(
    playing: asyncio.Task[_End],
    trace: _Trace,
    deadline: float,
    deadline_seconds: float,
    cancelled: Callable[[], bool],
) -> _End:
    while True:
        left = deadline - time.monotonic()
        await asyncio.wait({playing}, timeout=max(0.0, min(left, _CANCEL_POLL_SECONDS)))
        if playing.done():
            return playing.result()
        if cancelled():
            return _End(Outcome.CANCELLED, "cancelled")
        if time.monotonic() >= deadline:
            limit = f"its deadline of {deadline_seconds:g} s"
            if trace.started:
                return _End(Outcome.TIMEOUT, f"not done within {limit}")
            return _End(Outcome.ENVIRONMENT_ERROR, f"the page did not load within {limit}")


async def _play(
    context: BrowserContext,
    agent: Agent,
    task: Task,
    seed: int,
    trace: _Trace,
    benchmark: Benchmark | None,
) -> _End:
    try:
        environment = (benchmark or benchmark_of(task.benchmark)).environment(task, seed)
        trace.environment, trace.url = environment, environment.url
        page, reader = await _open(context, environment, trace)
        trace.started = True
        return await _steps(page, reader, environment, agent, task, seed, trace)
    except (UnknownBenchmarkError, BenchmarkMissingError, PageHungError) as error:
        return _End(Outcome.ENVIRONMENT_ERROR, str(error))
    except PlaywrightError as error:
        return _End(Outcome.ENVIRONMENT_ERROR, f"browser: {error.message}")


async def _open(
    context: BrowserContext, environment: Environment, trace: _Trace
) -> tuple[Page, PageReader]:
    await _fence(context, trace.url)
    key = await observing.prepare(context)
    page = await within(context.new_page())
    page.on("dialog", _dismiss)
    context.on("page", _close)
    began = time.monotonic()
    response = await page.goto(trace.url, wait_until="load", timeout=0)
    if response is not None and not response.ok:
        raise PlaywrightError(f"{trace.url} answered {response.status}")
    trace.goal = await within(environment.setup(page))
    trace.page_load_ms = _ms_since(began)
    reader = PageReader(page, key, environment.unseen)
    await reader.attach()
    return page, reader


async def _fence(context: BrowserContext, url: str) -> None:
    # The pattern is matched on Playwright's side: a request to the page's own origin costs no
    # round trip to Python.
    parts = urlsplit(url)
    own = re.escape(f"{parts.scheme}://{parts.netloc}/")
    await within(context.route(re.compile(f"^(?!{own}|data:|blob:|about:)"), _refuse))


# What these answer may be gone by the time they do: a page that closes, a context that ends.


async def _refuse(route: Route) -> None:
    with suppress(PlaywrightError):
        await route.abort("blockedbyclient")


async def _dismiss(dialog: Dialog) -> None:
    with suppress(PlaywrightError):
        await dialog.dismiss()


async def _close(popup: Page) -> None:
    with suppress(PlaywrightError):
        await popup.close()


async def _steps(
    page: Page,
    reader: PageReader,
    environment: Environment,
    agent: Agent,
    task: Task,
    seed: int,
    trace: _Trace,
) -> _End:
    error = await _reset(agent, task, seed)
    if error is not None:
        return _End(Outcome.AGENT_ERROR, error)
    nonsense = 0
    last_error: str | None = None
    for index in range(task.max_steps):
        began = time.monotonic()
        observation = await reader.observe(trace.goal, index, last_error)
        seen = time.monotonic()
        trace.thinking = True
        answer = await _think(agent, observation)
        trace.thinking, trace.unfinished_calls = False, answer.calls
        thought = time.monotonic()
        last_error, makes_sense = answer.error, answer.error is None
        if answer.action is not None:
            try:
                await acting.perform(page, reader, answer.action)
            except acting.ActionError as refused:
                last_error = _one_line(str(refused))
                makes_sense = not isinstance(refused, acting.UnknownElementError)
        trace.steps.append(
            Step(
                index=index,
                action=answer.action,
                error=last_error,
                reasoning=answer.reasoning,
                observe_ms=_ms(seen - began),
                think_ms=_ms(thought - seen),
                act_ms=_ms_since(thought),
                dom_nodes=observation.dom_nodes,
                calls=answer.calls,
            )
        )
        trace.unfinished_calls = ()
        if answer.fatal is not None:
            return _End(answer.fatal, answer.error or "the agent gave up")
        if isinstance(answer.action, ReportInfeasible):
            reason = f"the agent reported the task infeasible: {answer.action.reason}"
            return _End(Outcome.FAILURE, reason)
        verdict = await within(environment.validate(page, SoFar(trace.answer)))
        if verdict.done:
            outcome = Outcome.SUCCESS if verdict.success else Outcome.FAILURE
            return _End(outcome, verdict.reason, verdict.raw_reward)
        nonsense = 0 if makes_sense else nonsense + 1
        if nonsense >= NONSENSE_LIMIT:
            reason = f"{nonsense} answers in a row made no sense, the last: {last_error}"
            return _End(Outcome.AGENT_ERROR, reason)
    return _End(Outcome.FAILURE, f"not done after {task.max_steps} steps")


class _Answer(NamedTuple):
    """What came of asking the agent: an action, or an error."""

    action: Action | None = None
    calls: tuple[LlmCall, ...] = ()
    reasoning: str = ""
    error: str | None = None
    fatal: Outcome | None = None
    "How the episode ends, where it does."


async def _reset(agent: Agent, task: Task, seed: int) -> str | None:
    try:
        await agent.reset(task, seed)
    # An agent is foreign code: whatever it raises is its result.
    except Exception as error:  # noqa: BLE001
        return _blame(error)
    return None


async def _think(agent: Agent, observation: Observation) -> _Answer:
    try:
        decision: object = await agent.act(observation)
    except EndpointError as error:
        return _Answer(calls=error.calls, error=_blame(error), fatal=Outcome.ENVIRONMENT_ERROR)
    except AgentError as error:
        return _Answer(calls=error.calls, error=_blame(error), fatal=Outcome.AGENT_ERROR)
    except Exception as error:  # noqa: BLE001
        return _Answer(calls=_spent(agent), error=_blame(error), fatal=Outcome.AGENT_ERROR)
    if not isinstance(decision, Decision):
        said = f"the agent answered a {type(decision).__name__}, not a Decision"
        return _Answer(calls=_spent(agent), error=said)
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
        said = f"the agent's decision is malformed: {_one_line(str(error))}"
        return _Answer(calls=_spent(agent) or _valid(decision.calls), error=said)
    if checked.action is None:
        return _Answer(calls=checked.calls, error="the agent's decision names no action")
    return _Answer(checked.action, checked.calls, checked.reasoning)


def _spent(agent: Agent) -> tuple[LlmCall, ...]:
    return agent.calls_of_step() if isinstance(agent, ModelCaller) else ()


def _valid(calls: object) -> tuple[LlmCall, ...]:
    try:
        return _CALLS.validate_python(calls)
    except ValidationError:
        return ()


async def _tear_down(environment: Environment | None) -> tuple[str, ...] | None:
    if environment is None:
        return None
    violations = environment.violations()
    await environment.teardown()
    return violations


async def _say_goodbye(agent: Agent) -> None:
    try:
        await asyncio.wait_for(agent.close(), _FAREWELL_SECONDS)
    # The episode has its result; a failing goodbye must not take it away.
    except Exception as error:  # noqa: BLE001
        log.warning("an agent did not close: %s", _blame(error))


def _blame(error: Exception) -> str:
    said = str(error)
    if isinstance(error, AgentError):
        return _one_line(said or "the agent gave up without a reason")
    return _one_line(f"the agent raised {type(error).__name__}: {said}")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_REASON_LIMIT]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ms_since(began: float) -> int:
    return _ms(time.monotonic() - began)
