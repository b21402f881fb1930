"""What an agent gets to see: the visible elements and text of a page, with stable ids."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.protocol import Element, Observation

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from playwright.async_api import BrowserContext, JSHandle, Page

    from shared.evaluation.benchmark import Goal

T = TypeVar("T")

OPERATION_SECONDS: Final = 10.0
"Longest wait for one answer of a page; Playwright itself would wait for ever."

_EPOCH_MS: Final = int(datetime(2024, 3, 13, 12, tzinfo=UTC).timestamp() * 1000)

_LIMITS: Final = {
    "elements": 500,
    "visited": 50_000,
    "text": 20_000,
    "elementText": 300,
    "attribute": 200,
    "value": 1_000,
    "options": 300,
}

# Playwright has no error class for a document that was replaced under a call.
_NAVIGATED: Final = ("Execution context was destroyed", "Cannot find context", "disposed")


class PageHungError(Exception):
    """The page did not answer in time."""


@cache
def _script(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


async def within(awaitable: Awaitable[T], seconds: float = OPERATION_SECONDS) -> T:
    """Await an answer of the browser; raises `PageHungError` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise PageHungError(f"the page did not answer for {seconds:g} s") from None


def digest(observation: Observation) -> str:
    """SHA-256 of everything that the agent was shown."""
    shown = hashlib.sha256(
        observation.model_dump_json(exclude={"screenshot", "marks"}).encode("utf-8", "replace")
    )
    for picture in (observation.screenshot, observation.marks):
        shown.update(hashlib.sha256(picture or b"").digest())
    return shown.hexdigest()


async def prepare(context: BrowserContext) -> str:
    """Pin the clock of the context's pages; returns the key that `PageReader` needs."""
    key = f"_{secrets.token_hex(16)}"
    arguments = json.dumps({"key": key, "epoch": _EPOCH_MS})
    await within(context.add_init_script(f"({_script('before_page.js')})({arguments})"))
    return key


class PageReader:
    """Reads one page and finds its elements again by their ids.

    An id stays with its element; after a navigation all ids are new and none is used twice.
    Playwright's errors pass through: they mean that the page or its browser is gone.
    """

    def __init__(self, page: Page, key: str, unseen: str) -> None:
        self._page = page
        self._key = key
        self._unseen = unseen
        self._next_id = 1
        self._handle: JSHandle | None = None

    async def attach(self) -> None:
        """Let the page's clock run and take over what was noted while it loaded."""
        self._handle = await within(
            self._page.evaluate_handle(
                _script("page_reader.js"),
                {
                    "key": self._key,
                    "unseen": self._unseen,
                    "firstId": self._next_id,
                    "limits": _LIMITS,
                },
            )
        )

    async def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one function of the page-side reader, once more after a navigation."""
        if self._handle is None:
            await self.attach()
        try:
            return await self._ask(question, arguments)
        except PlaywrightError as error:
            if not any(sign in error.message for sign in _NAVIGATED):
                raise
        await within(self._page.wait_for_load_state("domcontentloaded"))
        await self.attach()
        return await self._ask(question, arguments)

    async def _ask(self, question: str, arguments: tuple[Any, ...]) -> Any:
        assert self._handle is not None
        return await within(
            self._handle.evaluate(
                "(reader, [question, given]) => reader[question](...given)",
                [question, list(arguments)],
            )
        )

    async def observe(self, goal: Goal, step: int, last_error: str | None) -> Observation:
        """Every visible element (at most 500) and the visible text, for step `step` from 0."""
        seen = await self.ask("observe")
        self._next_id = seen["nextId"]
        return Observation(
            goal=goal.text,
            goal_fields=goal.fields,
            url=seen["url"],
            title=seen["title"],
            text=seen["text"],
            elements=tuple(Element(**element) for element in seen["elements"]),
            step=step,
            last_error=last_error,
            dom_nodes=seen["domNodes"],
        )
