from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.registry.models import RegistryError, key, register, resolve, versions
from shared.registry.tables import ModelVersion
from shared.tenancy.tables import AuditEntry


def accepted(agent: str, parameters: Mapping[str, Any]) -> None:
    """Takes every agent."""


def refused(agent: str, parameters: Mapping[str, Any]) -> None:
    raise ValueError(f"unknown agent kind {agent!r}")


def put(session: Session, name: str, version: str = "1.0.0", **parameters: Any) -> ModelVersion:
    return register(session, name, version, "rule-based", parameters, check=accepted)


def test_a_registered_version_is_found_by_name_and_version(session: Session) -> None:
    stored = put(session, "walker", "1.2.0", temperature=0.5)
    found = resolve(session, "walker@1.2.0")
    assert found is stored
    assert key(found) == "walker@1.2.0"
    assert found.parameters == {"temperature": 0.5}


def test_a_name_alone_is_the_newest_by_precedence_not_by_time(session: Session) -> None:
    for version in ("1.10.0", "1.9.0", "2.0.0-rc.1", "1.2.0"):
        put(session, "walker", version)
    assert key(resolve(session, "walker")) == "walker@2.0.0-rc.1"
    put(session, "walker", "2.0.0")
    assert key(resolve(session, "walker")) == "walker@2.0.0"


def test_the_same_again_is_the_same_row_and_one_audit_entry(session: Session) -> None:
    first = put(session, "walker", "1.0.0", steps=[1, 2], scale=1.0)
    assert put(session, "walker", "1.0.0", scale=1.0, steps=(1, 2)).id == first.id
    entries = session.scalars(
        sa.select(AuditEntry).where(AuditEntry.action == "model.register")
    ).all()
    assert [(entry.subject, entry.details["agent"]) for entry in entries] == [
        ("walker@1.0.0", "rule-based")
    ]


def test_a_version_never_changes_what_it_is(session: Session) -> None:
    put(session, "walker", "1.0.0", temperature=0)
    with pytest.raises(RegistryError, match=r"walker@1\.0\.0 is registered with another agent or"):
        put(session, "walker", "1.0.0", temperature=1)
    with pytest.raises(RegistryError, match="as a new version"):
        register(session, "walker", "1.0.0", "llm", {"temperature": 0}, check=accepted)


def test_an_agent_that_the_caller_refuses_is_not_stored(session: Session) -> None:
    with pytest.raises(RegistryError, match="unknown agent kind 'oracle'"):
        register(session, "walker", "1.0.0", "oracle", {}, check=refused)
    assert versions(session) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "1 to 100 printable"),
        ("a" * 101, "1 to 100 printable"),
        ("a\nb", "1 to 100 printable"),
        (" a", "no space at either end"),
        ("a@b", "has an @"),
    ],
)
def test_names_that_do_not_fit_are_refused(session: Session, name: str, complaint: str) -> None:
    with pytest.raises(RegistryError, match=complaint):
        put(session, name)


@pytest.mark.parametrize("value", [float("nan"), "a\x00b", {1, 2}, b"bytes"])
def test_parameters_that_are_not_json_are_refused(session: Session, value: object) -> None:
    with pytest.raises(RegistryError, match=r"^the parameters "):
        put(session, "walker", value=value)


def test_an_unknown_model_names_what_is_near(session: Session) -> None:
    with pytest.raises(RegistryError, match="no model 'walker' is registered; there is none yet"):
        resolve(session, "walker")
    put(session, "web-walker")
    put(session, "calculator")
    with pytest.raises(RegistryError, match=r"near it: web-walker@1\.0\.0$"):
        resolve(session, "web-walkr@1.0.0")
    with pytest.raises(RegistryError, match=r"near it: web-walker@1\.0\.0$"):
        resolve(session, "web-walker@9.9.9")
    with pytest.raises(RegistryError, match="there is: calculator"):
        resolve(session, "\x00")


def test_other_tenants_see_nothing(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        put(session, "walker")
    with (
        tenant_session(TenantId(UUID(int=1))) as session,
        pytest.raises(RegistryError, match="there is none yet"),
    ):
        resolve(session, "walker")


def test_registering_at_once_makes_one_version(tenant: TenantId) -> None:
    def attempt(_: int) -> UUID:
        with tenant_session(tenant) as session:
            return put(session, "walker", "1.0.0", temperature=0).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(attempt, range(8)))) == 1


def test_an_identifier_or_the_beginning_of_one_is_a_reference_too(session: Session) -> None:
    stored = put(session, "walker")
    for reference in (str(stored.id), stored.id.hex[:12], str(stored.id).upper()):
        assert resolve(session, reference) is stored
    # So short a name that is not there would too often be the beginning of an identifier.
    with pytest.raises(RegistryError, match="no model"):
        resolve(session, stored.id.hex[:3])


def test_a_name_goes_before_an_identifier_that_begins_so(session: Session) -> None:
    first = put(session, "walker")
    named = put(session, first.id.hex[:8])
    assert resolve(session, first.id.hex[:8]) is named


def test_what_begins_more_than_one_identifier_is_no_reference(session: Session) -> None:
    walker = put(session, "walker")
    for number in range(2):
        session.add(
            ModelVersion(
                id=UUID(f"abcd0000-0000-4000-8000-{number:012}"),
                tenant_id=walker.tenant_id,
                model_id=walker.model_id,
                version=f"2.0.{number}",
                agent="rule-based",
            )
        )
    session.flush()
    with pytest.raises(RegistryError, match="more than one model begins with 'abcd'"):
        resolve(session, "abcd")


def test_half_of_a_character_is_nowhere_in_a_model(session: Session) -> None:
    with pytest.raises(RegistryError, match="the parameters as JSON holds half of a character"):
        put(session, "walker", value="\ud800")
    with pytest.raises(RegistryError, match="it must be 1 to 100 printable"):
        put(session, "\ud800")
