from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.registry.errors import RegistryError
from shared.registry.lineage import UNSAID, Lineage, ancestors, children, lineage_of, said
from shared.registry.models import change, register, resolve
from shared.tenancy.tables import AuditEntry
from tests.shared.registry.conftest import Put, accepted

RUN = uuid4()


def no_run(reference: str) -> UUID:
    raise ValueError(f"no run {reference!r}")


def test_what_a_version_was_made_from_is_kept_with_it(session: Session, put: Put) -> None:
    first = put(version="1.0.0")
    lineage = said(
        lambda reference: resolve(session, reference),
        lambda reference: RUN,
        {
            "parent": "walker@1.0.0",
            "dataset_version": "production_v1.0",
            "prompt_version": "v2",
            "evaluation_runs": ["4f1c", "4f1c"],
        },
    )
    made = register(session, "walker", "1.1.0", "llm", {}, check=accepted, lineage=lineage)
    assert lineage_of(made) == Lineage(first.id, "production_v1.0", "v2", (RUN,))
    third = put(version="1.2.0")
    change(session, third, lineage=Lineage(made.id))
    assert ancestors(session, third) == [made, first]
    assert children(session, first) == [made]


def test_what_is_not_given_stays_as_it_was(session: Session) -> None:
    before = Lineage(None, "d", "p", (RUN,))
    found = said(lambda reference: resolve(session, reference), no_run, {}, before)
    assert found == before


def test_a_run_or_parent_that_is_not_there_is_refused(session: Session) -> None:
    def there(given: dict[str, object]) -> Lineage:
        return said(lambda reference: resolve(session, reference), no_run, given)

    with pytest.raises(RegistryError, match="no run '4f1c'"):
        there({"evaluation_runs": ["4f1c"]})
    with pytest.raises(RegistryError, match="no model 'walker' is registered"):
        there({"parent": "walker"})
    with pytest.raises(RegistryError, match="the prompt version ' ': it must be 1 to 200"):
        there({"prompt_version": " "})


def test_no_version_is_made_from_itself(session: Session, put: Put) -> None:
    first, second = put(version="1.0.0"), put(version="2.0.0")
    change(session, second, lineage=Lineage(first.id))
    for parent in (first, second):
        with pytest.raises(RegistryError, match=r"walker@1\.0\.0 cannot be made from walker@"):
            change(session, first, lineage=Lineage(parent.id))


def test_a_change_is_audited_once(session: Session, put: Put) -> None:
    parent, version = put(version="1.0.0"), put(version="2.0.0")
    for _ in range(2):
        change(session, version, description="better", lineage=Lineage(parent.id))
    [entry] = session.scalars(
        sa.select(AuditEntry).where(AuditEntry.action == "model.change")
    ).all()
    assert entry.subject == "walker@2.0.0"
    assert entry.details == {"description": "better", "parent_id": str(parent.id)}


def test_a_version_is_not_registered_again_with_another_lineage(session: Session) -> None:
    def again(description: str, lineage: Lineage) -> None:
        register(
            session, "walker", "1.0.0", "llm", {}, description, check=accepted, lineage=lineage
        )

    lineage = Lineage(prompt_version="v1")
    again("", lineage)
    again("said later", UNSAID)
    again("said later", lineage)
    with pytest.raises(RegistryError, match="registered with another lineage: edit that"):
        again("", Lineage(prompt_version="v2"))
    with pytest.raises(RegistryError, match="registered with another description: edit that"):
        again("another", lineage)


def test_of_two_that_close_a_circle_at_once_one_is_refused(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        for name in ("a", "b"):
            register(session, name, "1.0.0", "llm", {}, check=accepted)

    def attempt(name: str, parent: str) -> bool:
        try:
            with tenant_session(tenant) as session:
                made_from = Lineage(resolve(session, parent).id)
                change(session, resolve(session, name), lineage=made_from)
        except RegistryError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, "ab", "ba")) == [False, True]
