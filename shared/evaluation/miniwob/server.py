"""The pages of the `miniwob` wheel on a loopback port, one server per process."""

from __future__ import annotations

import mimetypes
import os
import threading
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.evaluation.benchmark import BenchmarkMissingError


def pages_folder() -> Path:
    """The `html` folder of the installed wheel.

    The package itself is never imported: that would pull in gymnasium and selenium.
    Raises `BenchmarkMissingError` where the wheel is not installed.
    """
    spec = find_spec("miniwob")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "html"
        if (folder / "core" / "core.js").is_file():
            return folder
    raise BenchmarkMissingError(
        "the MiniWoB++ pages are not installed; they come with: "
        'pip install "browser-mlops[evaluation]"'
    )


@lru_cache(maxsize=512)
def _contents(path: Path) -> bytes:
    return path.read_bytes()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a page that is closed while it loads resets its connections."""


class PageServer:
    """Serves the files of one folder, read-only, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        root = folder.resolve()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Buffered and without Nagle: a response is one packet, not two and a delayed ACK.
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                path = (root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
                if not path.is_relative_to(root) or not path.is_file():
                    self._respond(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
                    return
                kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                self._respond(HTTPStatus.OK, _contents(path), kind)

            def _respond(self, status: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: a page load is no news."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, name="miniwob-pages", daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_starting = threading.Lock()
_servers: dict[int, PageServer] = {}


def base_url() -> str:
    """The address of this process's server, started on first use.

    A server does not survive a fork (its thread stays behind), hence one per process id.
    """
    with _starting:
        process = os.getpid()
        if process not in _servers:
            _servers[process] = PageServer(pages_folder())
        return _servers[process].url


def page_url(task: str) -> str:
    """The address of a MiniWoB++ task's page, for example of `click-test`."""
    return f"{base_url()}/miniwob/{task}.html"
