"""One HTTP exchange of JSON with a time limit for all of it and a limit to what is read."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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


class _TooLongError(Exception):
    pass


class _Bounded(httpx2.AsyncByteStream):
    """A body of which no more than `MOST_BYTES` are read."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._body:
            read += len(piece)
            if read > MOST_BYTES:
                raise _TooLongError
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class Client(httpx2.AsyncClient):
    """One exchange at a time. Follows no redirect: a key must not go where nobody sent it."""

    def __init__(self, *, connect_seconds: float, proxied: bool) -> None:
        super().__init__(
            verify=_tls(),
            trust_env=proxied,
            # Of all of an exchange `limited` takes care: a limit of each read lets it drip on.
            timeout=httpx2.Timeout(None, connect=connect_seconds),
            follow_redirects=False,
            # What is unpacked may be a thousand times what was sent.
            headers={"accept-encoding": "identity"},
            event_hooks={"request": [self._on_request], "response": [self._on_response]},
        )
        self.answering = False
        "Whether an answer to the last request has begun."

    async def _on_request(self, request: httpx2.Request) -> None:
        self.answering = False

    async def _on_response(self, response: httpx2.Response) -> None:
        self.answering = True
        # Nobody asked for it packed. It stays so, and is no JSON then.
        response.headers.pop("content-encoding", None)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)


@asynccontextmanager
async def limited(http: Client, seconds: float) -> AsyncIterator[None]:
    """An exchange in the block gets `seconds` in all; what is wrong with it is an ExchangeError."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except _TooLongError:
        raise ExchangeError(Fault.TOO_LONG, answering=True) from None
    except (TimeoutError, httpx2.TimeoutException) as error:
        fault = Fault.UNREACHABLE if isinstance(error, httpx2.ConnectTimeout) else Fault.NO_ANSWER
        raise ExchangeError(fault, answering=http.answering) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, ssl.SSLError):
        raise ExchangeError(Fault.UNREACHABLE, answering=http.answering) from None


async def post(
    http: Client,
    url: str,
    document: object,
    *,
    headers: Mapping[str, str],
    seconds: float,
) -> Answered:
    """Send `document` and read the answer, whatever its status, all of it within `seconds`.

    Raises ExchangeError.
    """
    content = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    sent = {"content-type": "application/json", "accept": "application/json", **headers}
    async with limited(http, seconds):
        response = await http.post(url, content=content, headers=sent)
        return Answered(response.status_code, response.headers, response.content)
