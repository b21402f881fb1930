"""What is exported comes back as it was, and what is wrong is not taken in at all."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from shared.evaluation.custom.document import read
from shared.registry.documents import (
    DocumentError,
    LineageDocument,
    ModelsDocument,
    VersionDocument,
    as_json,
    as_yaml,
    document_of,
    parsed,
    take_in,
)
from shared.registry.lineage import Lineage
from shared.registry.models import change, register, resolve, versions
from shared.registry.tables import ModelVersion
from tests.shared.registry.conftest import Put, accepted

ODD = "../\U0001f916 'quoted\" #: - {x} 1e3 \x85\u2028 no"
ONE = {"name": "walker", "version": "1.0.0", "agent": "rule-based"}


def of(*models: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"schema_version": 1, "models": list(models)} | others


def test_what_is_exported_is_taken_in_as_it_was(session: Session, put: Put) -> None:
    parent = put(version="1.0.0", tiny=1e-7, big=2**53, whole=1.0, text=ODD, none=None)
    child = put(version="1.1.0", nested={"list": [1, True, "on", "09"]})
    run = uuid4()
    change(session, child, description=ODD, lineage=Lineage(parent.id, "d 1", "v2", (run,)))
    exported = document_of(session, [child, parent])
    assert [made.made for made in take_in(session, exported, check=accepted)] == [False, False]
    renamed = as_json(exported).replace('"walker"', '"copy"').replace("walker@", "copy@")
    made = take_in(session, parsed(json.loads(renamed)), check=accepted)
    assert [(one.made, one.version.version) for one in made] == [(True, "1.1.0"), (True, "1.0.0")]
    assert as_json(document_of(session, [one.version for one in made])) == renamed


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20
) | st.sampled_from(
    ["1e3", "09", "no", "~", "", "<", "2024-01-01", "12:30", "0x1f", "- a", "a: b", ".5", "+1", ODD]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(texts, values, max_size=4), texts)
def test_both_forms_are_the_same_data(parameters: dict[str, Any], description: str) -> None:
    document = ModelsDocument(
        models=[
            VersionDocument(**ONE, description=description, parameters=parameters),
            VersionDocument(
                **ONE | {"version": "2.0.0"}, lineage=LineageDocument(parent="w@1.0.0")
            ),
        ]
    )
    plain = document.model_dump()
    assert json.loads(as_json(document)) == plain
    assert yaml.safe_load(as_yaml(document)) == plain
    assert parsed(json.loads(as_json(document))) == document
    found = read(as_yaml(document).encode())
    assert (found.mistakes, found.data) == ([], plain)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "expected a mapping with `schema_version` and `models`"),
        ({"models": [ONE]}, "^schema_version: the document says no schema_version; this reads 1"),
        (of(ONE, schema_version=2), "^schema_version: schema version 2 is not known; this reads 1"),
        (of(ONE, schema_version=True), "schema version True is not known"),
        (of(), "^models: "),
        (of(ONE, model=[]), "^model: unknown key; near it: models"),
        (of(ONE | {"paramters": {}}), r"^models\.0\.paramters: unknown key; near it: parameters"),
        (
            of(ONE | {"lineage": {"parnt": None}}),
            r"^models\.0\.lineage\.parnt: unknown key; near it: parent",
        ),
        (of({"name": "walker"}), r"^models\.0\.version: is missing"),
        (of(ONE | {"version": 1}), r"^models\.0\.version: "),
        (of(ONE, ONE), r"^models\.1: walker@1\.0\.0 is there as models\.0 too"),
    ],
)
def test_what_is_no_document_says_where(data: object, complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        parsed(data)


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ({"version": "one"}, r"^models\.1: version 'one' is not semantic"),
        ({"name": "a" * 10_000}, r"^models\.1: model name 'a+': it must be 1 to 100"),
        ({"name": "x\n"}, r"^models\.1: model name "),
        ({"lineage": {"parent": "nobody@1.0.0"}}, r"^models\.1: no model 'nobody@1\.0\.0'"),
        ({"lineage": {"parent": "walker"}}, r"^models\.1: parent 'walker': expected name@version"),
        ({"lineage": {"parent": "runner@1.0.0"}}, r"^models\.1\.lineage\.parent: each of runner@"),
        ({"lineage": {"evaluation_runs": ["4f1c"]}}, r"^models\.1: evaluation run '4f1c' is no"),
        ({"parameters": {"text": "\x00"}}, r"^models\.1: the parameters hold a NUL"),
        ({"description": "\ud800"}, r"^models\.1: the description holds half of a character"),
    ],
)
def test_of_a_document_with_a_mistake_nothing_is_taken_in(
    session: Session, second: dict[str, Any], complaint: str
) -> None:
    document = parsed(of(ONE, {**ONE, "name": "runner"} | second))
    with pytest.raises(DocumentError, match=complaint), session.begin_nested():
        take_in(session, document, check=accepted)
    assert versions(session) == []


def test_what_is_there_as_something_else_is_refused(session: Session, put: Put) -> None:
    put(speed=1)
    for other in (
        {"parameters": {"speed": 2}},
        {"parameters": {"speed": 1}, "description": "x", "lineage": {"prompt_version": "v1"}},
    ):
        with (
            pytest.raises(DocumentError, match=r"walker@1\.0\.0 is registered with another"),
            session.begin_nested(),
        ):
            take_in(session, parsed(of(ONE | other)), check=accepted)
    session.expire_all()
    assert resolve(session, "walker").description == ""


def test_an_import_is_in_development_whatever_it_was_elsewhere(session: Session) -> None:
    [made] = take_in(session, parsed(of(ONE)), check=accepted)
    assert made.version.stage == "development"
    assert session.scalar(sa.select(sa.func.count()).select_from(ModelVersion)) == 1
    with pytest.raises(DocumentError, match="stage: unknown key"):
        parsed(of(ONE | {"stage": "production"}))


def test_what_the_caller_refuses_is_not_taken_in(session: Session) -> None:
    def refused(agent: str, parameters: object) -> None:
        raise ValueError(f"unknown agent kind {agent!r}")

    with pytest.raises(DocumentError, match=r"^models\.0: unknown agent kind 'rule-based'"):
        take_in(session, parsed(of(ONE)), check=refused)


def test_a_version_is_registered_with_its_parent_whatever_their_order(session: Session) -> None:
    child = {**ONE, "version": "2.0.0", "lineage": {"parent": "walker@1.0.0"}}
    made = take_in(session, parsed(of(child, ONE)), check=accepted)
    assert made[0].version.parent_id == made[1].version.id
    again = register(session, "walker", "1.0.0", "rule-based", {}, check=accepted)
    assert again.id == made[1].version.id
