from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.assignment import Assignment, AssignmentTable, LiveTest, live
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.hashing import slot_of
from shared.abtest.kept import NOBODY_KEPT
from shared.abtest.lifecycle import (
    change_weights,
    conclude,
    create,
    find,
    force,
    pause,
    ramp,
    redefine,
    resume,
    start,
    stop,
)
from shared.abtest.publishing import Truth, publish
from shared.abtest.serving import load_test, republish
from shared.abtest.slots import slots_in
from shared.abtest.states import AbTestError
from shared.abtest.tables import AbTest
from shared.abtest.truth import table_of
from shared.database import TenantId, tenant_session
from shared.evaluation.runs import Assigned
from shared.evaluation.tables import Episode
from shared.jobs.contracts import AbSplit, RunBenchmark
from shared.redis_client import ab_index_key, ab_kept_key, ab_table_key, redis_client
from shared.registry.models import register
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import AuditEntry
from tasks.control import _chooser, make_run, republish_ab_tests

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


def served(tenant: TenantId, name: str = "prompt") -> AssignmentTable | None:
    text = redis_client().get(ab_table_key(tenant, "production", name))
    return AssignmentTable.from_text(text) if isinstance(text, str) else None


def load(tenant: TenantId, name: str = "prompt") -> LiveTest:
    with tenant_session(tenant) as session:
        return load_test(session, name)


def variant(test: LiveTest, unit_id: str) -> str:
    given: Assignment = test.assign(unit_id, {})
    assert given.variant is not None
    return given.variant.name


def test_a_started_test_is_served_by_redis_after_the_commit_and_not_before(
    models: TenantId,
) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        start(session, "prompt")
        assert served(models) is None
    table = served(models)
    assert table is not None
    assert (table.status, table.version) == ("running", 2)
    assert redis_client().hgetall(ab_index_key(models, "production")) == {"prompt": "2"}
    assert load(models).table == table


def test_what_is_rolled_back_is_never_published(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        session.rollback()
    assert served(models) is None


def test_models_are_pinned_to_their_version(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        register(session, "walker", "3.0.0", "rule-based", {}, check=lambda *_: None)
    assert [variant.model for variant in load(models).table.variants] == [
        "walker@1.0.0",
        "walker@2.0.0",
    ]


def test_redis_decides_what_it_was_given(models: TenantId) -> None:
    """It may have been given more than a transaction sees that began before."""
    table = begin(models)
    newer = replace(table, version=table.version + 1, variants=table.variants[::-1])
    publish(models, Truth("production", newer, NOBODY_KEPT))
    assert variant(load(models), "unit-1") != variant(live(table), "unit-1")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, key, table: client.delete(key),
        lambda client, key, table: client.set(key, ""),
        lambda client, key, table: client.set(key, "{"),
        lambda client, key, table: client.set(key, b"\xff\xfe\x00"),
        lambda client, key, table: client.set(key, table.to_text().replace("0.5", "0.9")),
        lambda client, key, table: client.set(key, table.to_text().partition("\n")[2]),
        lambda client, key, table: [client.delete(key), client.lpush(key, "x")],
    ],
)
def test_a_flushed_or_spoilt_redis_is_filled_again(models: TenantId, spoil: Any) -> None:
    table = begin(models)
    spoil(redis_client(), ab_table_key(models, "production", "prompt"), table)
    assert load(models).table == table
    assert served(models) == table


def test_what_redis_lost_or_missed_of_a_tenant_is_published_again(models: TenantId) -> None:
    tables = [begin(models, name) for name in ("one", "two", "three")]
    client = redis_client()
    client.delete(ab_table_key(models, "production", "one"))
    client.delete(ab_index_key(models, "production"))
    client.lpush(ab_index_key(models, "production"), "spoilt")
    with tenant_session(models) as session:
        assert republish(session) == 3
    assert [served(models, name) for name in ("one", "two", "three")] == tables
    with tenant_session(models) as session:
        assert republish(session) == 0


def test_the_timetable_publishes_what_redis_lost_of_any_tenant(models: TenantId) -> None:
    table = begin(models)
    redis_client().delete(ab_table_key(models, "production", "prompt"))
    republish_ab_tests(entry=str(models))
    assert served(models) == table


