"""`POST /functions/v1/{name}`: ask an LLM function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.responses import JSONResponse, Response

from shared.functions import asking
from shared.functions.invoking import invoke
from shared.jobs.contracts import one_line
from shared.settings import settings
from web.bodies import read_json
from web.keys import Tenant
from web.problems import Problem

T = TypeVar("T")

CLIENT_GONE: Final = 499
"For the log: there is nobody to read the answer."


class Ask(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    query: str = Field(max_length=asking.LONGEST_QUERY)
    "The question, which stands for `$query` in the prompt."
    context: dict[str, JsonValue] = {}
    "What else the prompt names; `conversation_id`, else `user_id`, says whose variant it is."
    unit_id: str | None = None
    "Whose variant it is, if the context shall not say so."


router: Final = APIRouter()


@router.post(
    "/functions/v1/{name}",
    summary="Ask an LLM function",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Ask.model_json_schema()}},
        },
        "security": [{"key": []}],
    },
)
async def ask(name: str, request: Request, tenant: Tenant) -> Response:
    """Assign the variant, ask its model, record what it took, and answer.

    `name` is the newest version, `name@version` that one.
    """
    async with _place(request):
        asked = _checked(await read_json(request, settings().web_body_bytes))
        wanted = asking.Request(name, asked.query, asked.context, asked.unit_id)
        answer = await _while_wanted(invoke(tenant, wanted), request)
    if answer is None:
        return Response(status_code=CLIENT_GONE)
    return JSONResponse(answer.to_json())


def _checked(document: Any) -> Ask:
    if not isinstance(document, dict):
        raise Problem(422, "invalid_request", "the body must be a JSON object with a `query`")
    try:
        return Ask.model_validate(document)
    except ValidationError as error:
        raise Problem(422, "invalid_request", one_line(error)) from None


@asynccontextmanager
async def _place(request: Request) -> AsyncIterator[None]:
    """One of the places of this process. Nobody queues: who finds none is told at once."""
    places: asyncio.Semaphore = request.app.state.places
    if places.locked():
        raise Problem(503, "busy", "too many requests at a time", retry_after=1)
    async with places:
        yield


async def _while_wanted(asked: Coroutine[Any, Any, T], request: Request) -> T | None:
    """What comes of `asked`; None where the client goes away before.

    A request that is broken off, by its client, its deadline or the end of this process, ends only
    once its call is recorded as far as it came. Raises 504 at the deadline.
    """
    seconds = settings().web_request_seconds
    asked_for = asyncio.create_task(asked)
    under_way: set[asyncio.Task[Any]] = request.app.state.under_way
    under_way.add(asked_for)
    asked_for.add_done_callback(under_way.discard)
    gone = asyncio.create_task(_gone(request))
    both = {asked_for, gone}
    try:
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if asked_for.done():
            return asked_for.result()
        if gone.done():
            return None
        raise Problem(
            504,
            "too_slow",
            f"no answer within {seconds:g} s, which is as long as a request may take here: the job"
            " invoke_function has more time",
        )
    finally:
        for one in both:
            one.cancel()
        await asyncio.wait(both)
        for one in both:
            # Told to nobody else, and asyncio would complain that nobody looked.
            _ = one.cancelled() or one.exception()


async def _gone(request: Request) -> None:
    """Returns when the client has gone. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
