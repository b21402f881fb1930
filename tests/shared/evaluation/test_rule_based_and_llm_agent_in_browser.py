"""Both agents on real pages in a real browser."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from shared.evaluation.agents import make_agent
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import Tag, catalogue
from shared.evaluation.protocol import EpisodeResult, Outcome
from workers.browser import BrowserRuntime

DOCUMENT = Path(__file__).parents[3] / "docs" / "miniwob.md"
STAND_IN = {"base_url": "stand-in", "model": "stand-in"}


def play(
    browser: BrowserRuntime, kind: str, parameters: dict[str, object], task: str, seed: int
) -> EpisodeResult:
    async def episode(context: BrowserContext) -> EpisodeResult:
        return await run_episode(
            context,
            make_agent(kind, parameters),
            catalogue()[task],
            seed,
            deadline_seconds=60,
            cancelled=lambda: False,
        )

    return browser.run(episode, timeout=90)


def documented_as_always_solved() -> list[str]:
    """Tasks whose row says that every seed was solved, but those where luck or speed decides."""
    row = re.compile(r"^\| (\S+) \| \w+ \| \w+ \| ([1-9]\d*)/\2 \|", re.MULTILINE)
    decided = {Tag.CHANCE, Tag.TIMING}
    return [
        task
        for task, _ in row.findall(DOCUMENT.read_text("utf-8"))
        if decided.isdisjoint(catalogue()[task].tags)
    ]


def test_the_documentation_names_enough_tasks_that_the_rule_based_agent_solves() -> None:
    assert len(documented_as_always_solved()) >= 45


@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param(documented_as_always_solved()[::10], id="every tenth task"),
        pytest.param(documented_as_always_solved(), id="all tasks", marks=pytest.mark.proof),
    ],
)
def test_the_rule_based_agent_solves_what_the_documentation_says(
    browser: BrowserRuntime, tasks: list[str]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda task: play(browser, "rule-based", {}, task, 0), tasks))

    assert [
        (task, result.outcome, result.reason)
        for task, result in zip(tasks, results, strict=True)
        if result.outcome != Outcome.SUCCESS
    ] == []


def test_a_wrong_answer_keeps_the_reward_that_the_page_gave_for_it(browser: BrowserRuntime) -> None:
    result = play(browser, "rule-based", {}, "circle-center", 0)

    assert result.outcome == Outcome.FAILURE
    assert result.raw_reward is not None
    assert 0 < result.raw_reward < 1


@pytest.mark.parametrize("task", ["click-test", "login-user", "click-tab-2"])
def test_the_llm_agent_solves_the_task_over_http(browser: BrowserRuntime, task: str) -> None:
    result = play(browser, "llm", STAND_IN, task, 1)
    calls = [call for step in result.steps for call in step.calls]
    assert result.outcome == Outcome.SUCCESS, result.reason
    assert len(calls) >= len(result.steps)
    assert {(call.provider, call.llm_model) for call in calls} == {("stand-in", "stand-in")}
    assert all(call.input_tokens and call.output_tokens for call in calls)
    assert all(call.query_length > 0 for call in calls)


def test_an_endpoint_that_is_gone_ends_the_episode_with_its_reason(browser: BrowserRuntime) -> None:
    parameters = {
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
        "api_key_env": None,
        "max_retries": 0,
    }
    result = play(browser, "llm", parameters, "click-test", 1)
    assert result.outcome == Outcome.ENVIRONMENT_ERROR
    assert "cannot reach http://127.0.0.1:9/v1" in result.reason
