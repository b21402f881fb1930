"""Both agents on real pages in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext

from shared.evaluation.agents import make_agent
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.protocol import EpisodeResult, Outcome
from workers.browser import BrowserRuntime

SEEDS = (1, 2)
STAND_IN = {"base_url": "stand-in", "model": "stand-in"}


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserRuntime]:
    runtime = BrowserRuntime(contexts=2)
    yield runtime
    runtime.close()


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


@pytest.mark.parametrize("task", list(catalogue()))
def test_the_rule_based_agent_solves_the_task_with_every_seed(
    browser: BrowserRuntime, task: str
) -> None:
    results = [play(browser, "rule-based", {}, task, seed) for seed in SEEDS]
    assert [(r.outcome, r.reason) for r in results if r.outcome != Outcome.SUCCESS] == []


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
