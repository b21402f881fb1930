"""Runs in BrowserGym's environment: episodes one after the other, as fast as it can be tuned.

For each line, a number of episodes, it plays so many and answers with `ok`. Tuned means: no slow
motion, no waiting before an observation, no browser for the chat, the Chromium that is given as
the only argument. Everything else is BrowserGym's own, a new browser per episode included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import browsergym.core.env
import browsergym.miniwob
import gymnasium

from benchmarks.bids import action_of
from benchmarks.oracle import TASKS, moves


class SilentChat:
    """Keeps what is said, and shows it to nobody."""

    def __init__(self, *_: object, **__: object) -> None:
        self.messages: list[dict[str, Any]] = []

    def add_message(self, role: str, msg: str) -> None:
        if role != "info":
            self.messages.append({"role": role, "timestamp": 0.0, "message": msg})

    def close(self) -> None:
        """There is nothing open."""


def episode(environment: Any, task: str, seed: int) -> None:
    """One episode. ValueError when it does not succeed."""
    observation, _ = environment.reset(seed=seed)
    reward = 0.0
    for move in moves(task, observation["goal"]):
        action = action_of(move, observation["axtree_object"]["nodes"])
        observation, reward, *_ = environment.step(action)
    if reward != 1:
        raise ValueError(f"reward {reward} for {task}, seed {seed}")


def environments(chromium: str) -> dict[str, Any]:
    """One per task, which the import registered; each `reset` starts a browser anew."""
    browsergym.core.env.Chat = SilentChat
    make: Callable[..., Any] = gymnasium.make
    return {
        task: make(
            f"browsergym/miniwob.{task}",
            disable_env_checker=True,
            slow_mo=0,
            pre_observation_delay=0,
            pw_chromium_kwargs={"executable_path": chromium},
        )
        for task in TASKS
    }


def main(chromium: str) -> None:
    made = environments(chromium)
    numbers = count()
    for line in sys.stdin:
        for _ in range(int(line)):
            number = next(numbers)
            task = TASKS[number % len(TASKS)]
            episode(made[task], task, number // len(TASKS))
        print("ok", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
