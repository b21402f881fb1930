"""A fixture's files on a loopback origin of their own, for as long as an episode lasts."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_IDLE_SECONDS: Final = 60


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a page that is closed while it loads resets its connections."""


class Fixture:
    """Serves `files`, by path, on a free port of 127.0.0.1. A folder stands for its index.html."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _IDLE_SECONDS
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path).lstrip("/")
                if path.endswith("/") or not path:
                    path += "index.html"
                if path not in files:
                    self._respond(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
                    return
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                if kind.startswith("text/") or kind.endswith(("javascript", "json")):
                    kind += "; charset=utf-8"
                self._respond(HTTPStatus.OK, files[path], kind)

            def do_POST(self) -> None:
                self.close_connection = True
                said = b"a fixture takes nothing\n"
                self._respond(HTTPStatus.METHOD_NOT_ALLOWED, said, "text/plain")

            def _respond(self, status: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: a page load is no news."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="fixture", daemon=True).start()

    def close(self) -> None:
        """Returns at once; the port is free a moment later."""
        threading.Thread(target=self._end, name="fixture-end", daemon=True).start()

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
