"""Whose request it is: an API key as a bearer token (RFC 6750). The key itself is kept nowhere."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import Depends, Request

from shared.database import TenantId
from shared.tenancy.tenants import KEY_PREFIX, tenant_of_key
from web.problems import unauthorized

_LONGEST_KEY: Final = 200
_HOW: Final = "send `Authorization: Bearer KEY`; `mlops key create NAME` makes a key"


async def tenant_of_request(request: Request) -> TenantId:
    """The tenant of the request's key. Raises 401 without one, and for one that opens nothing.

    The key is looked up by its digest, so how long that takes tells nothing of a key.
    """
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        raise unauthorized(f"{'no API key' if not given else 'more than one API key'}: {_HOW}")
    scheme, _, key = given[0].partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise unauthorized(f"the authorization is no bearer token: {_HOW}")
    if not key.startswith(KEY_PREFIX) or len(key) > _LONGEST_KEY:
        # PostgreSQL need not be asked.
        raise unauthorized("the API key is unknown or was revoked")
    return await asyncio.to_thread(tenant_of_key, key)


Tenant = Annotated[TenantId, Depends(tenant_of_request)]
