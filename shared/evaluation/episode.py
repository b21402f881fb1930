"""One episode: an agent on one task's page, from a fresh load to a classified end."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import Error as PlaywrightError

from shared.evaluation import acting, asking, observing
from shared.evaluation.asking import one_line
from shared.evaluation.benchmark import BenchmarkMissingError, Goal, SoFar
from shared.evaluation.benchmarks import UnknownBenchmarkError
from shared.evaluation.benchmarks import benchmark as benchmark_of
from shared.evaluation.observing import PageHungError, PageReader, digest, within
from shared.evaluation.protocol import (
    Answer,
    EpisodeResult,
    LlmCall,
    Outcome,
    ReportInfeasible,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Dialog, Frame, Page, Route

    from shared.evaluation.benchmark import Benchmark, Environment
    from shared.evaluation.protocol import Agent, Task
    from shared.evaluation.recording import Recorder

log = logging.getLogger(__name__)

T = TypeVar("T")

NONSENSE_LIMIT: Final = 3
"So many answers in a row that make no sense end an episode."

_CANCEL_POLL_SECONDS: Final = 0.25
_FAREWELL_SECONDS: Final = 2.0
_STORING_SECONDS: Final = 10.0
_VISITED_LIMIT: Final = 1_000


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
    visited: list[str] = field(default_factory=list)
    goal: Goal = field(default_factory=lambda: Goal("", {}))
    page_load_ms: int | None = None
    steps: list[Step] = field(default_factory=list)
    started: bool = False
    thinking: bool = False
    unfinished_calls: tuple[LlmCall, ...] = ()
    "Those of the answer that is being acted on."

    def so_far(self) -> SoFar:
        return SoFar(self.answer, tuple(self.visited))

    def visit(self, url: str) -> None:
        if self.visited[-1:] != [url] and len(self.visited) < _VISITED_LIMIT:
            self.visited.append(url)


@dataclass(frozen=True)
class _Episode:
    """What an episode is run with."""

    context: BrowserContext
    agent: Agent
    task: Task
    seed: int
    benchmark: Benchmark | None
    recorder: Recorder | None
    over_budget: Callable[[tuple[LlmCall, ...]], bool] | None


async def run_episode(
    context: BrowserContext,
    agent: Agent,
    task: Task,
    seed: int,
    *,
    deadline_seconds: float,
    cancelled: Callable[[], bool],
    benchmark: Benchmark | None = None,
    recorder: Recorder | None = None,
    over_budget: Callable[[tuple[LlmCall, ...]], bool] | None = None,
) -> EpisodeResult:
    """Run `agent` on `task` in `context` and say how it ended.

    Never raises for what agent, page, browser, environment or recorder do: that is the result's
    outcome with its reason in one line. A page that is not loaded within `deadline_seconds` is an
    environment error; a loaded one that is not done by then is a timeout. `cancelled` is asked
    four times a second and must not block. `over_budget` is asked after every step that did not
    end the episode, with all its model calls so far. `benchmark` is looked up by
    `task.benchmark` when not given.
    """
    began = time.monotonic()
    trace = _Trace()
    episode = _Episode(context, agent, task, seed, benchmark, recorder, over_budget)
    playing = asyncio.create_task(_play(episode, trace))
    end = _End(Outcome.CANCELLED, "broken off")
    try:
        end = await _watch(playing, trace, began + deadline_seconds, deadline_seconds, cancelled)
    finally:
        # Also when this very call is cancelled: nothing of an episode outlives it.
        playing.cancel()
        await asyncio.wait({playing}, timeout=_FAREWELL_SECONDS)
        duration_ms = _ms_since(began)
        await asking.say_goodbye(agent)
        recording = await _finish_recording(episode, end.outcome)
        violations = await _tear_down(trace.environment)
    return EpisodeResult(
        outcome=end.outcome,
        reason=one_line(end.reason),
        raw_reward=end.raw_reward,
        violations=violations,
        answer=trace.answer,
        recording=recording,
        goal=trace.goal.text,
        page_load_ms=trace.page_load_ms,
        url=trace.url,
        steps=tuple(trace.steps),
        duration_ms=duration_ms,
        unfinished_calls=asking.spent(agent) if trace.thinking else trace.unfinished_calls,
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


async def _play(episode: _Episode, trace: _Trace) -> _End:
    try:
        benchmark = episode.benchmark or benchmark_of(episode.task.benchmark)
        environment = benchmark.environment(episode.task, episode.seed)
        trace.environment, trace.url = environment, environment.url
        if episode.recorder is not None:
            await _recorded(episode.recorder.start(episode.context))
        page, reader = await _open(episode.context, environment, trace)
        trace.started = True
        return await _steps(page, reader, environment, episode, trace)
    except (UnknownBenchmarkError, BenchmarkMissingError, PageHungError) as error:
        return _End(Outcome.ENVIRONMENT_ERROR, str(error))
    except PlaywrightError as error:
        return _End(Outcome.ENVIRONMENT_ERROR, f"browser: {error.message}")
    # Whatever a benchmark's own code does: what was spent and seen until then is kept.
    except Exception as error:
        log.exception("an episode of %s failed", episode.task.name)
        return _End(Outcome.ENVIRONMENT_ERROR, f"{type(error).__name__}: {error}")


async def _open(
    context: BrowserContext, environment: Environment, trace: _Trace
) -> tuple[Page, PageReader]:
    await _fence(context, environment)
    key = await observing.prepare(context)
    context.on("dialog", _answer_dialog)
    page = await within(context.new_page())
    page.on("framenavigated", lambda frame: _note(trace, frame))
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


def _note(trace: _Trace, frame: Frame) -> None:
    if frame.parent_frame is None:
        trace.visit(frame.url)


async def _fence(context: BrowserContext, environment: Environment) -> None:
    # The pattern is matched on Playwright's side: a request to an allowed origin costs no
    # round trip to Python.
    start = urlsplit(environment.url)
    origins = (f"{start.scheme}://{start.netloc}", *environment.origins)
    allowed = "|".join(re.escape(f"{origin}/") for origin in origins)
    await within(context.route(re.compile(f"^(?!{allowed}|data:|blob:|about:)"), _refuse))


# What these answer may be gone by the time they do: a page that closes, a context that ends.


async def _refuse(route: Route) -> None:
    with suppress(PlaywrightError):
        await route.abort("blockedbyclient")


async def _answer_dialog(dialog: Dialog) -> None:
    with suppress(PlaywrightError):
        # "Leave this page?" is asked of somebody who has just said so.
        await (dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())


async def _close(popup: Page) -> None:
    with suppress(PlaywrightError):
        await popup.close()


async def _steps(
    page: Page, reader: PageReader, environment: Environment, episode: _Episode, trace: _Trace
) -> _End:
    agent, task = episode.agent, episode.task
    error = await asking.reset(agent, task, episode.seed)
    if error is not None:
        return _End(Outcome.AGENT_ERROR, error)
    nonsense = 0
    last_error: str | None = None
    for index in range(task.max_steps):
        began = time.monotonic()
        observation = await reader.observe(trace.goal, index, last_error)
        seen = time.monotonic()
        picturing = asyncio.create_task(_picture(episode.recorder, page, index))
        trace.thinking = True
        try:
            answer = await asking.ask(agent, observation)
            trace.thinking, trace.unfinished_calls = False, answer.calls
            thought = time.monotonic()
            picture = await picturing
        finally:
            picturing.cancel()
        pictured = time.monotonic()
        last_error, makes_sense = answer.error, answer.error is None
        if answer.action is not None:
            try:
                acting.check(task, answer.action)
                await acting.perform(page, reader, answer.action)
            except acting.ActionError as refused:
                last_error = one_line(str(refused))
                makes_sense = not isinstance(refused, acting.SenselessActionError)
            else:
                if isinstance(answer.action, Answer):
                    trace.answer = answer.action.text
        trace.steps.append(
            Step(
                index=index,
                action=answer.action,
                error=last_error,
                reasoning=answer.reasoning,
                observe_ms=_ms(seen - began),
                think_ms=_ms(thought - seen),
                act_ms=_ms_since(pictured),
                dom_nodes=observation.dom_nodes,
                calls=answer.calls,
                url=observation.url,
                observation_sha256=digest(observation),
                screenshot=picture,
            )
        )
        trace.unfinished_calls = ()
        if answer.fatal is not None:
            return _End(answer.fatal, answer.error or "the agent gave up")
        if isinstance(answer.action, ReportInfeasible) and last_error is None:
            reason = f"the agent reported the task infeasible: {answer.action.reason}"
            return _End(Outcome.FAILURE, reason)
        verdict = await within(environment.validate(page, trace.so_far()))
        if verdict.done:
            outcome = Outcome.SUCCESS if verdict.success else Outcome.FAILURE
            return _End(outcome, verdict.reason, verdict.raw_reward)
        calls = tuple(call for step in trace.steps for call in step.calls)
        if episode.over_budget is not None and episode.over_budget(calls):
            return _End(Outcome.BUDGET_EXCEEDED, f"over budget after {len(trace.steps)} steps")
        nonsense = 0 if makes_sense else nonsense + 1
        if nonsense >= NONSENSE_LIMIT:
            reason = f"{nonsense} answers in a row made no sense, the last: {last_error}"
            return _End(Outcome.AGENT_ERROR, reason)
    return _End(Outcome.FAILURE, f"not done after {task.max_steps} steps")


async def _picture(recorder: Recorder | None, page: Page, index: int) -> str | None:
    return None if recorder is None else await _recorded(recorder.picture(page, index))


async def _finish_recording(episode: _Episode, outcome: Outcome) -> str | None:
    if episode.recorder is None:
        return None
    return await _recorded(episode.recorder.finish(episode.context, outcome))


async def _recorded(storing: Awaitable[T]) -> T | None:
    try:
        return await within(storing, _STORING_SECONDS)
    # A picture is worth less than the episode that it shows.
    except Exception as error:  # noqa: BLE001
        log.warning("not recorded: %s", one_line(f"{type(error).__name__}: {error}"))
        return None


async def _tear_down(environment: Environment | None) -> tuple[str, ...] | None:
    if environment is None:
        return None
    violations = None
    try:
        violations = environment.violations()
    except Exception:
        log.exception("an environment could not say what was violated")
    try:
        await within(environment.teardown(), _STORING_SECONDS)
    except Exception:
        log.exception("an environment was not torn down")
    return violations


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ms_since(began: float) -> int:
    return _ms(time.monotonic() - began)
