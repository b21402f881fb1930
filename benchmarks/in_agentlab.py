"""Runs in AgentLab's environment: an agent that follows `oracle.py`, and its experiments.

`run_experiments` with Ray is what a study of AgentLab calls; everything is left as it is shipped,
but for the Chromium where one is named in `BENCHMARK_CHROMIUM`, and the count of an observation's
tokens, whose tokenizer would be fetched from the network. Ray's workers import this too.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import agentlab.experiments.loop
import bgym
import playwright.sync_api
from agentlab.agents.agent_args import AgentArgs
from agentlab.experiments.launch_exp import run_experiments
from agentlab.experiments.loop import EnvArgs, ExpArgs

from benchmarks.bids import action_of
from benchmarks.oracle import TASKS, moves

agentlab.experiments.loop.count_tokens = lambda text, *_: len(text) // 4

if chromium := os.environ.get("BENCHMARK_CHROMIUM"):
    _launch = playwright.sync_api.BrowserType.launch

    def _launch_this(self: Any, **options: Any) -> Any:
        return _launch(self, executable_path=chromium, **options)

    playwright.sync_api.BrowserType.launch = _launch_this  # type: ignore[method-assign]


class OracleAgent(bgym.Agent):
    """Does what the policy says, element by element from the accessibility tree."""

    action_set = bgym.HighLevelActionSet(["bid"])

    def __init__(self) -> None:
        self._task = ""
        self._done = 0
        self._nodes: list[dict[str, Any]] = []

    def set_task_name(self, name: str) -> None:
        """Called by AgentLab before the first action."""
        self._task = name.partition(".")[2]

    def obs_preprocessor(self, obs: dict[str, Any]) -> Any:
        self._nodes = obs["axtree_object"]["nodes"]
        return super().obs_preprocessor(obs)

    def get_action(self, obs: Any) -> tuple[str, dict[str, Any]]:
        planned = moves(self._task, obs["goal"])
        # A page that did not take the last move yet is given it again.
        move = planned[min(self._done, len(planned) - 1)]
        self._done += 1
        return action_of(move, self._nodes), {}


@dataclass
class OracleArgs(AgentArgs):
    agent_name: str = "oracle"

    def make_agent(self) -> OracleAgent:
        return OracleAgent()


def main(folder: str, episodes: int, jobs: int) -> None:
    """So many experiments below `folder`, so many at a time."""
    experiments = [
        ExpArgs(
            agent_args=OracleArgs(),
            env_args=EnvArgs(
                task_name=f"miniwob.{TASKS[number % len(TASKS)]}",
                task_seed=number // len(TASKS),
                max_steps=10,
            ),
        )
        for number in range(episodes)
    ]
    run_experiments(jobs, experiments, folder, parallel_backend="ray")


if __name__ == "__main__":
    # By its name, so that Ray's workers find the agent's class.
    from benchmarks import in_agentlab

    in_agentlab.main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
