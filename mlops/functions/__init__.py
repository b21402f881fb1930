"""LLM functions from Python.

from mlops import functions

answer = await functions.invoke("ai-generate-insight", query="Why?", context={"plan": "free"})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.database import TenantId
    from shared.functions.recording import Invocation
    from shared.functions.registering import Registered


async def invoke(
    name: str,
    *,
    query: str,
    context: Mapping[str, Any] | None = None,
    unit_id: str | None = None,
    tenant_id: TenantId | None = None,
) -> Invocation:
    """Ask a function, `name` for its newest version or `name@version`, and return its answer.

    `context` holds what its prompt names besides the query. The variant is that of `unit_id`, else
    of the context's `conversation_id` or `user_id`, else a lot of its own for each call. The tenant
    is that of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given.

    Raises `FunctionError` for what cannot be asked, and its `NoAnswerError` where neither the
    variant nor the fallback answers.
    """
    import asyncio

    from shared.functions.asking import Request
    from shared.functions.invoking import invoke as ask
    from shared.tenancy.tenants import current_tenant

    tenant = tenant_id or await asyncio.to_thread(current_tenant)
    return await ask(tenant, Request(name, query, {} if context is None else context, unit_id))


def create(definition: Mapping[str, Any], *, tenant_id: TenantId | None = None) -> Registered:
    """Store a function as its next version; the same as its newest one again returns that one.

    Raises `FunctionError`, which says in one line what is wrong.
    """
    from shared.database import tenant_session
    from shared.functions import registering
    from shared.functions.definition import parse
    from shared.tenancy.tenants import current_tenant

    parsed = parse(dict(definition))
    with tenant_session(tenant_id or current_tenant()) as session:
        return registering.create(session, parsed)
