"""One HTTP exchange of JSON with a time limit for all of it and a limit to what is read."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import httpx2

MOST_BYTES: Final = 8 * 1024 * 1024
"Of an answer. The longest that a model gives is a thousandth of that."
_MOST_HEADERS: Final = 300
"Characters of a header that are told to a person."


class Fault(StrEnum):
    """Why there is no answer at all."""

    NO_ANSWER = "timeout"
    UNREACHABLE = "connection_error"
    TOO_LONG = "response_too_long"


class ExchangeError(Exception):
    """The exchange gave no answer; `answering` says whether one had begun."""

    def __init__(self, fault: Fault, *, answering: bool) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.answering = answering


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def redirected_to(self) -> str | None:
        """Where a redirect points, without what may hold a secret; None if it is none."""
        if not 300 <= self.status < 400:
            return None
        try:
            parts = urlsplit(self.headers.get("location", ""))
            host = parts.hostname or ""
        except ValueError:
            return "nowhere"
        where = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
        return where[:_MOST_HEADERS] or "nowhere"


@cache
def _tls() -> ssl.SSLContext:
    """Loading the certificates takes 50 ms, in the loop that all episodes share: do it once."""
    return httpx2.create_ssl_context()


def client(*, connect_seconds: float, proxied: bool) -> httpx2.AsyncClient:
    """A client that follows no redirect: a key must not go where the operator did not send it."""
    return httpx2.AsyncClient(
        verify=_tls(),
        trust_env=proxied,
        # Of all of an exchange `post` takes care: a limit of each read lets an answer drip on.
        timeout=httpx2.Timeout(None, connect=connect_seconds),
        follow_redirects=False,
    )


async def post(
    http: httpx2.AsyncClient,
    url: str,
    document: object,
    *,
    headers: Mapping[str, str],
    seconds: float,
) -> Answered:
    """Send `document` and read the answer, whatever its status, all of it within `seconds`.

    Raises ExchangeError.
    """
    answering = False
    content = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    sent = {
        "content-type": "application/json",
        "accept": "application/json",
        # What is unpacked may be a thousand times what was sent.
        "accept-encoding": "identity",
        **headers,
    }
    try:
        async with (
            asyncio.timeout(seconds),
            http.stream("POST", url, content=content, headers=sent) as response,
        ):
            answering = True
            body = bytearray()
            async for piece in response.aiter_bytes(65_536):
                body += piece
                if len(body) > MOST_BYTES:
                    raise ExchangeError(Fault.TOO_LONG, answering=True)
            return Answered(response.status_code, response.headers, bytes(body))
    except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.PoolTimeout):
        raise ExchangeError(Fault.NO_ANSWER, answering=answering) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, ssl.SSLError):
        raise ExchangeError(Fault.UNREACHABLE, answering=answering) from None
