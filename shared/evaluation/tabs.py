"""The open tabs of an episode: which one is in front, and where they may go."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.egress.origins import Origin, OriginError, origin
from shared.evaluation.observing import Numbering, PageReader, within
from shared.evaluation.protocol import Tab, storable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.async_api import BrowserContext, Frame, Page

    from shared.evaluation.benchmark import Goal
    from shared.evaluation.protocol import Observation, Part

TABS_LIMIT: Final = 10
WINDOWS_LIMIT: Final = 50
"So many that had to be closed again after one action end it: some pages open them without end."

_POPUP_SECONDS: Final = 2.0
_LOAD_SECONDS: Final = 15.0
_TITLES_SECONDS: Final = 1.0
"For the titles of all the tabs behind together: those that hang must not use up the time."
_SAID_AT_MOST: Final = 200


class TabError(Exception):
    """The tabs cannot be changed so; the message is for the agent."""


class UnknownTabError(TabError):
    """There is no such tab."""


@dataclass(frozen=True)
class Grounds:
    """The origins that the tabs may be on."""

    origins: tuple[Origin, ...]

    @staticmethod
    def of(url: str, others: Iterable[str]) -> Grounds:
        """Those of the page at `url` and of `others`. Raises `OriginError`."""
        return Grounds(tuple(dict.fromkeys(origin(each) for each in (url, *others))))

    def check(self, url: str) -> None:
        """Raises `TabError` for an address that is outside, or none of the web."""
        try:
            to = origin(url)
        except OriginError:
            said = url[:_SAID_AT_MOST]
        else:
            if to in self.origins:
                return
            said = str(to)
        possible = ", ".join(map(str, self.origins))
        raise TabError(f"{said} is no part of this task; possible: {possible}")

    @property
    def outside(self) -> re.Pattern[str]:
        """Matches the addresses, as a browser asks for them, that lead elsewhere."""
        allowed = "|".join(re.escape(f"{each}/") for each in self.origins)
        return re.compile(f"^(?!{allowed}|data:|blob:|about:)")


@dataclass(eq=False)
class _OpenTab:
    id: int
    page: Page
    reader: PageReader
    title: str = ""


class Witness(Protocol):
    """Is told what happens in the tabs, also between the agent's actions."""

    def visited(self, url: str) -> None:
        """A tab shows the document at `url`."""

    def refused(self, url: str) -> None:
        """A tab was to show `url`, which is outside the task."""

    def broken(self, reason: str) -> None:
        """The episode cannot go on."""


