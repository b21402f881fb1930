"""What is kept of an episode besides its result: pictures, and Playwright's trace."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Protocol

from shared.evaluation.artifacts import JPEG, ZIP
from shared.evaluation.protocol import Outcome
from shared.jobs.contracts import Recording

if TYPE_CHECKING:
    from uuid import UUID

    from playwright.async_api import BrowserContext

    from shared.content_store import Stored
    from shared.evaluation.artifacts import ArtifactStore


class Recorder(Protocol):
    """Records one episode. Whatever it raises is logged and never fails the episode."""

    async def start(self, context: BrowserContext) -> None:
        """Asked once, before the context shows anything."""

    wants_pictures: bool
    "Whether there is to be one of every step."

    async def picture(self, jpeg: bytes) -> str | None:
        """SHA-256 of the stored picture of the next step, None where none is kept."""

    async def finish(self, context: BrowserContext, outcome: Outcome) -> str | None:
        """SHA-256 of the stored trace, None where none is kept. Asked once, at the end."""


class EpisodeRecorder:
    """Keeps what a policy says of one episode in a tenant's artifact store.

    A Playwright trace holds all that the page was and sent. It holds no key: agents ask their
    models from this process, and no key ever reaches the browser.
    """

    def __init__(self, store: ArtifactStore, policy: Recording, *, sampled: bool) -> None:
        self._store = store
        self._policy = policy
        self._traces = policy in (Recording.ALL, Recording.TRACE_ON_FAILURE) or (
            policy is Recording.TRACE_SAMPLE and sampled
        )
        self._tracing = False
        self.wants_pictures = policy is not Recording.NONE
        self.stored: list[Stored] = []
        "The files so far."

    async def start(self, context: BrowserContext) -> None:
        if self._traces:
            await context.tracing.start(screenshots=True, snapshots=True)
            self._tracing = True

    async def picture(self, jpeg: bytes) -> str | None:
        # All episodes of the worker share this loop.
        return self._keep(await asyncio.to_thread(self._store.put, jpeg, JPEG))

    async def finish(self, context: BrowserContext, outcome: Outcome) -> str | None:
        if not self._tracing:
            return None
        self._tracing = False
        wanted = outcome is not Outcome.CANCELLED and (
            self._policy is not Recording.TRACE_ON_FAILURE or outcome is not Outcome.SUCCESS
        )
        if not wanted:
            await context.tracing.stop()
            return None
        with self._store.new_file() as temporary:
            await context.tracing.stop(path=temporary)
            return self._keep(await asyncio.to_thread(self._store.adopt, temporary, ZIP))

    def _keep(self, stored: Stored) -> str:
        self.stored.append(stored)
        return stored.sha256


def is_sampled(episode_id: UUID) -> bool:
    """Whether an episode is the one in ten of `Recording.TRACE_SAMPLE`, whoever asks."""
    return hashlib.sha256(episode_id.bytes).digest()[0] < 256 / 10