def test_a_row_that_makes_no_table_keeps_no_other_test_from_being_published(
    models: TenantId, caplog: pytest.LogCaptureFixture
) -> None:
    table = begin(models)
    begin(models, name="spoilt")
    with tenant_session(models) as session:
        session.execute(sa.update(AbTest).where(AbTest.name == "spoilt").values(moved=[[3, 1]]))
    for name in ("prompt", "spoilt"):
        redis_client().delete(ab_table_key(models, "production", name))
    with tenant_session(models) as session:
        assert republish(session) == 1
    assert served(models) == table
    assert "A/B test spoilt cannot be published: the ranges are not rising" in caplog.text


def test_an_older_table_never_replaces_a_newer_one(models: TenantId) -> None:
    old = begin(models)
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.1, "treatment": 0.9})
    publish(models, Truth("production", old, NOBODY_KEPT))
    assert load(models).table.version == old.version + 1


def test_without_redis_the_table_comes_from_postgresql(
    models: TenantId, with_environment: Any
) -> None:
    table = begin(models)
    with_environment(REDIS_URL="redis://127.0.0.1:1/0")
    assert load(models).table == table


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
    assert {variant(load(models), f"unit-{n}") for n in range(5)} == {"treatment"}
    table = served(models)
    assert table is not None
    assert table.version == 3


def test_assignment_is_the_same_for_ever_and_follows_the_weights(models: TenantId) -> None:
    table = live(begin(models))
    first = {f"unit-{n}": variant(table, f"unit-{n}") for n in range(4000)}
    redis_client().delete(ab_table_key(models, "production", "prompt"))
    again = load(models)
    assert all(variant(again, unit) == given for unit, given in first.items())
    # Five standard deviations of a fair coin.
    assert abs(Counter(first.values())["control"] - 2000) < 5 * (4000 * 0.25) ** 0.5


def test_changed_weights_keep_every_unit_that_may_stay(models: TenantId) -> None:
    before = live(begin(models))
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.3, "treatment": 0.7})
    after = load(models)
    moves = Counter(
        (variant(before, unit), variant(after, unit)) for unit in (f"unit-{n}" for n in range(2000))
    )
    assert moves["treatment", "control"] == 0
    assert abs(moves["control", "treatment"] - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_a_ramp_keeps_the_weights_and_takes_units_from_nobody(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN, coverage=0.01)
        start(session, "prompt")
        first = table_of(find(session, "prompt"))
        assert first.slots.ranges_of(1) == ((5000, 5050),)
        ramp(session, "prompt", 0.5)
        second = table_of(find(session, "prompt"))
        assert [second.slots.ranges_of(n) for n in (0, 1)] == [((0, 2500),), ((5000, 7500),)]
        assert (second.rules.coverage, second.slots.moved) == (0.5, ())
        ramp(session, "prompt", 0.25)
        third = table_of(find(session, "prompt"))
        assert third.slots.moved == ((1250, 2500), (6250, 7500))
        with pytest.raises(AbTestError, match=r"coverage 1\.5 must be a number from 0 to 1"):
            ramp(session, "prompt", 1.5)


def test_units_that_have_met_a_variant_of_a_sticky_test_are_published_before_the_table(
    models: TenantId,
) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN, sticky=True)
        start(session, "prompt")
    job = RunBenchmark(tasks=("click-test",), seeds=tuple(range(60)), ab=AbSplit(test="prompt"))
    with tenant_session(models) as session:
        make_run(session, job)
        met = {row.unit_id: row.variant for row in session.scalars(sa.select(Exposure))}
        names = session.scalars(sa.select(Episode.unit_id)).all()
    assert {unit_digest(str(name)) for name in names} == met.keys()
    assert len(met) == 60
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.2, "treatment": 0.8})
        table = table_of(find(session, "prompt"))

    def given() -> dict[UUID, str]:
        with tenant_session(models) as session:
            test = load_test(session, "prompt")
            return {unit_digest(unit): variant(test, unit) for unit in names}

    assert given() == met
    moved = {unit for unit in names if slot_of("prompt", unit) in slots_in(table.slots.moved)}
    assert moved
    published = served(models)
    assert published is not None
    assert published.kept is not None
    key = ab_kept_key(models, published.kept)
    assert redis_client().exists(key)
    assert redis_client().ttl(key) == -1
    # Redis lost them: they are derived again.
    redis_client().delete(key)
    with tenant_session(models) as session:
        assert republish(session) == 1
    assert redis_client().exists(key)
    # Whatever changes next: the table goes on naming them. Of no use any more, they run out.
    with tenant_session(models) as session:
        pause(session, "prompt")
        resume(session, "prompt")
    assert given() == met
    with tenant_session(models) as session:
        change_weights(session, "prompt", {"control": 0.5, "treatment": 0.5})
    again = served(models)
    assert again is not None
    assert again.kept != published.kept
    assert redis_client().ttl(key) > 0
    assert given() == met


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weight": 0.6}, r"the weights sum to 1\.1; they must sum to 1"),
        ({"weight": -0.5}, r"weight -0\.5 must be"),
        ({"weight": float("nan")}, r"variants\.1\.weight: "),
        ({"weight": "0.5"}, r"variants\.1\.weight: "),
        ({"name": "control"}, "two variants are named 'control'"),
        ({"name": ""}, r"variants\.1\.name: "),
        ({"color": "red"}, r"variants\.1\.color: "),
        ({"model": "wlaker"}, r"variant 'treatment': no model 'wlaker' .* near it: walker@1"),
    ],
)
def test_variants_that_make_no_test_are_refused(
    models: TenantId, change: dict[str, Any], complaint: str
) -> None:
    with tenant_session(models) as session, pytest.raises(AbTestError, match=complaint):
        create(session, "prompt", [EVEN[0], EVEN[1] | change])


