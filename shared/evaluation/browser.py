"""Where an episode gets its browser context from, and how such a context is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from shared.evaluation.egress.fence import Fence, around, put_around

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Browser, BrowserContext

T = TypeVar("T")


class BrowserError(Exception):
    """No browser could be had; the message is one line for the user."""


class BrowserPool(Protocol):
    """Runs work in a fresh browser context; may be called from any thread."""

    def run(self, work: Callable[[BrowserContext], Awaitable[T]], timeout: float) -> T:
        """Give `work` a context of its own, wait for its result, and close the context.

        `timeout` is in seconds and counts from when there is a context. Raises `TimeoutError`
        after it, `BrowserError` when no browser can be started, and what `work` raises.
        """


async def fresh_context(browser: Browser) -> BrowserContext:
    """A context in which the same seed gives the same page on every machine.

    Locale, time zone, viewport and colours are pinned; nothing can be downloaded, and no
    service worker can outlive its page. A fence is around it, see `egress.fence.around`:
    nothing is reached before its policy allows something. To be ended with `close_context`.
    """
    fence = await Fence().start()
    try:
        context = await browser.new_context(
            locale="en-US",
            timezone_id="UTC",
            viewport={"width": 640, "height": 480},
            device_scale_factor=1,
            color_scheme="light",
            reduced_motion="no-preference",
            accept_downloads=False,
            service_workers="block",
            proxy=fence.settings,
        )
    except BaseException:
        fence.stop()
        raise
    put_around(context, fence)
    context.once("close", lambda _: fence.stop())
    return context


async def close_context(context: BrowserContext) -> None:
    """Close a context and its fence, also that of a browser which is gone and says nothing."""
    try:
        await context.close()
    finally:
        around(context).stop()
