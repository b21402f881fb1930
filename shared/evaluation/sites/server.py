"""The sites on a loopback port, one server per process, with a state of its own per episode.

An episode is entered with a token of 256 bits that becomes an HttpOnly cookie. Browser contexts
share no cookies, no page shows the token, and without it the server answers nothing: episodes
that run side by side cannot reach each other's state, and there is no address that tells of it.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from shared.evaluation.sites.desk.pages import ROUTES as DESK
from shared.evaluation.sites.mail.pages import ROUTES as MAIL
from shared.evaluation.sites.shop.pages import ROUTES as SHOP
from shared.evaluation.sites.stays.pages import ROUTES as STAYS
from shared.evaluation.sites.visit import Visit, static_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from shared.evaluation.sites.session import Session

log = logging.getLogger(__name__)

_COOKIE: Final = "session"
_KINDS: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_LARGEST_FORM: Final = 200_000


def _away(visit: Visit) -> Response:
    """Where links in texts that others wrote lead to: out of the sites, which is noted."""
    address = visit.query("to")
    visit.session.note_leaving(address)
    return visit.render("away", 403, address=address)


def _home(visit: Visit) -> Response:
    return visit.render("home")


_URLS: Final = Map(
    [
        Rule(path, methods=[method], endpoint=handler)
        for method, path, handler in (
            ("GET", "/", _home),
            ("GET", "/away", _away),
            *SHOP,
            *STAYS,
            *MAIL,
            *DESK,
        )
    ],
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)


class Sites:
    """The WSGI application and the episodes that are open in it."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def open(self, session: Session) -> str:
        """The token by which the episode is entered until it is closed."""
        token = secrets.token_urlsafe(32)
        self._sessions[token] = session
        return token

    def close(self, token: str) -> None:
        """Forget the episode; closing twice is once."""
        self._sessions.pop(token, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = request.max_form_memory_size = _LARGEST_FORM
        try:
            response = self._respond(request)
        # A fault of the sites is not the agent's: it is logged, and the page says so.
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong.")
        return response(environ, start)

    def _respond(self, request: Request) -> Response:
        first, _, rest = request.path.lstrip("/").partition("/")
        if first == "static":
            return _static(rest)
        if first == "enter":
            return self._enter(rest)
        session = self._sessions.get(request.cookies.get(_COOKIE, ""))
        if session is None:
            return _plain(HTTPStatus.FORBIDDEN, "You are not signed in.")
        with session.lock:
            try:
                return _answer(Visit(request, session))
            except HTTPException as refused:
                code = refused.code or 500
                return Visit(request, session).render("error", code, reason=refused.name)

    def _enter(self, token: str) -> Response:
        session = self._sessions.get(token)
        if session is None:
            return _plain(HTTPStatus.FORBIDDEN, "You are not signed in.")
        response = redirect(session.problem.start, 303)
        response.set_cookie(_COOKIE, token, httponly=True, samesite="Strict")
        return response


def _answer(visit: Visit) -> Response:
    request, session = visit.request, visit.session
    sent = [value for values in request.form.listvalues() for value in values]
    session.note_request(request.path, [request.full_path, *sent])
    if request.method == "POST" and request.form.get("form_token") != session.form_token:
        return visit.render("error", 400, reason="This form has expired. Please load it again.")
    endpoint, arguments = _URLS.bind_to_environ(request).match()
    response: Response = endpoint(visit, **arguments)
    session.note_state()
    return response


def _static(name: str) -> Response:
    body = static_file(name)
    if body is None:
        return _plain(HTTPStatus.NOT_FOUND, "There is no such file.")
    kept = {"Cache-Control": "max-age=86400"}
    return Response(body, 200, kept, mimetype=_KINDS[name.rpartition(".")[2]])


def _plain(status: HTTPStatus, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")


class _Handler(WSGIRequestHandler):
    # Buffered and without Nagle: a response is one packet, not two and a delayed ACK.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing: a page load is no news."""


class SiteServer:
    """Serves the sites on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.sites = Sites()
        self._server = make_server(
            "127.0.0.1", 0, self.sites, threaded=True, request_handler=_Handler
        )
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="sites", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_starting = threading.Lock()
_servers: dict[int, SiteServer] = {}


def server() -> SiteServer:
    """This process's server, started on first use.

    A server does not survive a fork (its thread stays behind), hence one per process id.
    """
    with _starting:
        process = os.getpid()
        if process not in _servers:
            _servers[process] = SiteServer()
        return _servers[process]