@pytest.mark.parametrize("count", [0, 1, 101, 1000])
def test_a_test_has_2_to_100_variants(session: Session, count: int) -> None:
    variants = [
        {"name": str(n), "weight": 1 / max(count, 1), "model": "walker"} for n in range(count)
    ]
    with pytest.raises(AbTestError, match=f"{count} variants; a test has 2"):
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
        with pytest.raises(AbTestError, match="success_metric: "):
            create(session, "other", EVEN, success_metric="two words")


def test_only_a_running_test_assigns(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        with pytest.raises(AbTestError, match="it is draft: start it first"):
            load_test(session, "prompt")
        with pytest.raises(
            AbTestError, match="it is draft; stop takes a test that is running or paused"
        ):
            stop(session, "prompt")
        start(session, "prompt")
        assert start(session, "prompt").table_version == 2
        stop(session, "prompt")
        with pytest.raises(AbTestError, match="it is stopped: it assigns no more"):
            load_test(session, "prompt")
        with pytest.raises(AbTestError, match="it is stopped; start takes a test that is draft"):
            start(session, "prompt")
        with pytest.raises(AbTestError, match="its weights are history"):
            change_weights(session, "prompt", {"control": 0.5, "treatment": 0.5})


def test_every_change_leaves_an_audit_row(models: TenantId) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        redefine(session, {"name": "prompt", "variants": EVEN, "coverage": 0.5})
        start(session, "prompt")
        change_weights(session, "prompt", {"control": 0.4, "treatment": 0.6})
        ramp(session, "prompt", 1.0)
        force(session, "prompt", {"tester": "treatment"})
        pause(session, "prompt")
        resume(session, "prompt")
        conclude(session, "prompt", "treatment")
        stop(session, "prompt")
        entries = session.execute(
            sa.select(AuditEntry.action, AuditEntry.details)
            .where(AuditEntry.subject == "production/prompt")
            .order_by(AuditEntry.id)
        ).all()
    steps = ("create", "redefine", "running", "weights", "ramp", "force", "paused", "running",
             "concluded", "stopped")  # fmt: skip
    assert [entry.action for entry in entries] == [f"ab_test.{step}" for step in steps]
    assert [entry.details["table_version"] for entry in entries[1:]] == list(range(2, 11))
    assert entries[-2].details["winner"] == "treatment"


def test_when_it_began_and_ended_and_its_split_changed_stands_in_its_row(models: TenantId) -> None:
    other = {"control": 0.4, "treatment": 0.6}
    with tenant_session(models) as session:
        create(session, "prompt", EVEN)
        test = change_weights(session, "prompt", other)
        assert (test.began_at, test.split_changed_at, test.ended_at) == (None, None, None)
        began = start(session, "prompt").began_at
        assert began is not None
        pause(session, "prompt")
        assert change_weights(session, "prompt", other).split_changed_at is None
        changed = change_weights(session, "prompt", {"control": 0.3, "treatment": 0.7})
        first = changed.split_changed_at
        assert first is not None
        assert first >= began
        resume(session, "prompt")
        change_weights(session, "prompt", other)
        ended = conclude(session, "prompt", "treatment").ended_at
        assert ended is not None
        assert ended >= first
        # That its winner is served no more makes nothing of it again.
        test = stop(session, "prompt")
        assert (test.began_at, test.split_changed_at, test.ended_at) == (began, first, ended)


def test_what_units_have_met_is_not_edited(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        before = table_of(find(session, "prompt"))
        with pytest.raises(AbTestError, match="it is running, and its definition is fixed"):
            redefine(session, {"name": "prompt", "variants": EVEN, "coverage": 0.5})
        assert table_of(find(session, "prompt")) == before


def test_of_two_who_change_at_once_the_second_is_told(models: TenantId) -> None:
    table = begin(models)
    read = table.version
    with tenant_session(models) as session:
        ramp(session, "prompt", 0.5, expected_version=read)
    for change in (
        lambda s: change_weights(
            s, "prompt", {"control": 0.1, "treatment": 0.9}, expected_version=read
        ),
        lambda s: pause(s, "prompt", expected_version=read),
        lambda s: conclude(s, "prompt", "control", expected_version=read),
    ):
        with (
            tenant_session(models) as session,
            pytest.raises(AbTestError, match=f"version {read} was read, and it is {read + 1} now"),
        ):
            change(session)
    with tenant_session(models) as session:
        assert table_of(find(session, "prompt")).version == read + 1


def test_of_two_who_conclude_at_once_one_wins_and_nothing_is_half_written(
    models: TenantId,
) -> None:
    begin(models)
    told: list[str] = []
    together = threading.Barrier(2)

    def end_with(winner: str) -> None:
        together.wait()
        try:
            with tenant_session(models) as session:
                conclude(session, "prompt", winner)
        except AbTestError as error:
            told.append(str(error))

    threads = [threading.Thread(target=end_with, args=(w,)) for w in ("control", "treatment")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with tenant_session(models) as session:
        test = find(session, "prompt")
        assert (test.status, test.table_version) == ("concluded", 3)
        assert told == [
            f"test 'prompt' in 'production': it is concluded already, and {test.winner!r} is its"
            " winner"
        ]
        assert conclude(session, "prompt", str(test.winner)).table_version == 3
        with pytest.raises(AbTestError, match="it is concluded: it takes no part"):
            ramp(session, "prompt", 0.1)
        with pytest.raises(AbTestError, match="no variant 'nobody'; there is: control, treatment"):
            conclude(session, "prompt", "nobody")


def test_forced_units_are_added_and_let_go(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        force(session, "prompt", {"one": "treatment", "two": "control"})
        force(session, "prompt", {"one": None, "two": "treatment"})
        assert table_of(find(session, "prompt")).rules.forced == {"two": "treatment"}
        with pytest.raises(AbTestError, match="no variant 'x'; there is: control, treatment"):
            force(session, "prompt", {"one": "x"})
        with pytest.raises(AbTestError, match="unit id '' of 0 characters"):
            force(session, "prompt", {"": "control"})


def test_variants_need_not_be_models_unless_they_are_to_be_evaluated(session: Session) -> None:
    create(session, "words", [{"name": n, "weight": 0.5} for n in ("standard", "concise")])
    start(session, "words")
    assert session.scalars(sa.select(AbTest)).one().variants[0]["model"] is None
    with pytest.raises(AbTestError, match="'standard' of test 'words' names no model"):
        _chooser(ExposureBuffer(), session, AbSplit(test="words"))


def test_a_run_is_not_split_by_a_test_that_is_concluded(models: TenantId) -> None:
    begin(models)
    with tenant_session(models) as session:
        conclude(session, "prompt", "treatment")
        with pytest.raises(AbTestError, match="evaluate the model of its winner, 'treatment'"):
            _chooser(ExposureBuffer(), session, AbSplit(test="prompt"))


def test_a_unit_that_takes_no_part_is_evaluated_with_the_control_and_counts_for_nobody(
    models: TenantId,
) -> None:
    with tenant_session(models) as session:
        create(session, "prompt", EVEN, coverage=0.0)
        start(session, "prompt")
        given = _chooser(ExposureBuffer(), session, AbSplit(test="prompt"))("unit")
    assert given == Assigned(None, "walker@1.0.0")


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
