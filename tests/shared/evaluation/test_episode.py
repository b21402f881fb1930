"""Every way an episode can end, in a real Chromium."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from shared.evaluation.benchmark import Goal, SoFar, Verdict
from shared.evaluation.episode import NONSENSE_LIMIT, OverBudget, run_episode
from shared.evaluation.miniwob.benchmark import MiniWob
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.miniwob.server import PageServer
from shared.evaluation.protocol import (
    WEB_ACTIONS,
    AgentError,
    Answer,
    Click,
    Decision,
    Fill,
    LlmCall,
    Outcome,
    Part,
    ReportInfeasible,
    Task,
    Wait,
)
from workers.browser import BrowserRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.async_api import BrowserContext, Page

    from shared.evaluation.benchmark import Benchmark
    from shared.evaluation.protocol import EpisodeResult, Observation
    from shared.evaluation.recording import Recorder


CALL = LlmCall(
    provider="stand-in",
    llm_model="m",
    latency_ms=3,
    input_tokens=1,
    cached_input_tokens=None,
    output_tokens=None,
    query_length=2,
)


class Scripted:
    """An agent that asks a function."""

    parts: frozenset[Part] = frozenset()

    def __init__(self, decide: Callable[[Observation], object]) -> None:
        self._decide = decide
        self.closed = False
        self.observations: list[Observation] = []

    async def reset(self, task: Task, seed: int) -> None:
        pass

    async def act(self, observation: Observation) -> Decision:
        self.observations.append(observation)
        decided = self._decide(observation)
        return decided  # type: ignore[return-value]

    async def close(self) -> None:
        self.closed = True


def play(
    browser: BrowserRuntime,
    decide: Callable[[Observation], object] | Scripted,
    task: Task | str = "click-test-2",
    seed: int = 1,
    *,
    deadline: float = 20.0,
    cancelled: Callable[[], bool] = lambda: False,
    pages: str | None = None,
    benchmark: Benchmark | None = None,
    recorder: Recorder | None = None,
    over_budget: OverBudget | None = None,
) -> EpisodeResult:
    agent = decide if isinstance(decide, Scripted) else Scripted(decide)
    result = browser.run(
        lambda context: run_episode(
            context,
            agent,
            catalogue()[task] if isinstance(task, str) else task,
            seed,
            deadline_seconds=deadline,
            cancelled=cancelled,
            benchmark=MiniWob(pages) if pages else benchmark,
            recorder=recorder,
            over_budget=over_budget,
        ),
        timeout=deadline + 20,
    )
    assert agent.closed
    return result


def click(text: str) -> Callable[[Observation], Decision]:
    def decide(seen: Observation) -> Decision:
        return Decision(
            Click(element=next(e.id for e in seen.elements if e.text == text and e.interactive)),
            reasoning="it says so",
        )

    return decide


def type_and_submit(seen: Observation) -> Decision:
    field = next(e for e in seen.elements if e.tag == "input")
    wanted = seen.goal.split('"')[1]
    if field.value != wanted:
        return Decision(Fill(element=field.id, text=wanted))
    return click("Submit")(seen)


def wait(seen: Observation) -> Decision:
    return Decision(Wait(milliseconds=100))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[[str], tuple[Task, str]]]:
    """Serves a page with the given script, made like the benchmark's own."""
    folder = tmp_path / "miniwob"
    folder.mkdir()
    server = PageServer(tmp_path)

    def make(script: str) -> tuple[Task, str]:
        (folder / "made.html").write_text(
            """<!doctype html><body><div id=query>Do it.</div><button id=go>Go</button><script>
            Math.seedrandom = () => {};
            var WOB_TASK_READY = true, WOB_DONE_GLOBAL = false, WOB_RAW_REWARD_GLOBAL = 0,
                WOB_REWARD_REASON = null;
            var core = { ept0: null, startEpisodeReal: () => { core.ept0 = 1; },
                getUtterance: () => "Do it." };
            function end(reward) { WOB_DONE_GLOBAL = true; WOB_RAW_REWARD_GLOBAL = reward; }
            const go = document.getElementById("go");"""
            + script
            + "</script>"
        )
        task = Task(
            benchmark="miniwob",
            name="made",
            category="click",
            difficulty="easy",
            max_steps=5,
            timeout_seconds=10,
        )
        return task, server.url

    yield make
    server.close()


