"""Tenants and their API keys. Every change leaves an audit row in the same transaction."""

from __future__ import annotations

import getpass
import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import TenantId, system_session, tenant_of, tenant_session
from shared.settings import settings
from shared.tenancy.tables import ApiKey, AuditEntry, Tenant

KEY_PREFIX = "mlops_"
_ACTING: Final[ContextVar[str | None]] = ContextVar("acting", default=None)


class TenancyError(Exception):
    """A tenant or key that does not let in; the message is one line."""


class NameTakenError(TenancyError):
    """A tenant or key of that name is there already."""


class UnfitNameError(TenancyError):
    """A name that no tenant can have."""


class UnknownKeyError(TenancyError):
    """There is no key of that name to be revoked."""


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
    """Raises `NameTakenError`, or `UnfitNameError`."""
    if not name or len(name) > 100 or not name.isprintable():
        raise UnfitNameError("a tenant's name is 1 to 100 printable characters")
    tenant_id = TenantId(uuid4())
    try:
        with tenant_session(tenant_id) as session:
            session.add(Tenant(id=tenant_id, name=name))
            session.flush()
            audit(session, "tenant.create", name)
    except IntegrityError:
        raise NameTakenError(f"there is a tenant {name!r} already") from None
    return tenant_id


def create_api_key(session: Session, name: str) -> str:
    """A new key, shown this once: only its SHA-256 is stored. Raises `NameTakenError`."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    taken = session.scalar(sa.select(ApiKey.id).where(ApiKey.name == name))
    if taken is not None:
        raise NameTakenError(f"there is an API key {name!r} already")
    session.add(
        ApiKey(tenant_id=tenant_of(session), name=name, prefix=key[:12], key_hash=_digest(key))
    )
    audit(session, "api_key.create", name)
    return key


def revoke_api_key(session: Session, name: str) -> None:
    """Raises `UnknownKeyError`."""
    key = session.scalar(sa.select(ApiKey).where(ApiKey.name == name, ApiKey.revoked_at.is_(None)))
    if key is None:
        raise UnknownKeyError(f"no API key {name!r} that could be revoked")
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
            actor=actor(),
            action=action,
            subject=subject,
            details=dict(details or {}),
        )
    )


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """What is audited in here was done by a part of the product, and not by who runs it."""
    token = _ACTING.set(name)
    try:
        yield
    finally:
        _ACTING.reset(token)


def actor() -> str:
    """Who does this, as the audit trail has it."""
    acting = _ACTING.get()
    if acting is not None:
        return acting
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a user that has no name.
        return "unknown"


def _digest(key: str) -> bytes:
    # The key is 256 random bits: it needs no salt and no slow hash.
    return hashlib.sha256(key.encode()).digest()
