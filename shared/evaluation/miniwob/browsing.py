"""Many pieces of work in one Chromium, a fresh context for each, several at a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from playwright.async_api import async_playwright

from shared.evaluation.browser import close_context, fresh_context
from shared.evaluation.egress.fence import allow_own
from shared.evaluation.miniwob import server
from shared.local.chromium import find_chromium, launch_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from playwright.async_api import Browser, BrowserContext

T = TypeVar("T")
Item = TypeVar("Item")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for the time of the block. Raises `ChromiumError` where there is none."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium().path,
            args=launch_arguments(),
            # Playwright would switch the sandbox off for everybody; the arguments decide.
            chromium_sandbox=True,
        )
        try:
            yield browser
        finally:
            await browser.close()


async def each(
    browser: Browser,
    items: Iterable[Item],
    work: Callable[[BrowserContext, Item], Awaitable[T]],
    contexts: int,
) -> AsyncIterator[tuple[Item, T]]:
    """The result of `work` on every item, as they come, `contexts` at a time.

    What `work` raises ends it all.
    """
    free = asyncio.Semaphore(contexts)

    async def do(item: Item) -> tuple[Item, T]:
        async with free:
            context = await fresh_context(browser)
            allow_own(context, server.base_url())
            try:
                return item, await work(context, item)
            finally:
                await close_context(context)

    tasks = [asyncio.create_task(do(item)) for item in items]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