def test_the_right_click_succeeds_and_every_step_is_recorded(browser: BrowserRuntime) -> None:
    result = play(browser, click("ONE"))

    assert (result.outcome, result.raw_reward) == (Outcome.SUCCESS, 1.0)
    assert result.goal == "Click button ONE."
    assert result.page_load_ms is not None
    assert "/miniwob/click-test-2.html" in result.url
    (step,) = result.steps
    assert isinstance(step.action, Click)
    assert (step.index, step.error, step.reasoning) == (0, None, "it says so")
    assert step.dom_nodes > 10
    assert result.duration_ms >= step.observe_ms + step.think_ms + step.act_ms


def test_the_wrong_click_fails(browser: BrowserRuntime) -> None:
    result = play(browser, click("TWO"))

    assert result.outcome is Outcome.FAILURE
    assert result.raw_reward is not None
    assert result.raw_reward < 1


def test_a_text_is_typed_and_submitted(browser: BrowserRuntime) -> None:
    result = play(browser, type_and_submit, "enter-text")

    assert (result.outcome, len(result.steps)) == (Outcome.SUCCESS, 2)


def test_the_same_seed_gives_the_same_goal_and_others_differ(browser: BrowserRuntime) -> None:
    goals = [play(browser, type_and_submit, "enter-text", seed).goal for seed in (5, 5, 6)]

    assert goals[0] == goals[1] != goals[2]


def test_a_partial_reward_is_no_success(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    task, pages = page("go.onclick = () => end(0.8)")

    result = play(browser, click("Go"), task, pages=pages)

    assert (result.outcome, result.raw_reward) == (Outcome.FAILURE, 0.8)


def test_not_being_done_after_the_last_step_fails(browser: BrowserRuntime) -> None:
    result = play(browser, lambda seen: Decision(Wait(milliseconds=0)))

    assert result.outcome is Outcome.FAILURE
    assert result.raw_reward is None
    assert len(result.steps) == catalogue()["click-test-2"].max_steps


def test_reporting_a_task_infeasible_fails_with_the_agents_reason(browser: BrowserRuntime) -> None:
    result = play(browser, lambda seen: Decision(ReportInfeasible(reason="no such button")))

    assert result.outcome is Outcome.FAILURE
    assert "no such button" in result.reason


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        ("click the button", "answered a str"),
        (Decision("click"), "malformed"),  # type: ignore[arg-type]
        (Decision(None), "names no action"),  # type: ignore[arg-type]
        (Decision(Click(element=4711)), "no element 4711"),
    ],
)
def test_nonsense_in_a_row_is_the_agents_error(
    browser: BrowserRuntime, nonsense: object, reason: str
) -> None:
    agent = Scripted(lambda seen: nonsense)

    result = play(browser, agent)

    assert result.outcome is Outcome.AGENT_ERROR
    assert reason in result.reason
    assert len(result.steps) == NONSENSE_LIMIT
    assert reason in (agent.observations[1].last_error or "")


def test_nonsense_now_and_then_is_forgiven(browser: BrowserRuntime) -> None:
    def mixed(seen: Observation) -> object:
        return "hm" if seen.step in {0, 1} else click("ONE")(seen)

    assert play(browser, mixed).outcome is Outcome.SUCCESS


def test_an_agent_that_gives_up_keeps_its_calls(browser: BrowserRuntime) -> None:
    def give_up(seen: Observation) -> Decision:
        raise AgentError("the endpoint answered 500", (CALL,))

    result = play(browser, give_up)

    assert (result.outcome, result.reason) == (Outcome.AGENT_ERROR, "the endpoint answered 500")
    assert result.steps[0].calls == (CALL,)


def test_an_agent_that_breaks_is_the_agents_error_in_one_line(browser: BrowserRuntime) -> None:
    def break_down(seen: Observation) -> Decision:
        raise ZeroDivisionError("by\nzero")

    result = play(browser, break_down)

    assert result.outcome is Outcome.AGENT_ERROR
    assert result.reason == "the agent raised ZeroDivisionError: by zero"


