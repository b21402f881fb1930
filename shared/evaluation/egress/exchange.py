"""What is said on one connection from the browser to its proxy: requests, tunnels, refusals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import h11

from shared.evaluation.egress.origins import Origin, OriginError, origin
from shared.evaluation.egress.policy import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.evaluation.egress.policy import Policy, Streams

_CHUNK: Final = 1 << 16
_NAME: Final = "fence"

_OF_ONE_CONNECTION: Final = frozenset(
    # RFC 9110, section 7.6.1, without Transfer-Encoding: by that h11 frames the body anew.
    (
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"upgrade",
        b"trailer",
        b"proxy-authorization",
        b"proxy-authenticate",
    )
)

_OURS: Final = frozenset((b"host", b"expect"))


class _Peer:
    """One side of the proxy: its connection and the state of HTTP/1.1 on it."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], streams: Streams) -> None:
        self.http = h11.Connection(role)
        self.reader, self.writer = streams
        self._unsent: list[bytes] = []

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """What the other end says next. What was to be sent goes out before it is waited for."""
        while True:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                if self.http.our_role is h11.SERVER:
                    raise
                raise ConnectionError(f"it does not speak HTTP: {error}") from None
            if event is not h11.NEED_DATA:
                return cast("h11.Event | type[h11.PAUSED]", event)
            await self.flush()
            self.http.receive_data(await self.reader.read(_CHUNK))

    def say(self, event: h11.Event) -> None:
        self._unsent.append(self.http.send(event) or b"")

    async def flush(self) -> None:
        if self._unsent:
            self.writer.write(b"".join(self._unsent))
            self._unsent.clear()
            await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


async def converse(browser: Streams, policy: Policy) -> None:
    """Answer what a browser asks on one connection until one side ends it.

    Raises an OSError when the browser is gone, or when a server breaks off within an answer:
    then the connection can only be closed.
    """
    near = _Peer(h11.SERVER, browser)
    far: _Peer | None = None
    at: Origin | None = None
    bodiless = False
    try:
        while isinstance(request := await near.event(), h11.Request):
            bodiless = request.method == b"HEAD"
            if request.method == b"CONNECT":
                await _tunnel(near, request, policy)
                return
            url = request.target.decode("ascii")
            to = origin(url)
            if far is not None and (to != at or not _usable(far)):
                far.close()
                far = None
            if far is None:
                far, at = _Peer(h11.CLIENT, await policy.connect(url)), to
            await _forward(near, far, request, to)
            if h11.MUST_CLOSE in (near.http.our_state, near.http.their_state):
                return
            near.http.start_next_cycle()
    except RefusedError as refused:
        await _answer(near, 403, str(refused), bodiless=bodiless)
    except (OriginError, h11.RemoteProtocolError) as error:
        await _answer(near, 400, str(error), bodiless=bodiless)
    except OSError as error:
        await _answer(near, 502, f"the server cannot be reached: {error}", bodiless=bodiless)
    finally:
        if far is not None:
            far.close()


def _usable(far: _Peer) -> bool:
    if far.http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE} or far.reader.at_eof():
        return False
    far.http.start_next_cycle()
    return True


async def _forward(near: _Peer, far: _Peer, request: h11.Request, to: Origin) -> None:
    """Pass a request on, and its answer back."""
    parts = urlsplit(request.target)
    path = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    # What stands in the request's first line counts, and not what it calls its host.
    host = str(to).partition("://")[2].encode("ascii")
    headers = [(b"Host", host), *(h for h in _passed_on(request) if h[0].lower() not in _OURS)]
    far.say(h11.Request(method=request.method, target=path, headers=headers))
    if near.http.they_are_waiting_for_100_continue:
        near.say(h11.InformationalResponse(status_code=100, headers=[]))
    while isinstance(event := await near.event(), h11.Data):
        far.say(event)
        await far.flush()
    far.say(h11.EndOfMessage())
    answer = await far.event()
    while isinstance(answer, h11.InformationalResponse):
        # Early hints and the like: a browser can do without them.
        answer = await far.event()
    if not isinstance(answer, h11.Response):
        raise ConnectionError("it said nothing")
    headers = _passed_on(answer)
    near.say(h11.Response(status_code=answer.status_code, headers=headers, reason=answer.reason))
    while isinstance(event := await far.event(), h11.Data):
        near.say(event)
        # Not only once more is waited for: what a server sends by and by arrives by and by.
        await near.flush()
    near.say(h11.EndOfMessage())
    await near.flush()


def said(headers: Mapping[str, str]) -> str | None:
    """What the proxy says in an answer of its own; None for the answer of a server."""
    name, _, details = headers.get("proxy-status", "").partition('; details="')
    return details.removesuffix('"') if name == _NAME else None


def _quotable(line: str) -> str:
    """For a string in a header (RFC 8941, section 3.3.3), without its escapes."""
    plain = line.replace('"', "'").replace("\\", "/")
    return "".join(char if " " <= char <= "~" else "?" for char in plain)


async def _tunnel(near: _Peer, request: h11.Request, policy: Policy) -> None:
    """Carry bytes both ways until one side ends: TLS, or a WebSocket."""
    reader, writer = await policy.tunnel(request.target.decode("ascii"))
    try:
        while await near.event() is not h11.PAUSED:
            pass
        near.say(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        await near.flush()
        writer.write(near.http.trailing_data[0])
        ways = {
            asyncio.ensure_future(_carry(near.reader, writer)),
            asyncio.ensure_future(_carry(reader, near.writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


def _passed_on(message: h11.Request | h11.Response) -> list[tuple[bytes, bytes]]:
    """The headers that are meant for the other end, and not for this connection."""
    headers = message.headers.raw_items()
    named = {
        name.strip().lower()
        for header, value in headers
        if header.lower() == b"connection"
        for name in value.split(b",")
    }
    dropped = _OF_ONE_CONNECTION | (named - {b"transfer-encoding", b"content-length"})
    return [(name, value) for name, value in headers if name.lower() not in dropped]


async def _answer(near: _Peer, status: int, line: str, *, bodiless: bool = False) -> None:
    """Refuse, with the reason in one line, unless an answer has begun already."""
    if near.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    body = f"{line}\n".encode()
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        # RFC 9209: by this an answer of ours is told from one of the server.
        (b"Proxy-Status", f'{_NAME}; details="{_quotable(line)}"'.encode("ascii")),
    ]
    near.say(h11.Response(status_code=status, headers=headers))
    if not bodiless:
        near.say(h11.Data(data=body))
    near.say(h11.EndOfMessage())
    await near.flush()
