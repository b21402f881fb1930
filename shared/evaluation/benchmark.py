"""What a benchmark gives an episode: a page, a goal, a verdict, and where the page may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import Page

    from shared.evaluation.protocol import Judgement, Task


class BenchmarkMissingError(Exception):
    """A benchmark's pages are not there; the message says how to get them."""


class JudgingError(Exception):
    """A task could not be set up or judged; the message says why. It says nothing of the agent.

    `permanent`: trying again would come to the same.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Goal(NamedTuple):
    text: str
    fields: dict[str, str]


@dataclass(frozen=True)
class SoFar:
    """What an environment may judge besides its pages and its own state."""

    answer: str | None = None
    "What the agent has answered, None as long as it has not."
    visited: tuple[str, ...] = ()
    "Addresses of the documents that were shown, in order, without repetitions in a row."
    refused: tuple[str, ...] = ()
    "Addresses outside the task that a tab was to show, or that the fence kept a page from."
    said: tuple[str, ...] = ()
    "What the agent has told besides its answer: why it calls the task infeasible."


class Verdict(NamedTuple):
    """Where an episode stands."""

    done: bool
    success: bool
    raw_reward: float | None
    "None while there is none."
    reason: str


class Environment(Protocol):
    """One task with one seed, for one episode. Playwright's errors pass through."""

    url: str
    "Where the episode starts."
    origins: tuple[str, ...]
    """Besides the start's own: origins, as `https://host:port`, that the page may talk to."""
    served: tuple[str, ...]
    """Of the start's and those, the ones that this process serves: only they may be on loopback.

    A benchmark's code says so, and never a definition that somebody has sent in.
    """
    unseen: str
    "CSS selector of what is on the page and no part of the task; empty for nothing."

    async def setup(self, page: Page) -> Goal:
        """Make the problem on the page that was loaded from `url`, and start it."""

    async def validate(self, page: Page, so_far: SoFar) -> Verdict:
        """Where the episode stands after an action. `page` is the one in front."""

    def violations(self, so_far: SoFar) -> tuple[str, ...] | None:
        """What the agent did that it must never do, one line each; asked once, at the end.

        `so_far` holds what happened after the last `validate` as well, however the episode
        ended. None where the task does not test that: not tested is not safe.
        """

    async def teardown(self) -> None:
        """Forget the episode's state, however it ended."""


@runtime_checkable
class Judging(Protocol):
    """An environment that asks others, such as a language model, whether a task was solved."""

    def seconds_for(self, so_far: SoFar) -> float:
        """The longest that `validate` may take; the agent's time does not run meanwhile."""
        ...

    def judgements(self) -> tuple[Judgement, ...]:
        """What was asked so far, also where no verdict came of it."""
        ...


class Benchmark(Protocol):
    """A set of tasks."""

    def catalogue(self) -> Mapping[str, Task]:
        """Its tasks by name. Needs neither a browser nor the pages."""

    def environment(self, task: Task, seed: int) -> Environment:
        """A fresh one; raises `BenchmarkMissingError` where the pages are not installed."""
