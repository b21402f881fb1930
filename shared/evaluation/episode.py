"""One episode: an agent on one task's page, from a fresh load to a classified end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from playwright.async_api import Error as PlaywrightError

from shared.evaluation import acting, asking, observing
from shared.evaluation.asking import one_line
from shared.evaluation.benchmark import BenchmarkMissingError, Goal, Judging, JudgingError, SoFar
from shared.evaluation.benchmarks import UnknownBenchmarkError
from shared.evaluation.benchmarks import benchmark as benchmark_of
from shared.evaluation.egress.exchange import said as by_proxy
from shared.evaluation.egress.fence import allow, allow_own, around
from shared.evaluation.egress.origins import OriginError
from shared.evaluation.looks import looks_of
from shared.evaluation.observing import PageHungError, digest, within
from shared.evaluation.protocol import (
    Answer,
    EpisodeResult,
    LlmCall,
    Outcome,
    ReportInfeasible,
    Step,
)
from shared.evaluation.tabs import Grounds, Tabs

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Page, Route

    from shared.evaluation.benchmark import Benchmark, Environment, Verdict
    from shared.evaluation.egress.policy import Policy
    from shared.evaluation.observing import PageReader
    from shared.evaluation.protocol import Agent, Judgement, Observation, Task
    from shared.evaluation.recording import Recorder

log = logging.getLogger(__name__)

T = TypeVar("T")

NONSENSE_LIMIT: Final = 3
"So many answers in a row that make no sense end an episode."

_CANCEL_POLL_SECONDS: Final = 0.25
_FAREWELL_SECONDS: Final = 2.0
_STORING_SECONDS: Final = 10.0
ENDING_SECONDS: Final = (
    _CANCEL_POLL_SECONDS + 2 * _FAREWELL_SECONDS + asking.FAREWELL_SECONDS + 2 * _STORING_SECONDS
)
"The longest from the deadline to the result: the judge, the flow, the agent, the recording and"
"the environment end, one after the other."
_ADDRESSES_LIMIT: Final = 1_000
_ADDRESS_CHARACTERS: Final = 2_000
_DIALOGS_LIMIT: Final = 3
_DIALOG_CHARACTERS: Final = 200


class _End(NamedTuple):
    outcome: Outcome
    reason: str
    raw_reward: float | None = None
    permanent: bool = False


@dataclass
class _Trace:
    """What is known of an episode so far, whenever it is ended."""

    environment: Environment | None = None
    url: str = ""
    answer: str | None = None
    shown: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    "What the page asked in dialogs of the browser since the last step, all of them dismissed."
    policy: Policy | None = None
    goal: Goal = field(default_factory=lambda: Goal("", {}))
    page_load_ms: int | None = None
    steps: list[Step] = field(default_factory=list)
    started: bool = False
    end: str | None = None
    "Why the episode cannot go on, where something outside its own flow has said so."
    thinking: bool = False
    judged_until: float = 0.0
    "While a judge is asked, when it must have answered: the agent's deadline waits for that."
    unfinished_calls: tuple[LlmCall, ...] = ()
    "Those of the answer that is being acted on."

    def so_far(self) -> SoFar:
        self.note_refusals()
        return SoFar(self.answer, tuple(self.shown), tuple(self.outside), tuple(self.said))

    def visited(self, url: str) -> None:
        url = url[:_ADDRESS_CHARACTERS]
        if self.shown[-1:] != [url] and len(self.shown) < _ADDRESSES_LIMIT:
            self.shown.append(url)

    def refused(self, url: str) -> None:
        if len(self.outside) < _ADDRESSES_LIMIT:
            self.outside.append(url[:_ADDRESS_CHARACTERS])

    def note_refusals(self) -> None:
        """Take over what only the proxy has seen: redirects, WebSockets, names that lead inside."""
        for refusal in () if self.policy is None else self.policy.refused:
            if refusal.url not in self.outside:
                self.refused(refusal.url)

    async def answer_dialog(self, dialog: Dialog) -> None:
        leaves = dialog.type == "beforeunload"
        if not leaves and len(self.dialogs) < _DIALOGS_LIMIT:
            self.dialogs.append(f"{dialog.type} {dialog.message[:_DIALOG_CHARACTERS]!r}")
        with suppress(PlaywrightError):
            # "Leave this page?" is asked of somebody who has just said so.
            await (dialog.accept() if leaves else dialog.dismiss())

    def told(self, error: str | None, outside_before: int) -> str | None:
        """What the agent is to know of its action besides its `error`, if there was none."""
        self.note_refusals()
        dialogs, self.dialogs = self.dialogs, []
        if error is None and (refused := self.outside[outside_before:]):
            return one_line(f"no part of this task and not loaded: {', '.join(refused)}")
        if error is None and dialogs:
            return one_line(f"the page showed and the browser dismissed: {', '.join(dialogs)}")
        return error

    def broken(self, reason: str) -> None:
        self.end = self.end or reason


OverBudget = Callable[[tuple[LlmCall, ...]], Awaitable[str | None]]
"Given all model calls so far: which budget is spent, in one line; None while none is."


@dataclass(frozen=True)
class _Episode:
    """What an episode is run with."""

    context: BrowserContext
    agent: Agent
    task: Task
    seed: int
    benchmark: Benchmark | None
    recorder: Recorder | None
    over_budget: OverBudget | None


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
    over_budget: OverBudget | None = None,
) -> EpisodeResult:
    """Run `agent` on `task` in `context` and say how it ended.

    Never raises for what agent, page, browser, environment or recorder do: that is the result's
    outcome with its reason in one line. A page that is not loaded within `deadline_seconds` is an
    environment error; a loaded one that is not done by then is a timeout. `cancelled` is asked
    four times a second and must not block. `over_budget` is asked after every step that did not
    end the episode, with all its model calls so far; it says which budget is spent, if one is.
    `benchmark` is looked up by
    `task.benchmark` when not given.
    """
    began = time.monotonic()
    trace = _Trace()
    episode = _Episode(context, agent, task, seed, benchmark, recorder, over_budget)
    playing = asyncio.create_task(_play(episode, trace))
    end = _End(Outcome.CANCELLED, "broken off")
    try:
        deadline = began + deadline_seconds
        end = await _watch(playing, agent, trace, deadline, deadline_seconds, cancelled)
    finally:
        # Also when this very call is cancelled: nothing of an episode outlives it.
        playing.cancel()
        await asyncio.wait({playing}, timeout=_FAREWELL_SECONDS)
        duration_ms = _ms_since(began)
        await asking.say_goodbye(agent)
        recording = await _finish_recording(episode, end.outcome)
        violations = await _tear_down(trace)
        judgements = _judgements(trace.environment)
    return EpisodeResult(
        outcome=end.outcome,
        reason=one_line(end.reason),
        permanent=end.permanent,
        raw_reward=end.raw_reward,
        violations=violations,
        judgements=judgements,
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
    agent: Agent,
    trace: _Trace,
    deadline: float,
    deadline_seconds: float,
    cancelled: Callable[[], bool],
) -> _End:
    while True:
        left = max(deadline, trace.judged_until) - time.monotonic()
        await asyncio.wait({playing}, timeout=max(0.0, min(left, _CANCEL_POLL_SECONDS)))
        if playing.done():
            return playing.result()
        if trace.end is not None:
            return _End(Outcome.ENVIRONMENT_ERROR, trace.end)
        if cancelled():
            return _End(Outcome.CANCELLED, "cancelled")
        if time.monotonic() >= max(deadline, trace.judged_until):
            limit = f"its deadline of {deadline_seconds:g} s"
            fault = asking.endpoint_at_fault(agent) if trace.thinking else None
            if fault is not None:
                return _End(Outcome.ENVIRONMENT_ERROR, fault)
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
        tabs = await _open(episode, environment, trace)
        trace.started = True
        return await _steps(tabs, environment, episode, trace)
    except (UnknownBenchmarkError, BenchmarkMissingError, PageHungError, OriginError) as error:
        return _End(Outcome.ENVIRONMENT_ERROR, str(error))
    except JudgingError as error:
        return _End(Outcome.ENVIRONMENT_ERROR, str(error), permanent=error.permanent)
    except PlaywrightError as error:
        return _End(Outcome.ENVIRONMENT_ERROR, f"browser: {error.message}")
    # Whatever a benchmark's own code does: what was spent and seen until then is kept.
    except Exception as error:
        log.exception("an episode of %s failed", episode.task.name)
        return _End(Outcome.ENVIRONMENT_ERROR, f"{type(error).__name__}: {error}")


async def _open(episode: _Episode, environment: Environment, trace: _Trace) -> Tabs:
    context = episode.context
    grounds = Grounds.of(environment.url, environment.origins)
    await _fence(context, grounds, environment.served, trace)
    tabs = Tabs(
        context,
        key=await observing.prepare(context),
        grounds=grounds,
        unseen=environment.unseen,
        keeps_windows="focus_tab" in episode.task.actions,
        witness=trace,
    )
    context.on("dialog", trace.answer_dialog)
    page = await tabs.start()
    began = time.monotonic()
    response = await page.goto(trace.url, wait_until="load", timeout=0)
    if response is not None and not response.ok:
        said = by_proxy(response.headers) or f"answered {response.status}"
        raise PlaywrightError(f"{trace.url}: {said}")
    trace.goal = await within(environment.setup(page))
    trace.page_load_ms = _ms_since(began)
    # A page that leads on to the next one is read once it has arrived there.
    await tabs.reader.settle(0)
    return tabs


async def _fence(
    context: BrowserContext, grounds: Grounds, served: tuple[str, ...], trace: _Trace
) -> None:
    async def refuse(route: Route) -> None:
        request = route.request
        # A page or a context may be gone by now.
        with suppress(PlaywrightError):
            if request.is_navigation_request() and request.frame.parent_frame is None:
                trace.refused(request.url)
            await route.abort("blockedbyclient")

    # What this misses, as redirects and WebSockets, comes to the proxy.
    allow(context, *map(str, grounds.origins))
    allow_own(context, *served)
    trace.policy = around(context).policy
    # The pattern is matched on Playwright's side: a request to an allowed origin costs no
    # round trip to Python.
    await within(context.route(grounds.outside, refuse))


async def _steps(tabs: Tabs, environment: Environment, episode: _Episode, trace: _Trace) -> _End:
    agent, task = episode.agent, episode.task
    not_taken = await asking.reset(agent, task, episode.seed)
    if not_taken is not None:
        trace.unfinished_calls = not_taken.calls
        return _give_up(not_taken)
    nonsense = 0
    last_error = trace.told(None, len(trace.outside))
    for index in range(task.max_steps):
        began = time.monotonic()
        observation = await tabs.observe(trace.goal, index, last_error, agent.parts)
        seen = time.monotonic()
        picturing = asyncio.create_task(_picture(episode.recorder, tabs.reader, observation))
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
        outside_before = len(trace.outside)
        if answer.action is not None:
            try:
                acting.check(task, answer.action)
                await acting.perform(tabs, answer.action)
            except acting.ActionError as wrong:
                last_error = one_line(str(wrong))
                makes_sense = not isinstance(wrong, acting.SenselessActionError)
            else:
                if isinstance(answer.action, Answer):
                    trace.answer = answer.action.text
                if isinstance(answer.action, ReportInfeasible):
                    trace.said.append(answer.action.reason)
        last_error = trace.told(last_error, outside_before)
        trace.steps.append(
            Step(
                index=index,
                action=answer.action,
                looks=looks_of(answer.action, observation),
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
            return _give_up(answer)
        if trace.said:
            reason = f"the agent reported the task infeasible: {trace.said[-1]}"
            return _End(Outcome.FAILURE, reason)
        verdict = await _validate(environment, tabs.page, trace)
        if verdict.done:
            outcome = Outcome.SUCCESS if verdict.success else Outcome.FAILURE
            return _End(outcome, verdict.reason, verdict.raw_reward)
        calls = tuple(call for step in trace.steps for call in step.calls)
        spent = None if episode.over_budget is None else await episode.over_budget(calls)
        if spent is not None:
            reason = f"over budget after {len(trace.steps)} steps: {spent}"
            return _End(Outcome.BUDGET_EXCEEDED, reason)
        nonsense = 0 if makes_sense else nonsense + 1
        if nonsense >= NONSENSE_LIMIT:
            reason = f"{nonsense} answers in a row made no sense, the last: {last_error}"
            return _End(Outcome.AGENT_ERROR, reason)
    return _End(Outcome.FAILURE, f"not done after {task.max_steps} steps")


def _give_up(answer: asking.Answer) -> _End:
    outcome = answer.fatal or Outcome.AGENT_ERROR
    return _End(outcome, answer.error or "the agent gave up", permanent=answer.permanent)


async def _picture(
    recorder: Recorder | None, reader: PageReader, observation: Observation
) -> str | None:
    """Keep what the agent was shown, or else a picture taken while it thinks."""
    if recorder is None or not recorder.wants_pictures:
        return None

    async def keep() -> str | None:
        return await recorder.picture(observation.screenshot or await reader.picture())

    return await _recorded(keep())


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


async def _tear_down(trace: _Trace) -> tuple[str, ...] | None:
    environment = trace.environment
    if environment is None:
        return None
    violations = None
    try:
        violations = environment.violations(trace.so_far())
    except Exception:
        log.exception("an environment could not say what was violated")
    try:
        await within(environment.teardown(), _STORING_SECONDS)
    except Exception:
        log.exception("an environment was not torn down")
    return violations


async def _validate(environment: Environment, page: Page, trace: _Trace) -> Verdict:
    so_far = trace.so_far()
    if not isinstance(environment, Judging):
        return await within(environment.validate(page, so_far))
    seconds = environment.seconds_for(so_far)
    trace.judged_until = time.monotonic() + seconds + _FAREWELL_SECONDS
    try:
        return await within(environment.validate(page, so_far), seconds)
    finally:
        trace.judged_until = 0.0


def _judgements(environment: Environment | None) -> tuple[Judgement, ...]:
    return environment.judgements() if isinstance(environment, Judging) else ()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ms_since(began: float) -> int:
    return _ms(time.monotonic() - began)
