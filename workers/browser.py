"""The warm browser of a worker process: one Chromium, a fresh context for every piece of work.

A context is made, with its first page, while the one before is still used, and closed while the
next is: neither is waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import signal
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from shared.evaluation.browser import BrowserError, close_context, fresh_context
from shared.evaluation.egress.fence import around
from shared.evaluation.observing import prepare
from shared.local.chromium import ChromiumError, find_chromium, launch_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from playwright.async_api import Browser, BrowserContext, CDPSession, Playwright

log = logging.getLogger(__name__)

T = TypeVar("T")

_LAUNCH_SECONDS: Final = 30.0
_CONTEXT_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 2.0
_CONTEXTS_PER_SPARE: Final = 4
_GIB: Final = 2**30


@dataclass(eq=False)
class _Chromium:
    """One launched Chromium with its Playwright driver, and how much it is used."""

    playwright: Playwright
    browser: Browser
    spare: int
    "So many contexts are kept ready."
    ready: deque[asyncio.Task[BrowserContext]] = field(default_factory=deque)
    watching: asyncio.Task[None] | None = None
    served: int = 0
    in_use: int = 0
    retired: bool = False

    async def context(self) -> BrowserContext:
        """One that was ready, or a new one. Playwright's errors pass through."""
        made = self.ready.popleft() if self.ready else asyncio.create_task(_made(self.browser))
        context = await made
        while len(self.ready) < self.spare and not self.retired:
            self.ready.append(asyncio.create_task(_made(self.browser)))
        return context

    async def close(self) -> None:
        self.retired = True
        if self.watching is not None:
            self.watching.cancel()
            # Its end is that of the browser, and no news.
            self.watching.add_done_callback(lambda done: done.cancelled() or done.exception())
        for making in self.ready:
            making.cancel()
        # What was made and not used has a fence that does not end with the browser.
        if self.ready:
            made, _ = await asyncio.wait(self.ready, timeout=_CLOSE_SECONDS)
            for making in made:
                if not making.cancelled() and making.exception() is None:
                    around(making.result()).stop()
        self.ready.clear()
        for ending in (self.browser.close, self.playwright.stop):
            # Of a killed browser or driver there is nothing left to close.
            with suppress(PlaywrightError, TimeoutError, OSError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await ending()
        _reap()


async def _made(browser: Browser) -> BrowserContext:
    context = await fresh_context(browser)
    # A page of its own process is what takes longest; its clock and its notes come before it.
    try:
        await prepare(context)
        await context.new_page()
    except BaseException:
        around(context).stop()
        raise
    return context


class BrowserRuntime:
    """One per process; `run` may be called from any thread, `contexts` at a time get through.

    Nothing is started before the first `run`, and what a fork left in the parent is not used:
    a browser does not survive a fork. A Chromium that died is replaced for the next call, and
    one that served `recycle_after` contexts or whose processes have more than `memory_limit`
    bytes between them once its last context is closed. A page of more than `page_memory_limit`
    bytes is ended, which its episode is told as a crash.
    """

    def __init__(
        self,
        *,
        contexts: int = 4,
        recycle_after: int = 500,
        memory_limit: int = 6 * _GIB,
        page_memory_limit: int = 3 * _GIB,
        executable: Path | None = None,
    ) -> None:
        self._contexts = contexts
        self._recycle_after = recycle_after
        self._memory_limit = memory_limit
        self._page_memory_limit = page_memory_limit
        self._executable = executable
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._current: _Chromium | None = None
        self._all: set[_Chromium] = set()
        self._working: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def run(self, work: Callable[[BrowserContext], Awaitable[T]], timeout: float) -> T:
        """Give `work` a fresh context and wait for its result, see `BrowserPool.run`."""
        loop = self._running_loop()
        future = asyncio.run_coroutine_threadsafe(self._work(work, timeout), loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise BrowserError("the browser was closed under its work") from None
        except BaseException:
            # Also when the waiting thread is interrupted: its work must not go on unseen.
            future.cancel()
            raise

    def close(self) -> None:
        """End all work and leave no process behind. The runtime cannot be used afterwards."""
        if self._process != os.getpid():
            return
        with self._starting:
            self._closed = True
            loop, thread = self._loop, self._thread
            if loop is None or thread is None or not thread.is_alive():
                return
            asyncio.run_coroutine_threadsafe(self._close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            self._loop = self._thread = None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._process != os.getpid():
            self._forget()
        with self._starting:
            if self._closed:
                raise BrowserError("the browser of this process is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_exception_handler(_quietly)
                self._slots = asyncio.Semaphore(self._contexts)
                self._launching = asyncio.Lock()
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="browser", daemon=True
                )
                self._thread.start()
            return self._loop

    async def _work(self, work: Callable[[BrowserContext], Awaitable[T]], timeout: float) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._working.add(task)
        try:
            async with self._slots:
                while len(self._closing) > self._contexts:
                    await asyncio.wait(self._closing, return_when=asyncio.FIRST_COMPLETED)
                chromium, context = await self._fresh_context()
                try:
                    # Only now: what comes before has limits of its own, and a work that has
                    # been paid for must not be ended for want of the time that a launch took.
                    async with asyncio.timeout(timeout):
                        return await work(context)
                finally:
                    self._later(self._give_back(chromium, context))
        finally:
            self._working.discard(task)

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _fresh_context(self) -> tuple[_Chromium, BrowserContext]:
        """A context, from a new Chromium where the current one turns out to be dead."""
        problem = ""
        for _ in range(2):
            chromium = await self._chromium()
            chromium.served += 1
            chromium.in_use += 1
            try:
                async with asyncio.timeout(_CONTEXT_SECONDS):
                    return chromium, await chromium.context()
            except (PlaywrightError, TimeoutError) as error:
                problem = str(error).splitlines()[0] if str(error) else "it does not answer"
                chromium.in_use -= 1
                await self._retire(chromium)
            except BaseException:
                chromium.in_use -= 1
                raise
        raise BrowserError(f"Chromium gives no page: {problem}")

    async def _chromium(self) -> _Chromium:
        async with self._launching:
            current = self._current
            if current is not None and (
                current.served >= self._recycle_after or not current.browser.is_connected()
            ):
                # Not waited for: the next one is started while this one ends.
                current.retired, self._current = True, None
                self._later(self._end_if_unused(current))
            if self._current is None:
                self._current = await self._launch()
                self._all.add(self._current)
                self._current.watching = asyncio.create_task(self._watch(self._current))
            return self._current

    async def _launch(self) -> _Chromium:
        try:
            executable = self._executable or find_chromium().path
        except ChromiumError as error:
            raise BrowserError(str(error)) from None
        try:
            async with asyncio.timeout(_LAUNCH_SECONDS):
                playwright = await async_playwright().start()
        except TimeoutError:
            raise BrowserError("Playwright's driver does not start") from None
        try:
            browser = await playwright.chromium.launch(
                executable_path=executable,
                args=launch_arguments(),
                # Playwright would switch the sandbox off for everybody; the arguments decide.
                chromium_sandbox=True,
                # The worker ends its browser itself, after the episodes in flight.
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
                timeout=_LAUNCH_SECONDS * 1000,
            )
        except PlaywrightError as error:
            await playwright.stop()
            said = error.message.splitlines()[0]
            raise BrowserError(f"Chromium at {executable} does not start: {said}") from None
        except BaseException:
            await asyncio.shield(playwright.stop())
            raise
        log.info("started Chromium %s", browser.version)
        return _Chromium(playwright, browser, max(1, self._contexts // _CONTEXTS_PER_SPARE))

    async def _watch(self, chromium: _Chromium) -> None:
        """End pages that take too much memory, and retire a Chromium that does."""
        session: CDPSession | None = None
        while chromium.browser.is_connected():
            await asyncio.sleep(_WATCH_SECONDS)
            if chromium.in_use == 0:
                continue
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    session = session or await chromium.browser.new_browser_cdp_session()
                    listed = await session.send("SystemInfo.getProcessInfo")
            except (PlaywrightError, TimeoutError) as error:
                # It is busy or in pieces: the next look has a session of its own.
                log.debug("Chromium does not say what memory it has: %s", error)
                session = None
                continue
            total = 0
            for process in listed["processInfo"]:
                held = _own_memory(process["id"])
                total += held
                if process["type"] == "renderer" and held > self._page_memory_limit:
                    log.warning("ended a page that took %.1f GiB", held / _GIB)
                    with suppress(ProcessLookupError):
                        os.kill(process["id"], signal.SIGKILL)
            if total > self._memory_limit:
                log.warning("Chromium has %.1f GiB and is replaced", total / _GIB)
                # Not awaited here: where it is unused by now, it ends this very watch.
                self._later(self._retire(chromium))
                return

    async def _give_back(self, chromium: _Chromium, context: BrowserContext) -> None:
        closed = False
        with suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await close_context(context)
                closed = True
        chromium.in_use -= 1
        if chromium.retired:
            await self._end_if_unused(chromium)
        elif not closed:
            # Its process may be stuck for good: the next work gets another one.
            await self._retire(chromium)

    async def _retire(self, chromium: _Chromium) -> None:
        chromium.retired = True
        if self._current is chromium:
            self._current = None
        await self._end_if_unused(chromium)

    async def _end_if_unused(self, chromium: _Chromium) -> None:
        if chromium.in_use == 0 and chromium in self._all:
            self._all.discard(chromium)
            await chromium.close()

    async def _close(self) -> None:
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working, timeout=2 * _CLOSE_SECONDS)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)
        for chromium in list(self._all):
            await chromium.close()
        self._all.clear()
        self._current = None


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Calls that nobody waits for any more fail when their page or browser goes: no news."""
    failed = context.get("exception")
    # Playwright has no class of its own for a driver that is gone.
    if not isinstance(failed, PlaywrightError) and "Connection closed" not in str(failed):
        loop.default_exception_handler(context)


def _own_memory(pid: int) -> int:
    """Bytes that a process has to itself, as far as the system tells; 0 when it is gone."""
    try:
        held = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(held.rss - getattr(held, "shared", 0))


def _reap() -> None:
    """Collect Chromium's ended helper processes that were handed to this process.

    They outlive their parent for a moment and then belong to process 1 of the container, which
    may be this worker. Only those are waited for: others have a parent that wants their status.
    """
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if state == "Z" and int(parent) == os.getpid() and name.startswith("chrom"):
                os.waitpid(int(status.parent.name), os.WNOHANG)