def test_a_page_that_never_loads_is_the_environments_error_in_time(
    browser: BrowserRuntime,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = play(
            browser, wait, deadline=1.5, pages=f"http://127.0.0.1:{silent.getsockname()[1]}"
        )

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert result.reason == "the page did not load within its deadline of 1.5 s"
    assert result.page_load_ms is None


def test_a_refused_connection_and_a_missing_page_are_the_environments_errors(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    refused = play(browser, wait, pages=f"http://127.0.0.1:{port}")
    _, pages = page("")
    missing = play(browser, wait, pages=pages)

    assert refused.outcome is missing.outcome is Outcome.ENVIRONMENT_ERROR
    assert "the server cannot be reached" in refused.reason
    assert "answered 404" in missing.reason


def test_an_agent_that_never_ends_runs_into_the_deadline(browser: BrowserRuntime) -> None:
    interrupted = threading.Event()

    class Endless(Scripted):
        async def act(self, observation: Observation) -> Decision:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                interrupted.set()
                raise
            return wait(observation)

    result = play(browser, Endless(wait), deadline=1.5)

    assert (result.outcome, result.reason) == (
        Outcome.TIMEOUT,
        "not done within its deadline of 1.5 s",
    )
    assert result.goal
    assert interrupted.is_set()


def test_a_page_that_hangs_ends_in_time_and_the_next_episode_runs(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    task, pages = page("go.onclick = () => { for (;;); }")

    # The browser pool gives up on work that does not end; the episode has to end before that.
    result = play(browser, click("Go"), task, deadline=2, pages=pages)

    assert result.outcome is Outcome.TIMEOUT
    assert play(browser, click("ONE")).outcome is Outcome.SUCCESS


def test_dialogs_are_dismissed_and_popups_closed(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    task, pages = page(
        """alert("at load");
        go.onclick = () => { open("about:blank"); alert("x"); end(confirm("?") ? 0 : 1); }"""
    )

    assert play(browser, click("Go"), task, pages=pages).outcome is Outcome.SUCCESS


def test_requests_to_anywhere_else_are_refused(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)
        task, pages = page(
            f"""go.onclick = () => fetch("http://127.0.0.1:{elsewhere.getsockname()[1]}/",
            {{mode: "no-cors"}}).then(() => end(0), () => end(1))"""
        )

        result = play(browser, click("Go"), task, pages=pages)

        assert result.outcome is Outcome.SUCCESS
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_leaving_the_page_loses_the_task(
    browser: BrowserRuntime, page: Callable[[str], tuple[Task, str]]
) -> None:
    task, pages = page("go.onclick = () => location.reload()")

    result = play(browser, click("Go"), task, pages=pages)

    assert (result.outcome, result.raw_reward) == (Outcome.FAILURE, None)
    assert "reloaded" in result.reason


def test_cancelling_does_not_wait_for_the_action_under_way(browser: BrowserRuntime) -> None:
    acting = threading.Event()
    answers: list[bool] = []

    def decide(seen: Observation) -> Decision:
        acting.set()
        return Decision(Wait(milliseconds=10_000))

    def cancelled() -> bool:
        answers.append(acting.is_set())
        return answers[-1]

    result = play(browser, decide, cancelled=cancelled)

    assert result.outcome is Outcome.CANCELLED
    assert result.steps == (), "the action was waited for"
    assert answers.count(True) == 1, "the first word of it was not taken"


def test_an_unknown_benchmark_is_named(browser: BrowserRuntime) -> None:
    task = catalogue()["click-test"].model_copy(update={"benchmark": "none"})

    result = play(browser, wait, task)

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert "no benchmark 'none'" in result.reason


class Site:
    """One page of HTML by path, served for a benchmark of its own."""

    origins: tuple[str, ...] = ()
    unseen = ""

    def __init__(self, server: PageServer, judge: Callable[[SoFar], bool]) -> None:
        self.url = f"{server.url}/start.html"
        self.served = (server.url,)
        self._judge = judge
        self.torn_down = 0

    def catalogue(self) -> dict[str, Task]:
        return {"site": SITE}

    def environment(self, task: Task, seed: int) -> Site:
        return self

    async def setup(self, page: Page) -> Goal:
        return Goal("Do it.", {})

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        done = self._judge(so_far)
        return Verdict(done, done, 1.0 if done else None, "as judged" if done else "")

    def violations(self, so_far: SoFar) -> tuple[str, ...] | None:
        return ("it did",)

    async def teardown(self) -> None:
        self.torn_down += 1


SITE = Task(
    benchmark="site",
    name="site",
    category="web",
    difficulty="easy",
    max_steps=5,
    timeout_seconds=10,
    actions=WEB_ACTIONS,
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves pages given by name, and judges by a function of what is so far."""
    server = PageServer(tmp_path)

    def make(judge: Callable[[SoFar], bool] = lambda so_far: False, **pages: str) -> Site:
        for name, body in {"start": "<p>start", **pages}.items():
            (tmp_path / f"{name}.html").write_text(f"<!doctype html><title>{name}</title>{body}")
        return Site(server, judge)

    yield make
    server.close()


def test_an_answer_is_kept_and_judged(browser: BrowserRuntime, site: Callable[..., Site]) -> None:
    asked = site(lambda so_far: so_far.answer == "42")

    def decide(seen: Observation) -> Decision:
        return Decision(Answer(text="42" if seen.step else "41"))

    result = play(browser, decide, SITE, benchmark=asked)

    assert (result.outcome, result.answer, len(result.steps)) == (Outcome.SUCCESS, "42", 2)
    assert result.violations == ("it did",)
    assert asked.torn_down == 1


def test_an_action_that_the_task_does_not_allow_makes_no_sense(
    browser: BrowserRuntime, site: Callable[..., Site]
) -> None:
    task = SITE.model_copy(update={"actions": ("click", "wait")})
    asked = site(lambda so_far: so_far.answer is not None)

    result = play(browser, lambda seen: Decision(Answer(text="x")), task, benchmark=asked)

    assert (result.outcome, result.answer) == (Outcome.AGENT_ERROR, None)
    assert result.steps[0].error == "answer is not possible in this task; possible: click, wait"


def test_steps_say_where_they_were_and_what_was_shown(
    browser: BrowserRuntime, site: Callable[..., Site]
) -> None:
    asked = site(
        lambda so_far: [url.rpartition("/")[2] for url in so_far.visited][-1:] == ["there.html"],
        start="<a href=there.html>There</a>",
        there="<p>there",
    )

    def decide(seen: Observation) -> Decision:
        return click("There")(seen) if seen.step else wait(seen)

    result = play(browser, decide, SITE, benchmark=asked)
    again = play(browser, decide, SITE, benchmark=asked)

    assert result.outcome is Outcome.SUCCESS
    assert [step.url for step in result.steps] == [asked.url, asked.url]
    digests = [step.observation_sha256 for step in result.steps]
    assert len(set(digests)) == 2, "the step is part of what is shown"
    assert digests == [step.observation_sha256 for step in again.steps]


def test_over_budget_ends_the_episode_with_all_its_calls_asked(
    browser: BrowserRuntime,
) -> None:
    asked: list[int] = []

    async def over_budget(calls: tuple[LlmCall, ...]) -> str | None:
        asked.append(len(calls))
        return "the budget of two calls is spent" if len(calls) > 2 else None

    result = play(
        browser,
        lambda seen: Decision(Wait(milliseconds=0), (CALL, CALL)),
        over_budget=over_budget,
    )

    assert (result.outcome, result.raw_reward) == (Outcome.BUDGET_EXCEEDED, None)
    assert result.reason == "over budget after 2 steps: the budget of two calls is spent"
    assert asked == [2, 4]


class Notebook:
    """Notes what it was asked; raises where it is told to."""

    def __init__(self, failing: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.wants_pictures = True
        self._failing = failing

    def _note(self, what: str) -> str:
        self.asked.append(what)
        if what.split()[0] in self._failing:
            raise OSError("the disk is full")
        return f"digest of {what}"

    async def start(self, context: BrowserContext) -> None:
        assert all(page.url == "about:blank" for page in context.pages)
        self._note("start")

    async def picture(self, jpeg: bytes) -> str | None:
        assert jpeg.startswith(b"\xff\xd8")
        return self._note("picture")

    async def finish(self, context: BrowserContext, outcome: Outcome) -> str | None:
        return self._note(f"finish {outcome.value}")


def test_a_recorder_is_asked_for_every_step_and_at_the_end(browser: BrowserRuntime) -> None:
    notes = Notebook()

    result = play(browser, type_and_submit, "enter-text", recorder=notes)

    assert notes.asked == ["start", "picture", "picture", "finish success"]
    assert [step.screenshot for step in result.steps] == ["digest of picture"] * 2
    assert result.recording == "digest of finish success"


def test_what_fails_around_an_episode_does_not_take_its_result(
    browser: BrowserRuntime, site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Site):
        def violations(self, so_far: SoFar) -> tuple[str, ...] | None:
            raise LookupError("no state")

        async def teardown(self) -> None:
            raise OSError("gone")

    asked = site(lambda so_far: so_far.answer is not None)
    asked.__class__ = Broken
    notes = Notebook(failing=("start", "picture", "finish"))

    result = play(
        browser, lambda seen: Decision(Answer(text="x")), SITE, benchmark=asked, recorder=notes
    )

    assert result.outcome is Outcome.SUCCESS
    assert (result.violations, result.recording, result.steps[0].screenshot) == (None, None, None)
    assert len(notes.asked) == 3
    assert "the disk is full" in caplog.text


def test_an_environment_that_breaks_is_the_environments_error(
    browser: BrowserRuntime, site: Callable[..., Site]
) -> None:
    def broken(so_far: SoFar) -> bool:
        raise ZeroDivisionError("the scorer")

    result = play(browser, wait, SITE, benchmark=site(broken))

    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert result.reason == "ZeroDivisionError: the scorer"
    assert len(result.steps) == 1
