"""The body of a request: JSON, of a bounded size, within a bounded time."""

from __future__ import annotations

import asyncio
from email.message import Message
from typing import Any, Final

import pydantic_core
from fastapi import Request
from starlette.requests import ClientDisconnect

from web.problems import Problem

JSON_TYPE: Final = "application/json"
BODY_SECONDS: Final = 15.0
"For all of a body: a client that drips holds a place."


async def read_json(request: Request, most_bytes: int) -> Any:
    """The body as JSON: UTF-8, no NaN, no half of a surrogate pair, nested within reason.

    Raises `Problem` with 400, 408, 413 or 415; what is too long is not read to its end.
    """
    _check_type(request)
    body = await _read(request, most_bytes)
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, "malformed_json", f"the body is no JSON: {error}") from None


def _check_type(request: Request) -> None:
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    coded = request.headers.get("content-encoding", "identity").lower()
    if header.get_content_type() != JSON_TYPE or coded != "identity":
        raise Problem(
            415,
            "unsupported_media_type",
            f"the body must be {JSON_TYPE}, and not compressed",
            headers={"Accept-Post": JSON_TYPE},
        )


async def _read(request: Request, most_bytes: int) -> bytearray:
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated[:18]) > most_bytes:
        raise _too_large(most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
    except TimeoutError:
        raise Problem(
            408, "body_too_slow", f"the body was not there within {BODY_SECONDS:g} s"
        ) from None
    except ClientDisconnect:
        raise Problem(400, "broken_off", "the body broke off") from None
    return body


def _too_large(most_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"a body has at most {most_bytes:,} bytes")
