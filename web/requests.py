"""Around every request: its id, its line in the log, and the problem that an error is."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.visible import visible
from web.problems import Problem, problem_of

log: Final = logging.getLogger("web")

REQUEST_ID: Final = "X-Request-Id"
_LONGEST_PATH: Final = 200
_LONGEST_REASON: Final = 500


class Requests:
    """ASGI middleware. What an error says of the inside goes to the log, with the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, statuses = time.monotonic(), uuid4().hex, list[int]()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                message["headers"] = [
                    *message.get("headers", []),
                    (REQUEST_ID.lower().encode(), request_id.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            # This process ends, and it has waited as long as it may.
            if not statuses:
                stopping = Problem(503, "stopping", "this server is being stopped", retry_after=5)
                await stopping.response(request_id)(scope, receive, answer)
        except Exception as error:
            if statuses:
                raise
            await _told(error, request_id).response(request_id)(scope, receive, answer)
        log.info(
            "%s %s %s %s %.0f ms",
            request_id,
            scope["method"],
            visible(scope["path"])[:_LONGEST_PATH].replace("\n", "\\n").replace("\t", "\\t"),
            statuses[0] if statuses else "-",
            (time.monotonic() - began) * 1000,
        )


def _told(error: Exception, request_id: str) -> Problem:
    known = problem_of(error)
    if known is None:
        log.error("request %s failed", request_id, exc_info=error)
        return Problem(500, "internal", f"an error of this server; its log has it as {request_id}")
    if known.status == HTTPStatus.SERVICE_UNAVAILABLE:
        said = visible(error if error is not known else known.detail).partition("\n")[0]
        log.warning("request %s: %s: %s", request_id, known.code, said[:_LONGEST_REASON])
    return known


async def raise_as_problem(_request: object, error: Exception) -> None:
    """What the router says of an address that is none, and of a method that it has not there."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    detail = {
        404: "nothing is at this address: functions are at /functions/v1/NAME",
        405: "this address does not take that method",
    }.get(error.status_code, str(error.detail))
    raise Problem(error.status_code, code, detail, headers=dict(error.headers or {})) from None
