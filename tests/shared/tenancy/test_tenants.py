"""Tenants and keys: found by name or key, told in one line when not."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.tenancy.tables import ApiKey, AuditEntry
from shared.tenancy.tenants import (
    TenancyError,
    api_keys,
    create_api_key,
    create_tenant,
    current_tenant,
    find_tenant,
    revoke_api_key,
    tenant_of_key,
)


def test_a_tenant_is_found_by_its_name(services: object) -> None:
    name = f"named-{uuid.uuid4()}"
    created = create_tenant(name)
    assert find_tenant(name) == created


def test_a_name_is_given_once(services: object) -> None:
    name = f"twice-{uuid.uuid4()}"
    create_tenant(name)
    with pytest.raises(TenancyError, match="there is a tenant"):
        create_tenant(name)


@pytest.mark.parametrize("name", ["", "x" * 101, "line\nbreak", "nul\x00"])
def test_a_name_that_is_not_fit_is_refused(services: object, name: str) -> None:
    with pytest.raises(TenancyError, match="1 to 100 printable characters"):
        create_tenant(name)


def test_an_unknown_tenant_says_how_it_is_made(services: object) -> None:
    with pytest.raises(TenancyError, match="mlops tenant create nobody"):
        find_tenant("nobody")


def test_a_key_stands_for_its_tenant_until_it_is_revoked(
    tenant: TenantId, with_environment: Callable[..., None]
) -> None:
    with tenant_session(tenant) as session:
        key = create_api_key(session, "ci")
    assert tenant_of_key(key) == tenant
    with_environment(MLOPS_API_KEY=key)
    assert current_tenant() == tenant
    with tenant_session(tenant) as session:
        revoke_api_key(session, "ci")
    with pytest.raises(TenancyError) as refused:
        current_tenant()
    assert key not in str(refused.value)


def test_only_the_hash_of_a_key_is_stored(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        key = create_api_key(session, "ci")
    with tenant_session(tenant) as session:
        stored = session.scalars(sa.select(ApiKey)).one()
        assert key not in repr(vars(stored))
        assert key.startswith(stored.prefix)
        assert [one.name for one in api_keys(session)] == ["ci"]


def test_a_change_and_its_audit_row_are_one(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        create_api_key(session, "kept")
    with pytest.raises(RuntimeError), tenant_session(tenant) as session:
        create_api_key(session, "undone")
        raise RuntimeError("after all not")
    with tenant_session(tenant) as session:
        entries = session.execute(
            sa.select(AuditEntry.action, AuditEntry.subject).order_by(AuditEntry.id)
        ).all()
    assert [tuple(entry) for entry in entries][1:] == [("api_key.create", "kept")]


def test_revoking_what_is_not_there_is_told(tenant: TenantId) -> None:
    with (
        pytest.raises(TenancyError, match="no API key 'ghost'"),
        tenant_session(tenant) as session,
    ):
        revoke_api_key(session, "ghost")
