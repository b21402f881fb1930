"""A version goes through its stages, and what has been in production stays what it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.registry.aliases import set_alias
from shared.registry.deploying import Others, archive, deploy, deployments
from shared.registry.errors import RegistryError
from shared.registry.history import history
from shared.registry.lineage import Lineage
from shared.registry.models import change, key, register, resolve
from shared.registry.tables import ModelVersion
from tests.shared.registry.conftest import Put, accepted


def test_a_version_begins_in_development_and_is_deployed_from_there(
    session: Session, put: Put
) -> None:
    version = put()
    assert (version.stage, version.fixed_at) == ("development", None)
    done = deploy(session, version)
    assert (done.moved, done.came_from, version.stage) == (True, "development", "production")
    assert version.fixed_at is not None
    [row] = deployments(session, version)
    assert (row.target, row.came_from) == ("production", "development")
    assert row.deployed_by


def test_to_deploy_again_changes_nothing(session: Session, put: Put) -> None:
    version = put()
    deploy(session, version)
    assert not deploy(session, version).moved
    assert len(deployments(session, version)) == 1


def test_what_comes_to_production_takes_the_place_of_what_was_there(
    session: Session, put: Put
) -> None:
    old, new, other = put(version="1.0.0"), put(version="2.0.0"), put("runner")
    for version in (old, other):
        deploy(session, version)
    assert deploy(session, new).archived == (old,)
    assert (old.stage, new.stage, other.stage) == ("archived", "production", "production")


def test_what_was_in_production_may_be_kept_there(session: Session, put: Put) -> None:
    old, new = put(version="1.0.0"), put(version="2.0.0")
    deploy(session, old)
    assert deploy(session, new, others=Others.KEEP).archived == ()
    assert (old.stage, new.stage) == ("production", "production")
    assert deploy(session, new).archived == (old,)


def test_an_archived_version_goes_back_to_production(session: Session, put: Put) -> None:
    old, new = put(version="1.0.0"), put(version="2.0.0")
    deploy(session, old)
    deploy(session, new)
    assert deploy(session, old).archived == (new,)
    assert [row.came_from for row in deployments(session, old)] == ["archived", "development"]


def test_a_move_that_is_not_allowed_changes_nothing(session: Session, put: Put) -> None:
    version = put()
    deploy(session, version)
    with pytest.raises(RegistryError, match=r"^walker@1\.0\.0: a version in production cannot go"):
        deploy(session, version, "development")
    with pytest.raises(RegistryError, match="the archive is no target"):
        deploy(session, version, "archived")
    assert version.stage == "production"
    assert archive(session, version)
    assert not archive(session, version)


def test_what_has_been_in_production_never_changes(session: Session, put: Put) -> None:
    parent, version = put(version="0.9.0"), put()
    change(session, version, description="first", lineage=Lineage(parent.id, prompt_version="p1"))
    deploy(session, version)
    archive(session, version)
    for said in ({"description": "second"}, {"lineage": Lineage(parent.id, prompt_version="p2")}):
        with pytest.raises(RegistryError, match=r"walker@1\.0\.0 has been in production since"):
            change(session, version, **said)
    assert change(session, version, description="first").description == "first"


@pytest.mark.parametrize(
    "change_it",
    [
        "description = 'other'",
        "parent_id = id",
        "dataset_version = 'other'",
        "prompt_version = 'other'",
        """evaluation_runs = '["x"]'""",
    ],
)
def test_the_database_keeps_it_as_well(session: Session, put: Put, change_it: str) -> None:
    version = put()
    update = sa.text(f"UPDATE mlops.model_versions SET {change_it} WHERE id = :id")
    with session.begin_nested() as nested:
        session.execute(update, {"id": version.id})
        nested.rollback()
    deploy(session, version)
    with pytest.raises(IntegrityError, match="does not change"), session.begin_nested():
        session.execute(update, {"id": version.id})


def test_no_version_begins_in_production(session: Session, put: Put) -> None:
    version = put()
    begun = ModelVersion(
        tenant_id=version.tenant_id,
        model_id=version.model_id,
        version="2.0.0",
        agent="rule-based",
        stage="production",
    )
    with pytest.raises(IntegrityError, match="begins in development"), session.begin_nested():
        session.add(begun)
        session.flush()


def test_the_history_of_a_version_is_what_was_done_to_it(session: Session, put: Put) -> None:
    old, new = put(version="1.0.0"), put(version="2.0.0")
    set_alias(session, old, "champion")
    deploy(session, old)
    set_alias(session, new, "champion")
    deploy(session, new)
    assert [(one.action, one.subject) for one in history(session, old)] == [
        ("model.register", "walker@1.0.0"),
        ("model.alias", "walker@1.0.0"),
        ("model.deploy", "walker@1.0.0"),
        ("model.alias", "walker@2.0.0"),
        ("model.archive", "walker@1.0.0"),
    ]
    assert history(session, old)[-1].details == {
        "from": "production",
        "to": "archived",
        "replaced_by": "walker@2.0.0",
    }


def test_of_two_that_are_deployed_at_once_one_is_left(tenant: TenantId) -> None:
    names = ("1.0.0", "2.0.0", "3.0.0")
    with tenant_session(tenant) as session:
        for name in names:
            register(session, "walker", name, "rule-based", {}, check=accepted)

    def attempt(name: str) -> None:
        with tenant_session(tenant) as session:
            deploy(session, resolve(session, f"walker@{name}"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(attempt, names))
    with tenant_session(tenant) as session:
        found = [resolve(session, f"walker@{name}") for name in names]
        left = [key(one) for one in found if one.stage == "production"]
        assert len(left) == 1
        assert all(one.fixed_at is not None for one in found)
