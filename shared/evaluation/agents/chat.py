"""Chat completions through the `openai` package, within the limits of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from shared.evaluation.agents.wire import Answered, Client, limited


class Chat:
    """One endpoint. Every call is one HTTP exchange: retries are for the caller to decide."""

    def __init__(self, base_url: str, key: str, http: Client) -> None:
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
