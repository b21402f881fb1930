"""Where the pages of one episode may go, and what was refused them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from shared.evaluation.egress import addresses, origins
from shared.evaluation.egress.origins import Origin

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"From the name of a host to its IP addresses; an OSError where it has none."

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONNECT_SECONDS: Final = 10.0
REFUSALS_LIMIT: Final = 50
"So many different ones are kept: a page can make up as many as it likes."
_TARGET_LIMIT: Final = 2_000

_NOT_ALLOWED: Final = "the task does not allow it"
_LOCALHOST: Final = ("127.0.0.1", "::1")


class Refusal(NamedTuple):
    """Where a page wanted to go and why it could not."""

    target: str
    "An address, or `host:port` of a tunnel, where it is not seen what will be spoken."
    reason: str

    def __str__(self) -> str:
        return f"{self.target} is refused: {self.reason}"

    @property
    def url(self) -> str:
        """The target as an address: in a tunnel TLS is spoken, but for a WebSocket without."""
        tunnel = "://" not in self.target
        return f"https://{self.target.removesuffix(':443')}" if tunnel else self.target


class RefusedError(Exception):
    """The request must not go out; the message is one line."""


async def resolve(host: str) -> Sequence[str]:
    """The addresses of a host by this machine's resolver, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Policy:
    """Lets nothing through until `allow` says where to.

    What is allowed must be, or lead to, a public address, unless its host is among
    `inner_hosts` (names and addresses, by the operator); `allow_own` opens origins on loopback
    as well, which this process serves. Metadata and link-local addresses are never opened: what
    a task allows comes from a definition that anybody may have sent in. A name is resolved once,
    and all connections go to what was found then. So a name server that changes its mind later
    leads nowhere else.
    """

    def __init__(
        self, *, resolve: Resolve = resolve, inner_hosts: Iterable[str] = frozenset()
    ) -> None:
        self._resolve = resolve
        self._inner = frozenset(map(origins.normal, inner_hosts))
        self._allowed: frozenset[Origin] = frozenset()
        self._own: frozenset[Origin] = frozenset()
        self._pinned: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._refused: dict[Refusal, None] = {}

    def allow(self, *urls: str) -> None:
        """From now on the origins of these may be reached. Raises `OriginError`."""
        self._allowed |= {origins.origin(url) for url in urls}

    def open_inner(self, *hosts: str) -> None:
        """From now on these count as inner hosts as well."""
        self._inner |= frozenset(map(origins.normal, hosts))

    def allow_own(self, *urls: str) -> None:
        """The same for origins that this process serves: they may be on loopback."""
        self.allow(*urls)
        self._own |= {origins.origin(url) for url in urls}

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What was refused, each once, in order of the first time; `REFUSALS_LIMIT` at most."""
        return tuple(self._refused)

    async def tunnel(self, target: str) -> Streams:
        """Connect to `host:port`. Raises `RefusedError`, `OriginError`, or an OSError."""
        host, port = origins.authority(target)
        possible = {Origin("https", host, port), Origin("http", host, port)}
        if not self._allowed & possible:
            raise self._refuse(target, _NOT_ALLOWED)
        return await self._connect(target, host, port, own=bool(self._own & possible))

    async def connect(self, url: str) -> Streams:
        """Connect to the origin of a URL. Raises `RefusedError`, `OriginError` or an OSError."""
        to = origins.origin(url)
        if to not in self._allowed:
            raise self._refuse(url, _NOT_ALLOWED)
        return await self._connect(url, to.host, to.port, own=to in self._own)

    def stop(self) -> None:
        """Wait for no name server any more."""
        for task in self._pinned.values():
            task.cancel()

    async def _connect(self, target: str, host: str, port: int, *, own: bool) -> Streams:
        problem = OSError(f"{host} has no address")
        found, leads = await self._addresses(host)
        kinds = {address: self._why_not(address, host, own=own) for address in found}
        usable = tuple(address for address, kind in kinds.items() if kind is None)
        if found and not usable:
            raise self._refuse(target, f"{leads} {kinds[found[0]]}")
        for address in usable:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
            except OSError as error:
                problem = error
        raise problem

    async def _addresses(self, host: str) -> tuple[Sequence[str], str]:
        """Where a host is, and the words to say so with."""
        if addresses.is_address(host):
            return (host,), "it is"
        if _is_localhost(host):
            # Never asked of a name server (RFC 6761, section 6.3).
            return _LOCALHOST, "it is"
        pinned = self._pinned.get(host)
        if pinned is None or _failed(pinned):
            pinned = self._pinned[host] = asyncio.ensure_future(self._look_up(host))
        # Shielded: the one that asked first may leave while others wait for the same answer.
        return await asyncio.shield(pinned), "its name leads to"

    def _why_not(self, address: str, host: str, *, own: bool) -> str | None:
        if host in self._inner:
            return addresses.never(address)
        if own and addresses.is_loopback(address):
            return None
        return addresses.why_not(address)

    async def _look_up(self, host: str) -> tuple[str, ...]:
        async with asyncio.timeout(CONNECT_SECONDS):
            return tuple(await self._resolve(host))

    def _refuse(self, target: str, reason: str) -> RefusedError:
        refusal = Refusal(target[:_TARGET_LIMIT], reason)
        if len(self._refused) < REFUSALS_LIMIT:
            self._refused[refusal] = None
        return RefusedError(str(refusal))


def _failed(task: asyncio.Task[tuple[str, ...]]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")
