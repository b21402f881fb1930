from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.assignment import AssignmentError, AssignmentTable, assign
from shared.abtest.lifecycle import (
    AbTestError,
    change_weights,
    create,
    find,
    load_table,
    start,
    stop,
    table_of,
)
from shared.abtest.publishing import publish
from shared.database import TenantId, tenant_session
from shared.redis_client import ab_table_key, redis_client
from shared.registry.models import register
from shared.tenancy.tables import AuditEntry

EVEN = [
    {"name": "control", "weight": 0.5, "model": "walker@1.0.0"},
    {"name": "treatment", "weight": 0.5, "model": "walker"},
]


@pytest.fixture
def models(tenant: TenantId) -> TenantId:
    """A tenant that has walker@1.0.0 and walker@2.0.0."""
    with tenant_session(tenant) as session:
        for version in ("1.0.0", "2.0.0"):
            register(session, "walker", version, "rule-based", {}, check=lambda *_: None)
    return tenant


def begin(tenant: TenantId, name: str = "prompt") -> AssignmentTable:
    with tenant_session(tenant) as session:
        create(session, name, EVEN)
        return table_of(start(session, name))


def served(tenant: TenantId, name: str = "prompt") -> dict[str, Any] | None:
    text = redis_client().get(ab_table_key(tenant, "production", name))
    return json.loads(text) if isinstance(text, str) else None


def load(tenant: TenantId, name: str = "prompt") -> AssignmentTable:
    with tenant_session(tenant) as session:
        return load_table(session, name)


def test_a_started_test_is_served_by_redis_after_the_commit_and_not_before(
    models: TenantId,
) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        start(session, "prompt")
        assert served(models) is None
    table = served(models)
    assert table is not None
    assert (table["status"], table["version"]) == ("running", 2)
    assert load(models).to_json() == json.dumps(table)


def test_what_is_rolled_back_is_never_published(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        session.rollback()
    assert served(models) is None


def test_models_are_pinned_to_their_version(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        register(session, "walker", "3.0.0", "rule-based", {}, check=lambda *_: None)
    assert [variant.model for variant in load(models).variants] == ["walker@1.0.0", "walker@2.0.0"]


def test_redis_decides(models: TenantId) -> None:
    table = begin(models)
    swapped = json.loads(table.to_json()) | {"owners": [1, 0], "version": table.version + 1}
    key = ab_table_key(models, "production", "prompt")
    redis_client().set(key, json.dumps(swapped))
    assert assign(load(models), "unit-1") != assign(table, "unit-1")


@pytest.mark.parametrize("held", [None, "", "{", "[]", '{"version": 9}', '"text"'])
def test_a_flushed_or_spoilt_redis_is_filled_again(models: TenantId, held: str | None) -> None:
    table = begin(models)
    key = ab_table_key(models, "production", "prompt")
    redis_client().delete(key)
    if held is not None:
        redis_client().set(key, held)
    assert load(models) == table
    assert served(models) == json.loads(table.to_json())


def test_an_older_table_never_replaces_a_newer_one(models: TenantId) -> None:
    old = begin(models)
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.1, "treatment": 0.9})
    publish(models, "production", "prompt", old)
    assert load(models).version == old.version + 1


def test_without_redis_the_table_comes_from_postgresql(
    models: TenantId, with_environment: Any
) -> None:
    table = begin(models)
    with_environment(REDIS_URL="redis://127.0.0.1:1/0")
    assert load(models) == table


def test_a_change_that_redis_did_not_hear_of_is_not_lost(
    models: TenantId, monkeypatch: pytest.MonkeyPatch, with_environment: Any
) -> None:
    begin(models)
    with monkeypatch.context() as away:
        away.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        with_environment()
        with tenant_session(models) as session:
            change_weights(session, "prompt", {"control": 0.0, "treatment": 1.0})
    with_environment()
    assert {assign(load(models), f"unit-{n}").name for n in range(50)} == {"treatment"}
    table = served(models)
    assert table is not None
    assert table["version"] == 3


def test_assignment_is_the_same_for_ever_and_follows_the_weights(models: TenantId) -> None:
    table = begin(models)
    first = {f"unit-{n}": assign(table, f"unit-{n}").name for n in range(4000)}
    clean: redis.Redis = redis_client()
    clean.delete(ab_table_key(models, "production", "prompt"))
    again = load(models)
    assert all(assign(again, unit).name == variant for unit, variant in first.items())
    # Five standard deviations of a fair coin.
    assert abs(Counter(first.values())["control"] - 2000) < 5 * (4000 * 0.25) ** 0.5


