"""What is kept of an episode besides its result: pictures, and Playwright's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from shared.evaluation.protocol import Outcome


class Recorder(Protocol):
    """Records one episode. Whatever it raises is logged and never fails the episode."""

    async def start(self, context: BrowserContext) -> None:
        """Asked once, before the context has a page."""

    async def picture(self, page: Page, index: int) -> str | None:
        """SHA-256 of the stored picture of step `index`, None where none is kept.

        Asked while the agent thinks: the page stands still until this returns.
        """

    async def finish(self, context: BrowserContext, outcome: Outcome) -> str | None:
        """SHA-256 of the stored trace, None where none is kept. Asked once, at the end."""
