from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.registry.aliases import aliases, remove_alias, set_alias
from shared.registry.errors import RegistryError
from shared.registry.models import key, resolve
from shared.tenancy.tables import AuditEntry
from tests.shared.registry.conftest import Put


def test_an_alias_leads_to_one_version_and_can_be_moved(session: Session, put: Put) -> None:
    old, new = put(version="1.0.0"), put(version="2.0.0")
    assert set_alias(session, old, "champion") is None
    assert key(resolve(session, "walker@champion")) == "walker@1.0.0"
    before = set_alias(session, new, "champion")
    assert before is not None
    assert key(before) == "walker@1.0.0"
    assert key(resolve(session, "walker@champion")) == "walker@2.0.0"
    assert aliases(session) == {new.id: ["champion"]}


def test_models_have_aliases_of_their_own(session: Session, put: Put) -> None:
    one, other = put("walker"), put("runner")
    set_alias(session, one, "champion")
    set_alias(session, other, "champion")
    assert resolve(session, "walker@champion") is one
    assert resolve(session, "runner@champion") is other


def test_every_move_is_audited_and_none_that_moves_nothing(session: Session, put: Put) -> None:
    old, new = put(version="1.0.0"), put(version="2.0.0")
    for version in (old, old, new):
        set_alias(session, version, "champion")
    remove_alias(session, new, "champion")
    entries = session.scalars(
        sa.select(AuditEntry)
        .where(AuditEntry.action.in_(("model.alias", "model.unalias")))
        .order_by(AuditEntry.id)
    ).all()
    assert [(one.action, one.subject, one.details) for one in entries] == [
        ("model.alias", "walker@1.0.0", {"alias": "champion", "before": None}),
        ("model.alias", "walker@2.0.0", {"alias": "champion", "before": "walker@1.0.0"}),
        ("model.unalias", "walker@2.0.0", {"alias": "champion"}),
    ]


def test_an_alias_that_is_removed_leads_nowhere(session: Session, put: Put) -> None:
    version = put()
    set_alias(session, version, "champion")
    remove_alias(session, version, "champion")
    with pytest.raises(RegistryError, match="no model 'walker@champion' is registered"):
        resolve(session, "walker@champion")
    with pytest.raises(RegistryError, match="walker has no alias 'champion'; there is none yet"):
        remove_alias(session, version, "champion")


@pytest.mark.parametrize(
    "alias",
    ["", "1.0.0", "a b", "../x", "\U0001f916", "a" * 65, "a@b", "\x00", "production", "Latest"],
)
def test_what_could_be_taken_for_something_else_is_no_alias(
    session: Session, put: Put, alias: str
) -> None:
    with pytest.raises(RegistryError, match=r"^alias '.*"):
        set_alias(session, put(), alias)
