"""Chat completions through the `openai` package, within the limits of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from shared.evaluation.agents.keys import OPENAI_KEY
from shared.evaluation.agents.wire import Answered, Client, limited


class Chat:
    """One endpoint. Every call is one HTTP exchange: retries are for the caller to decide.

    `variable` is where the key was found. The package takes an organization, a project and
    headers from the environment; these go where `OPENAI_API_KEY` goes and nowhere else.
    """

    def __init__(self, base_url: str, key: str, http: Client, *, variable: str | None) -> None:
        self._http = http
        self._headers = {} if key else {"Authorization": openai.Omit()}
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            # It insists on a key; an endpoint without one is sent no header.
            api_key=key or "none",
            max_retries=0,
            timeout=http.timeout,
            http_client=http,
        )
        if not key or variable != OPENAI_KEY:
            self._client.organization = self._client.project = None
            # By `OPENAI_CUSTOM_HEADERS`: there is no other way to have it without them.
            self._client._custom_headers = {}

    async def complete(self, document: Mapping[str, Any], seconds: float) -> Answered:
        """The answer to a request, whatever its status. Raises ExchangeError.

        The package would take any body for a completion, so the caller validates it.
        """
        async with limited(self._http, seconds):
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    **document, extra_headers=self._headers
                )
            except openai.APIStatusError as error:
                response = error.response
                return Answered(response.status_code, response.headers, response.content)
            except openai.APIConnectionError as error:
                # What the wire said of it, which the package wraps.
                raise error.__cause__ or error from None
            return Answered(raw.status_code, raw.headers, raw.content)

    async def close(self) -> None:
        await self._client.close()