class Tabs:
    """All tabs of one browser context, the first of which is opened by `start`.

    Windows that a page opens become tabs in front where `keeps_windows`, as they would for a
    user; else, and beyond `TABS_LIMIT`, they are closed. Playwright's errors pass through.
    """

    def __init__(
        self,
        context: BrowserContext,
        *,
        key: str,
        grounds: Grounds,
        unseen: str,
        keeps_windows: bool,
        witness: Witness,
    ) -> None:
        self._context = context
        self._key = key
        self._grounds = grounds
        self._unseen = unseen
        self._keeps_windows = keeps_windows
        self._witness = witness
        self._numbering = Numbering()
        self._open: list[_OpenTab] = []
        self._opened = 0
        self._closed_windows = 0
        self._mine: list[Page] | None = None
        self._window = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> Page:
        """The first tab, not at its page yet."""
        blank = self._context.pages
        page = blank[0] if blank else await within(self._context.new_page())
        self._context.on("page", self._on_window)
        return self._add(page).page

    @property
    def page(self) -> Page:
        """The one in front."""
        return self._front.page

    @property
    def reader(self) -> PageReader:
        """Of the one in front."""
        return self._front.reader

    @property
    def _front(self) -> _OpenTab:
        if not self._open:
            raise PlaywrightError("the last tab was closed")
        return self._open[-1]

    def _add(self, page: Page) -> _OpenTab:
        self._opened += 1
        tab = _OpenTab(
            self._opened, page, PageReader(page, self._key, self._unseen, self._numbering)
        )
        self._open.append(tab)
        page.on("framenavigated", self._on_navigated)
        page.on("close", lambda _: self._forget(tab))
        page.on("crash", lambda _: self._witness.broken("the page crashed"))
        return tab

    def _forget(self, tab: _OpenTab) -> None:
        if tab in self._open:
            self._open.remove(tab)
        if not self._open:
            self._witness.broken("browser: the last tab was closed")

    def _on_navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None and frame.url != "about:blank":
            self._witness.visited(frame.url)

    def _on_window(self, page: Page) -> None:
        if self._mine is not None:
            self._mine.append(page)
            return
        if self._keeps_windows and len(self._open) < TABS_LIMIT:
            self._add(page)
            if page.url not in {"", "about:blank"}:
                self._witness.visited(page.url)
            self._window.set()
            return
        self._closed_windows += 1
        if self._closed_windows == WINDOWS_LIMIT:
            self._witness.broken(f"the page opened more than {WINDOWS_LIMIT - 1} windows")
        closing = asyncio.ensure_future(_close(page))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def listing(self) -> tuple[Tab, ...]:
        """The open tabs, in the order in which they were opened, with the titles last seen."""
        return tuple(
            Tab(id=tab.id, url=tab.page.url[:2_000], title=tab.title, active=tab is self._front)
            for tab in sorted(self._open, key=lambda tab: tab.id)
        )

    async def observe(
        self, goal: Goal, step: int, last_error: str | None, parts: frozenset[Part] = frozenset()
    ) -> Observation:
        """What there is to be seen in the tab in front, and which tabs there are."""
        front = self._front
        seen = await front.reader.observe(goal, step, last_error, parts)
        front.title = seen.title
        await self._look_behind()
        return seen.model_copy(update={"tabs": self.listing()})

    async def _look_behind(self) -> None:
        behind = [tab for tab in self._open if tab is not self._front]
        with suppress(TimeoutError):
            async with asyncio.timeout(_TITLES_SECONDS):
                await asyncio.gather(*map(_look_at_title, behind))

    async def settle(self, milliseconds: int) -> None:
        """Wait until the tab in front has come to rest, at most so long; longer while it leaves.

        A window that is being opened is waited for where it becomes a tab.
        """
        windows = await self.reader.settle(milliseconds)
        if windows and self._keeps_windows and len(self._open) < TABS_LIMIT:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POPUP_SECONDS):
                    await self._window.wait()
            await self.reader.settle(milliseconds)

    def about_to_act(self) -> None:
        """From now on a new window is one that the action opened."""
        self._window.clear()
        # Of each action: else an agent could end the episode by one link, clicked again and again.
        self._closed_windows = 0

    async def goto(self, url: str) -> None:
        """Load `url` in the tab in front. Raises `TabError`."""
        self._check(url)
        await self._load(self.page, url)

    async def back(self) -> None:
        """Raises `TabError` where there is no earlier page of the task."""
        await self._through_history(-1, "back")

    async def forward(self) -> None:
        """Raises `TabError` where there is no later page of the task."""
        await self._through_history(1, "forward")

    async def open(self, url: str | None) -> None:
        """Open a tab and put it in front. Raises `TabError`."""
        if url is not None:
            self._check(url)
        if len(self._open) >= TABS_LIMIT:
            raise TabError(f"there are {len(self._open)} tabs, and no more can be opened")
        # Of the windows that appear meanwhile one is this tab, which is known only afterwards.
        self._mine = []
        page = None
        try:
            page = await within(self._context.new_page())
            self._add(page)
        finally:
            appeared, self._mine = self._mine, None
            for window in appeared:
                if window is not page:
                    self._on_window(window)
        if url is not None:
            await self._load(page, url)

    async def close(self, tab_id: int) -> None:
        """Raises `TabError` for the last one and `UnknownTabError`."""
        tab = self._tab(tab_id)
        if len(self._open) == 1:
            raise TabError("the last tab cannot be closed")
        # By hand: the page's word that it is closed may come too late for the next look.
        self._open.remove(tab)
        await within(_close(tab.page))
        await self._show_front()

    async def focus(self, tab_id: int) -> None:
        """Raises `UnknownTabError`."""
        tab = self._tab(tab_id)
        self._open.remove(tab)
        self._open.append(tab)
        await self._show_front()

    def _tab(self, tab_id: int) -> _OpenTab:
        for tab in self._open:
            if tab.id == tab_id:
                return tab
        known = ", ".join(str(tab.id) for tab in sorted(self._open, key=lambda tab: tab.id))
        raise UnknownTabError(f"there is no tab {tab_id}; there is: {known}")

    def _check(self, url: str) -> None:
        try:
            self._grounds.check(url)
        except TabError:
            self._witness.refused(url)
            raise

    async def _show_front(self) -> None:
        await within(self.page.bring_to_front())

    async def _load(self, page: Page, url: str) -> None:
        try:
            await page.goto(url, wait_until="commit", timeout=_LOAD_SECONDS * 1000)
        except PlaywrightError as error:
            if page.is_closed():
                raise
            said = error.message.splitlines()[0].partition(": ")[2] or error.message
            raise TabError(f"{url} could not be loaded: {said[:150]}") from None

    async def _through_history(self, by: int, way: str) -> None:
        page = self.page
        session = await within(self._context.new_cdp_session(page))
        try:
            history = await within(session.send("Page.getNavigationHistory"))
        finally:
            await within(session.detach())
        at = history["currentIndex"] + by
        entries = history["entries"]
        # Every tab begins with an empty document, which is no part of the task either.
        if not 0 <= at < len(entries) or not self._is_inside(entries[at]["url"]):
            raise TabError(f"there is no page to go {way} to")
        go = page.go_back if by < 0 else page.go_forward
        try:
            await go(wait_until="commit", timeout=_LOAD_SECONDS * 1000)
        except PlaywrightError as error:
            if page.is_closed():
                raise
            raise TabError(f"the page to go {way} to could not be loaded") from error

    def _is_inside(self, url: str) -> bool:
        try:
            self._grounds.check(url)
        except TabError:
            return False
        return True


async def _look_at_title(tab: _OpenTab) -> None:
    # It keeps the one last seen where it cannot be asked.
    with suppress(PlaywrightError):
        tab.title = storable(await tab.page.title())[:500]


async def _close(page: Page) -> None:
    # It may be gone by then.
    with suppress(PlaywrightError):
        await page.close()
