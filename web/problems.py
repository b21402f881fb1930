"""Errors as RFC 9457 has them: `application/problem+json`, one line for a person, a code for code.

>>> Problem(404, "not_found", "nothing is at /x").body("r-1")["title"]
'Not Found'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from redis import RedisError
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.responses import JSONResponse

from shared.functions.definition import FunctionError, UnknownFunctionError
from shared.functions.failing import Cause
from shared.functions.recording import NoAnswerError
from shared.local.errors import ServiceError
from shared.tenancy.tenants import TenancyError
from shared.visible import visible

MEDIA_TYPE: Final = "application/problem+json"
LONGEST_DETAIL: Final = 2_000
DATABASE_SECONDS: Final = 5.0
"After which PostgreSQL may be there again."

_DATABASE_AWAY: Final = (
    OperationalError,
    InterfaceError,
    DisconnectionError,
    NoConnectionError,
    ServiceError,
)

_STATUS: Final = {
    # Nothing that comes back by itself: who repeats it at once is told the same.
    Cause.HARD_STOP: HTTPStatus.FORBIDDEN,
    Cause.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Cause.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Cause.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Cause.BROKEN: HTTPStatus.BAD_GATEWAY,
}


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """An answer that is none: its status, a code that does not change, and one line for a person.

    `retry_after` is in seconds. `more` are members of its own.
    """

    status: int
    code: str
    detail: str
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        """The document. `type` is left at its default: the code tells what kind it is."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": _one_line(self.detail),
            "request_id": request_id,
            **self.more,
        }

    def response(self, request_id: str) -> JSONResponse:
        headers = dict(self.headers)
        if self.retry_after is not None:
            # Whole seconds (RFC 9110, 10.2.3): rather late than early.
            headers["Retry-After"] = str(math.ceil(self.retry_after))
        return JSONResponse(self.body(request_id), self.status, headers, MEDIA_TYPE)


def unauthorized(detail: str) -> Problem:
    """401, which names the way to do it (RFC 6750, 3)."""
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def problem_of(error: Exception) -> Problem | None:
    """What an error of the domain is over HTTP; None for one that nobody has thought of."""
    match error:
        case Problem():
            return error
        case NoAnswerError():
            return Problem(
                _STATUS[error.cause],
                f"no_answer_{error.cause.value}",
                str(error),
                error.retry_after,
                # It may have cost something, and stands in the telemetry.
                more={"invocation": error.invocation.to_json()},
            )
        case UnknownFunctionError():
            return Problem(404, "unknown_function", str(error))
        case FunctionError():
            return Problem(422, "invalid_request", str(error))
        case TenancyError():
            return unauthorized(str(error))
        case _ if isinstance(error, _DATABASE_AWAY):
            # What the server or the driver says of it may hold an address or a user.
            return Problem(503, "database_away", "PostgreSQL cannot be asked now", DATABASE_SECONDS)
        case RedisError():
            return Problem(503, "redis_away", "Redis cannot be asked now", DATABASE_SECONDS)
        case _:
            return None


def _one_line(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= LONGEST_DETAIL else line[: LONGEST_DETAIL - 3] + "..."
