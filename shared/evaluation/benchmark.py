"""What a benchmark gives an episode: a page, a goal and a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from playwright.async_api import Page

    from shared.evaluation.protocol import Task


class BenchmarkMissingError(Exception):
    """A benchmark's pages are not there; the message says how to get them."""


class Goal(NamedTuple):
    text: str
    fields: dict[str, str]


class Verdict(NamedTuple):
    """Where an episode stands."""

    done: bool
    success: bool
    raw_reward: float | None
    "None while the page has given none."
    reason: str


class Benchmark(Protocol):
    """The pages of one benchmark. Playwright's errors pass through."""

    unseen: str
    "CSS selector of what is on the page and no part of the task."

    def url(self, task: Task) -> str: ...

    async def start(self, page: Page, seed: int) -> Goal:
        """Make the loaded page's problem from `seed`, and start it."""

    async def verdict(self, page: Page) -> Verdict: ...
