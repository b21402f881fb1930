"""One connection, which a client may neither hold for nothing nor fill with what nobody reads.

Uvicorn waits without end for the first and for a half-sent head, and reads on, without end as well,
what is left of a body after its answer.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.problems import MEDIA_TYPE, Problem

HEAD_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 2.0
"What is left of a body is read so long, so that its sender gets to read the answer."
LINGER_BYTES: Final = 1_000_000
MOST_CONNECTIONS: Final = 512
HEAD_BYTES: Final = 32 * 1024


class Connection(H11Protocol):
    """Uvicorn's, by the h11 package, with limits."""

    head_seconds: float = HEAD_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._close_after(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answered_before_its_end():
            self._unread += len(data)
            if self._unread > LINGER_BYTES:
                self.transport.close()
        elif self.conn.their_state is not h11.IDLE:
            self._keep()
        elif self._timer is None:
            # Some of the next head is there.
            self._close_after(self.head_seconds)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unread = 0
        if self._is_answered_before_its_end():
            self._keep()
            self._close_after(LINGER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """In the form of all other problems."""
        document = Problem(400, "malformed_http", "the request is no HTTP that this server reads")
        body = json.dumps(document.body("")).encode()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        events: list[Any] = [
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        try:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            # An answer is under way already.
            pass
        self.transport.close()

    def _is_answered_before_its_end(self) -> bool:
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _close_after(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