def test_changed_weights_keep_every_unit_that_may_stay(models: TenantId) -> None:
    before = begin(models)
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.3, "treatment": 0.7})
    after = load(models)
    moves = Counter(
        (assign(before, unit).name, assign(after, unit).name)
        for unit in (f"unit-{n}" for n in range(2000))
    )
    assert moves["treatment", "control"] == 0
    assert abs(moves["control", "treatment"] - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("unit_id", ["", "a\x00b", "a" * 1001])
def test_a_unit_id_that_is_no_identifier_is_refused(models: TenantId, unit_id: str) -> None:
    with pytest.raises(AssignmentError, match="it must be 1 to 1000 characters without NUL"):
        assign(begin(models), unit_id)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weight": 0.6}, r"the weights sum to 1\.1; they must sum to 1"),
        ({"weight": -0.5}, r"weight -0\.5 must be"),
        ({"weight": float("nan")}, "variant 2: weight: "),
        ({"weight": "0.5"}, "variant 2: weight: "),
        ({"name": "control"}, "two variants are named 'control'"),
        ({"name": ""}, "variant 2: name: "),
        ({"color": "red"}, "variant 2: color: "),
        ({"model": "wlaker"}, r"variant 'treatment': no model 'wlaker' .* near it: walker@1"),
    ],
)
def test_variants_that_make_no_test_are_refused(
    models: TenantId, change: dict[str, Any], complaint: str
) -> None:
    with tenant_session(models) as session, pytest.raises(AbTestError, match=complaint):
        create(session, "prompt", [EVEN[0], EVEN[1] | change])


@pytest.mark.parametrize("count", [0, 1, 101])
def test_a_test_has_2_to_100_variants(session: Session, count: int) -> None:
    variants = [{"name": str(n), "weight": 1 / count, "model": "walker"} for n in range(count)]
    with pytest.raises(AbTestError, match=f"{count} variants; a test has 2 to 100"):
        create(session, "prompt", variants)


def test_names_and_environments(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        with pytest.raises(AbTestError, match="there is a test 'prompt' in 'production' already"):
            create(session, "prompt", EVEN)
        create(session, "prompt", EVEN, environment="staging")
        with pytest.raises(AbTestError, match="no A/B test 'promt' in 'production'; there is: pro"):
            find(session, "promt")
        with pytest.raises(AbTestError, match="printable"):
            create(session, "a\nb", EVEN)
        with pytest.raises(AbTestError, match="colon"):
            create(session, "prompt", EVEN, environment="a:b")
        with pytest.raises(AbTestError, match="there is only 'success'"):
            create(session, "other", EVEN, success_metric="joy")


def test_only_a_running_test_assigns(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        with pytest.raises(AbTestError, match="is draft: start it first"):
            load_table(session, "prompt")
        with pytest.raises(AbTestError, match="only a running test becomes stopped"):
            stop(session, "prompt")
        start(session, "prompt")
        assert start(session, "prompt").table_version == 2
        stop(session, "prompt")
        with pytest.raises(AbTestError, match="is stopped: it assigns no more"):
            load_table(session, "prompt")
        with pytest.raises(AbTestError, match="only a draft test becomes running"):
            start(session, "prompt")
        with pytest.raises(AbTestError, match="its weights are history"):
            change_weights(session, "prompt", {"control": 0.5, "treatment": 0.5})


def test_every_change_leaves_an_audit_row(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        start(session, "prompt")
        change_weights(session, "prompt", {"control": 0.4, "treatment": 0.6})
        stop(session, "prompt")
        entries = session.scalars(
            sa.select(AuditEntry.action)
            .where(AuditEntry.subject == "production/prompt")
            .order_by(AuditEntry.id)
        ).all()
    assert sorted(entries) == sorted(
        f"ab_test.{what}" for what in ("create", "running", "weights", "stopped")
    )


def test_weights_must_name_every_variant(models: TenantId) -> None:
    begin(models)
    for names in itertools.combinations(("control", "treatment", "third"), 2):
        if names == ("control", "treatment"):
            continue
        with (
            tenant_session(models) as session,
            pytest.raises(AbTestError, match="this test's variants are"),
        ):
            change_weights(session, "prompt", dict.fromkeys(names, 0.5))
