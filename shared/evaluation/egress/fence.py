"""One episode's fence: a proxy on a loopback port of its own, through which its browser must go.

A port per episode tells episodes apart without credentials. Those would cost more than they
bring: Playwright answers a proxy that asks for them only by stopping every request of the
context, and cannot where a WebSocket is the first to be asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from shared.evaluation.egress.exchange import converse
from shared.evaluation.egress.policy import Policy
from shared.settings import settings

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, ProxySettings

_CONNECTIONS_LIMIT: Final = 256


class Fence:
    """Belongs to the event loop that started it; what may pass is said by its `policy`."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._server: asyncio.Server | None = None
        self._talking: set[asyncio.Task[None]] = set()

    async def start(self) -> Fence:
        """Listen on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def settings(self) -> ProxySettings:
        """For a new browser context.

        `<-loopback>` takes back the rule by which Chromium never asks a proxy about loopback
        and link-local addresses.
        """
        assert self._server is not None, "start() comes first"
        port = self._server.sockets[0].getsockname()[1]
        return {"server": f"http://127.0.0.1:{port}", "bypass": "<-loopback>"}

    def stop(self) -> None:
        """Listen no more and drop what is open. May be called twice."""
        if self._server is not None:
            self._server.close()
        for task in self._talking:
            task.cancel()
        self.policy.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talking.add(task)
        try:
            if len(self._talking) <= _CONNECTIONS_LIMIT:
                await converse((reader, writer), self.policy)
        # A page that is closed does not say goodbye, and `stop` ends what is under way.
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._talking.discard(task)
            writer.close()


_fences: WeakKeyDictionary[BrowserContext, Fence] = WeakKeyDictionary()


def put_around(context: BrowserContext, fence: Fence) -> None:
    """Remember the fence that a context was made with."""
    _fences[context] = fence


def allow(context: BrowserContext, *urls: str) -> None:
    """Let the pages of a context talk to the origins of these, from now on.

    Inside the network only where `MLOPS_INNER_HOSTS` names the host.
    Raises `OriginError`, and `LookupError` where the context was made without a fence.
    """
    policy = around(context).policy
    policy.open_inner(*settings().inner_hosts)
    policy.allow(*urls)


def allow_own(context: BrowserContext, *urls: str) -> None:
    """The same for origins that this process serves: they may be on loopback."""
    around(context).policy.allow_own(*urls)


def around(context: BrowserContext) -> Fence:
    """The fence of a context. Raises `LookupError` where it was made without one."""
    fence = _fences.get(context)
    if fence is None:
        raise LookupError("this browser context was made without a fence around it")
    return fence
