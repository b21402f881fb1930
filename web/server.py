"""The process: one listening socket, and uvicorn behind it."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn

from shared.local.errors import ServiceError
from web.app import application
from web.connections import HEAD_BYTES, Connection

STOP_SECONDS: Final = 20
"For requests under way when the process is asked to end; then they are broken off and recorded."
_IDLE_SECONDS: Final = 10


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one. Raises `ServiceError`, in one line."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ServiceError(f"MLOPS_WEB_HOST {host!r} is no address: {error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"cannot listen at {host} port {port}: {error.strerror}; set MLOPS_WEB_HOST and"
            " MLOPS_WEB_PORT"
        ) from None
    return listening


def server() -> uvicorn.Server:
    """A server that is not started: `run(sockets=[...])` does that until it is told to end."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            factory=True,
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            # Nobody's word for who the client is, as nothing depends on that.
            proxy_headers=False,
            server_header=False,
            # One line for each request is written by `web.requests`, with its id.
            access_log=False,
            log_config=None,
        )
    )


def address_of(listening: socket.socket) -> str:
    """The URL of what listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
