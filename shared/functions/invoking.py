"""One request from its caller to its answer."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from shared.database import TenantId, tenant_session
from shared.functions.asking import Answered, Asking, Prepared, Request, prepare
from shared.functions.recording import Invocation, answer_of, record


async def invoke(tenant_id: TenantId, request: Request) -> Invocation:
    """Ask a function, record what it took, and return its answer.

    Raises `FunctionError` for what cannot be asked and `NoAnswerError` where neither the variant
    nor the fallback answers. A call whose caller goes away is recorded as far as it came.
    """
    prepared = await asyncio.to_thread(_prepared, tenant_id, request, uuid4())
    asking = Asking(prepared)
    try:
        answered = await asking.answer()
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(_recorded, prepared, asking.so_far()))
        raise
    return answer_of(await asyncio.to_thread(_recorded, prepared, answered), answered)


def _prepared(tenant_id: TenantId, request: Request, call: UUID) -> Prepared:
    with tenant_session(tenant_id) as session:
        return prepare(session, request, call)


def _recorded(prepared: Prepared, answered: Answered) -> Invocation:
    with tenant_session(prepared.tenant_id) as session:
        return record(session, prepared, answered)
