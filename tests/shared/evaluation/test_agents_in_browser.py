"""Random, replay, external and tool-calling agents on real pages in a real browser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from shared.evaluation.agents import make_agent
from shared.evaluation.episode import run_episode
from shared.evaluation.miniwob.catalogue import catalogue
from shared.evaluation.protocol import EpisodeResult, Outcome
from workers.browser import BrowserRuntime

STAND_IN = {"base_url": "stand-in", "model": "stand-in"}
DOCUMENT = Path(__file__).parents[3] / "docs" / "agents.md"


def play(
    browser: BrowserRuntime, kind: str, parameters: dict[str, Any], task: str
) -> EpisodeResult:
    async def episode(context: BrowserContext) -> EpisodeResult:
        return await run_episode(
            context,
            make_agent(kind, parameters),
            catalogue()[task],
            1,
            deadline_seconds=60,
            cancelled=lambda: False,
        )

    return browser.run(episode, timeout=90)


def test_a_recorded_episode_comes_to_the_same_end_when_it_is_replayed(
    browser: BrowserRuntime,
) -> None:
    first = play(browser, "rule-based", {}, "login-user")
    assert first.outcome is Outcome.SUCCESS
    trace = [step.model_dump(mode="json", exclude={"calls"}) for step in first.steps]
    again = play(browser, "replay", {"actions": json.loads(json.dumps(trace))}, "login-user")
    assert (again.outcome, again.raw_reward) == (first.outcome, first.raw_reward)
    assert [step.action for step in again.steps] == [step.action for step in first.steps]
    elsewhere = play(browser, "replay", {"actions": trace}, "click-test")
    assert elsewhere.outcome is Outcome.AGENT_ERROR
    assert "this page has no such element" in elsewhere.reason


@pytest.mark.parametrize(
    "parameters",
    [{"mode": "tools"}, {"mode": "tools", "vision": "marks"}, {"vision": "screenshot"}],
)
def test_the_stand_in_is_asked_with_tools_and_pictures_for_real(
    browser: BrowserRuntime, parameters: dict[str, Any]
) -> None:
    result = play(browser, "llm", STAND_IN | parameters, "login-user")
    calls = [call for step in result.steps for call in step.calls]
    assert result.outcome is Outcome.SUCCESS, result.reason
    assert all(call.input_tokens and call.output_tokens for call in calls)


def test_the_random_agent_plays_to_an_end_that_is_its_own(browser: BrowserRuntime) -> None:
    one, other = (play(browser, "random", {}, "click-button") for _ in range(2))
    assert one.outcome in (Outcome.SUCCESS, Outcome.FAILURE)
    assert [step.action for step in one.steps] == [step.action for step in other.steps]


def test_the_example_of_the_documentation_solves_a_task(
    browser: BrowserRuntime, tmp_path: Path, with_environment: Callable[..., None]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "agent.py"
    path.write_text(program, "utf-8")
    with_environment(MLOPS_AGENT_COMMANDS=json.dumps({"mine": [sys.executable, str(path)]}))
    result = play(browser, "external", {"command": "mine"}, "click-button")
    assert result.outcome is Outcome.SUCCESS, result.reason
