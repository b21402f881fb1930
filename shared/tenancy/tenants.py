"""Tenants and their API keys. Every change leaves an audit row in the same transaction."""

from __future__ import annotations

import getpass
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_of, tenant_session
from shared.settings import settings
from shared.tenancy.tables import ApiKey, AuditEntry, Tenant

KEY_PREFIX = "mlops_"


class TenancyError(Exception):
    """A tenant or key is not there, or is there already; the message is one line."""


def current_tenant() -> TenantId:
    """The tenant of this process: of `MLOPS_API_KEY` if there is one, else of `MLOPS_TENANT`."""
    key = settings().api_key
    if key is not None:
        return tenant_of_key(key.get_secret_value())
    return find_tenant(settings().tenant)


def find_tenant(name: str) -> TenantId:
    """Raises `TenancyError` when there is none of that name."""
    with system_session() as session:
        found = session.scalar(sa.select(sa.func.mlops.tenant_id_by_name(name)))
    if found is None:
        raise TenancyError(f"no tenant {name!r}: `mlops tenant create {name}` makes it")
    return TenantId(found)


def create_tenant(name: str) -> TenantId:
    """Raises `TenancyError` when the name is taken or not fit."""
    if not name or len(name) > 100 or not name.isprintable():
        raise TenancyError("a tenant's name is 1 to 100 printable characters")
    tenant_id = TenantId(uuid4())
    try:
        with tenant_session(tenant_id) as session:
            session.add(Tenant(id=tenant_id, name=name))
            session.flush()
            audit(session, "tenant.create", name)
    except IntegrityError:
        raise TenancyError(f"there is a tenant {name!r} already") from None
    return tenant_id


def create_api_key(session: Session, name: str) -> str:
    """A new key, shown this once: only its SHA-256 is stored."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    taken = session.scalar(sa.select(ApiKey.id).where(ApiKey.name == name))
    if taken is not None:
        raise TenancyError(f"there is an API key {name!r} already")
    session.add(
        ApiKey(tenant_id=tenant_of(session), name=name, prefix=key[:12], key_hash=_digest(key))
    )
    audit(session, "api_key.create", name)
    return key


def revoke_api_key(session: Session, name: str) -> None:
    key = session.scalar(sa.select(ApiKey).where(ApiKey.name == name, ApiKey.revoked_at.is_(None)))
    if key is None:
        raise TenancyError(f"no API key {name!r} that could be revoked")
    key.revoked_at = session.scalar(sa.select(sa.func.now()))
    audit(session, "api_key.revoke", name)


def api_keys(session: Session) -> Sequence[ApiKey]:
    return session.scalars(sa.select(ApiKey).order_by(ApiKey.created_at)).all()


def tenant_of_key(key: str) -> TenantId:
    """Raises `TenancyError`, without the key, when it is unknown or revoked."""
    with system_session() as session:
        found = session.scalar(sa.select(sa.func.mlops.tenant_id_by_key(_digest(key))))
    if found is None:
        raise TenancyError("the API key is unknown or was revoked")
    return TenantId(found)


def audit(
    session: Session, action: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Who changed what, in the transaction of the change."""
    session.add(
        AuditEntry(
            tenant_id=tenant_of(session),
            actor=_actor(),
            action=action,
            subject=subject,
            details=dict(details or {}),
        )
    )


def _actor() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a user that has no name.
        return "unknown"


def _digest(key: str) -> bytes:
    # The key is 256 random bits: it needs no salt and no slow hash.
    return hashlib.sha256(key.encode()).digest()
