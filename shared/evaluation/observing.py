"""What an agent gets to see: the visible elements and text of a page, with stable ids."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.protocol import Element, Observation, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from playwright.async_api import BrowserContext, CDPSession, JSHandle, Page

    from shared.evaluation.benchmark import Goal

T = TypeVar("T")

OPERATION_SECONDS: Final = 30.0
"""Longest wait for one answer of a page; Playwright itself would wait for ever.

A page of a million nodes takes that long on a busy machine. An episode's own deadline is shorter.
"""

_EPOCH_MS: Final = int(datetime(2024, 3, 13, 12, tzinfo=UTC).timestamp() * 1000)

_LIMITS: Final = {
    "elements": 500,
    "visited": 50_000,
    "text": 20_000,
    "elementText": 300,
    "attribute": 200,
    "aria": 50,
    "answer": 16_000_000,
    "value": 1_000,
    "options": 300,
    "tree": 40_000,
    "dom": 60_000,
}

_DRAWN: Final = {Part.TREE: "page_tree.js", Part.DOM: "page_dom.js"}
_PICTURES: Final = frozenset({Part.SCREENSHOT, Part.MARKS})
_JPEG_QUALITY: Final = 80

_REPLACED_AT_MOST: Final = 8
_REPLACED_PAUSE_SECONDS: Final = 0.05
_LEAVING_MS: Final = 5_000

# JSON spells half a character, which cannot be stored, as an escape, and whole ones as themselves.
_HALF: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}")

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


_keys: WeakKeyDictionary[BrowserContext, str] = WeakKeyDictionary()


async def prepare(context: BrowserContext) -> str:
    """Pin the clock of the context's pages; returns the key that `PageReader` needs.

    Done once: a context may be made ready before it is known what for.
    """
    if context not in _keys:
        key = f"_{secrets.token_hex(16)}"
        arguments = json.dumps({"key": key, "epoch": _EPOCH_MS})
        await within(context.add_init_script(f"({_script('before_page.js')})({arguments})"))
        _keys[context] = key
    return _keys[context]


class Numbering:
    """Gives the elements of all pages of an episode their ids, so that none is used twice."""

    def __init__(self) -> None:
        self.next_id = 1


class PageReader:
    """Reads one page and finds its elements again by their ids.

    An id stays with its element; after a navigation all ids are new and none is used twice.
    Playwright's errors pass through: they mean that the page or its browser is gone.
    """

    def __init__(
        self, page: Page, key: str, unseen: str, numbering: Numbering | None = None
    ) -> None:
        self._page = page
        self._key = key
        self._unseen = unseen
        self._numbering = numbering or Numbering()
        self._handle: JSHandle | None = None
        self._drawn: set[Part] = set()
        self._session: CDPSession | None = None

    async def attach(self) -> None:
        """Let the page's clock run and take over what was noted while it loaded."""
        self._drawn.clear()
        self._handle = await within(
            self._page.evaluate_handle(
                _script("page_reader.js"),
                {"key": self._key, "unseen": self._unseen, "limits": _LIMITS},
            )
        )

    async def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one function of the page-side reader, again after a navigation.

        Raises `PageHungError` for a page that is replaced faster than it can be read.
        """
        return await self._ask(question, arguments, frozenset())

    async def _ask(self, question: str, arguments: tuple[Any, ...], drawn: frozenset[Part]) -> Any:
        for _ in range(_REPLACED_AT_MOST):
            try:
                if self._handle is None:
                    await self.attach()
                for part in drawn - self._drawn:
                    await self._evaluate(_script(_DRAWN[part]))
                    self._drawn.add(part)
                answer = await self._evaluate(
                    "(reader, [question, given]) => reader.ask(question, given)",
                    [question, list(arguments)],
                )
                return _heard(answer)
            except PlaywrightError as error:
                if not any(sign in error.message for sign in _NAVIGATED):
                    raise
            self._handle = None
            await asyncio.sleep(_REPLACED_PAUSE_SECONDS)
            await within(self._page.wait_for_load_state("domcontentloaded"))
        raise PageHungError(f"the page was replaced {_REPLACED_AT_MOST} times while it was read")

    async def _evaluate(self, expression: str, argument: Any = None) -> Any:
        assert self._handle is not None
        return await within(self._handle.evaluate(expression, argument))

    async def settle(self, milliseconds: int) -> int:
        """Wait until the page is at rest, at most so long; 5 s while it is being replaced.

        Returns how many windows it has opened since it was last asked.
        """
        return int(await self.ask("settle", milliseconds, _LEAVING_MS))

    async def observe(
        self, goal: Goal, step: int, last_error: str | None, parts: frozenset[Part] = frozenset()
    ) -> Observation:
        """Every visible element (at most 500) and the visible text, for step `step` from 0.

        Of `parts` what was asked for, and no work for the others.
        """
        drawn = parts & _DRAWN.keys()
        seen = await self._ask(
            "observe", (self._numbering.next_id, sorted(part.value for part in drawn)), drawn
        )
        picture = await self.picture() if parts & _PICTURES else None
        try:
            self._numbering.next_id = int(seen["nextId"])
            elements = tuple(Element(**element) for element in seen["elements"])
            return Observation(
                goal=goal.text,
                goal_fields=goal.fields,
                url=seen["url"],
                title=seen["title"],
                text=seen["text"],
                elements=elements,
                step=step,
                last_error=last_error,
                dom_nodes=seen["domNodes"],
                tree=seen.get("tree"),
                dom=seen.get("dom"),
                screenshot=picture if Part.SCREENSHOT in parts else None,
                marks=_marked(picture, elements) if picture and Part.MARKS in parts else None,
            )
        # Of a page that has put its own functions in the place of the browser's.
        except (KeyError, TypeError, AttributeError, ValueError):
            raise _unreadable() from None

    async def picture(self) -> bytes:
        """JPEG of the viewport, taken without a trace on the page."""
        how = {"format": "jpeg", "quality": _JPEG_QUALITY, "optimizeForSpeed": True}
        if self._session is None:
            self._session = await within(self._page.context.new_cdp_session(self._page))
        shot = await within(self._session.send("Page.captureScreenshot", how))
        return base64.b64decode(shot["data"])


def _heard(answer: object) -> Any:
    """What the page said; raises `PlaywrightError` for what only a page that was bent can say."""
    # All episodes of the worker share this loop: a long answer is not even looked at.
    if not isinstance(answer, str) or len(answer) > _LIMITS["answer"]:
        raise _unreadable()
    if "\\ud" in answer:
        answer = _HALF.sub(r"\1\\ufffd", answer)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise _unreadable() from None


def _unreadable() -> PlaywrightError:
    return PlaywrightError("the page answers what cannot be read")


def _marked(picture: bytes, elements: tuple[Element, ...]) -> bytes:
    # Only those that ask for marks need an imaging library.
    from shared.evaluation.marking import marked

    return marked(picture, elements)
