"""Where an episode gets its browser context from, and how such a context is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

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

        `timeout` is in seconds and counts from when a context is free. Raises `TimeoutError`
        after it, `BrowserError` when no browser can be started, and what `work` raises.
        """


async def fresh_context(browser: Browser) -> BrowserContext:
    """A context in which the same seed gives the same page on every machine.

    Locale, time zone, viewport and colours are pinned; nothing can be downloaded, and no
    service worker can get between a page and the fence around its requests.
    """
    return await browser.new_context(
        locale="en-US",
        timezone_id="UTC",
        viewport={"width": 640, "height": 480},
        device_scale_factor=1,
        color_scheme="light",
        reduced_motion="no-preference",
        accept_downloads=False,
        service_workers="block",
    )
