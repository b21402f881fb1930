"""Versions of functions in PostgreSQL: numbered, audited, walled."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest import lifecycle
from shared.database import tenant_session
from shared.functions.definition import FunctionError, UnknownFunctionError, parse
from shared.functions.registering import create, find, functions, remove
from shared.registry.models import register
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant

VARIANT = {"name": "short", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": None}


def defined(**more):
    return parse({"name": "insight", "variants": [VARIANT], **more})


def test_a_change_is_the_next_version_and_the_same_is_none(session: Session) -> None:
    first = create(session, defined())
    assert (first.key, create(session, defined()).version) == ("insight@1", 1)
    assert create(session, defined(description="clearer")).version == 2
    assert find(session, "insight").version == 2
    assert find(session, "insight@1").definition == defined()
    assert [one.key for one in functions(session)] == ["insight@2"]
    actions = session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["tenant.create", "function.create", "function.create"]


def test_what_is_removed_is_not_found_and_its_number_is_not_given_again(session: Session) -> None:
    create(session, defined())
    create(session, defined(description="clearer"))
    with pytest.raises(FunctionError, match="removed with all versions: insight"):
        remove(session, "insight@1")
    assert remove(session, "insight") == 2
    for name in ("insight", "insight@1"):
        with pytest.raises(UnknownFunctionError, match="there is: none yet"):
            find(session, name)
    assert create(session, defined()).version == 3
    last = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()[-2]
    assert (last.action, last.subject, last.details) == (
        "function.remove", "insight", {"versions": [1, 2]}
    )  # fmt: skip


@pytest.mark.parametrize("name", ["other", "insight@", "insight@x", "insight@2", "a\x00b", "@1"])
def test_what_is_not_there_is_told_with_what_is(session: Session, name: str) -> None:
    create(session, defined())
    with pytest.raises(UnknownFunctionError, match="there is: insight"):
        find(session, name)


def test_another_tenant_has_none_of_it(session: Session) -> None:
    create(session, defined())
    with tenant_session(create_tenant(f"other-{uuid.uuid4()}")) as other:
        assert functions(other) == []
        assert create(other, defined()).version == 1


def test_the_tests_variants_must_be_the_functions(session: Session) -> None:
    with pytest.raises(FunctionError, match="test: no A/B test 'choice'"):
        create(session, defined(test={"test": "choice"}))
    register(session, "agent", "1.0.0", "rule-based", {}, check=lambda *_: None)
    lifecycle.create(
        session,
        "choice",
        [{"name": name, "weight": 0.5, "model": "agent"} for name in ("short", "long")],
    )
    with pytest.raises(FunctionError, match="variants that the function has not: long"):
        create(session, defined(test={"test": "choice"}))
    both = [VARIANT, VARIANT | {"name": "long"}]
    assert create(session, defined(variants=both, test={"test": "choice"})).version == 1


def test_a_key_goes_only_where_the_operator_lets_it(session: Session) -> None:
    elsewhere = VARIANT | {"base_url": "https://elsewhere.example/v1", "api_key_env": "SOME_KEY"}
    with pytest.raises(FunctionError, match=r"variant 'short': the key in SOME_KEY may not go to"):
        create(session, defined(variants=[elsewhere]))
