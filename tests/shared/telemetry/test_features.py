"""Features: registered once, written as they become known, and read as of a time."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.telemetry.features import reading
from shared.telemetry.features.built_in import BY_NAME, MONITORED
from shared.telemetry.features.definitions import (
    DataType,
    Feature,
    Source,
    SourceKind,
    UnfitFeatureError,
    UnknownFeatureError,
    Value,
)
from shared.telemetry.features.reading import Knowledge, read_as_of, read_latest
from shared.telemetry.features.registering import (
    features,
    find_features,
    register_feature,
    versions,
)
from shared.telemetry.features.watching import unwatch, watch, watched_features
from shared.telemetry.features.writing import UnfitRowError, Written, write_values
from shared.telemetry.metrics import MONITORED as EVERYTHING
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant
from tests.shared.canaries import CANARIES, SECRETS

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def register(session: Session, name: str = "basket", **changes: Any) -> Feature:
    definition: dict[str, Any] = {
        "data_type": DataType.NUMBER,
        "source": Source.parse("nightly sum of the orders"),
        "owner": "shop",
        "description": "What is in the basket.",
    }
    return register_feature(session, name, **(definition | changes))


def audited(session: Session, action: str) -> Sequence[str]:
    return session.scalars(
        sa.select(AuditEntry.subject).where(AuditEntry.action == action).order_by(AuditEntry.id)
    ).all()


def value_as_of(session: Session, time: datetime, **how: Any) -> Value | None:
    (found,) = read_as_of(session, ["basket"], [("ann", time)], **how)
    return found.values["basket"]


# What features there are


def test_every_monitored_metric_is_a_feature_of_every_tenant(session: Session) -> None:
    assert {feature.name for feature in features(session)} == set(EVERYTHING)
    for feature in MONITORED:
        assert (feature.owner, feature.version, feature.unit != "") == ("mlops", 1, True)
        assert feature.description.endswith(".")
        assert feature.source == Source(SourceKind.ROLLUP, feature.name)


def test_the_same_feature_again_is_the_one_that_is_there(session: Session) -> None:
    first = register(session)
    assert (first.key, first.data_type, first.owner) == ("basket@1", DataType.NUMBER, "shop")
    assert register(session) == first
    assert audited(session, "feature.register") == ["basket@1"]


def test_a_change_is_a_new_version_and_the_old_one_stays(session: Session) -> None:
    first = register(session)
    second = register(session, unit="items")
    assert (second.key, second.unit) == ("basket@2", "items")
    assert versions(session, "basket") == (first, second)
    assert features(session)[len(MONITORED) :] == (second,)
    assert find_features(session, ["basket", "basket@1"]) == (second, first)
    assert audited(session, "feature.register") == ["basket@1", "basket@2"]


def test_what_is_registered_cannot_be_changed(tenant: TenantId) -> None:
    for statement in (
        "UPDATE mlops.feature_store SET unit = ''",
        "UPDATE mlops.feature_values SET number_value = 1",
        "DELETE FROM mlops.feature_values",
    ):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            tenant_session(tenant) as session,
        ):
            session.execute(sa.text(statement))


def test_a_feature_of_another_tenant_is_not_there(session: Session) -> None:
    register(session)
    with tenant_session(create_tenant(f"other-{uuid.uuid4()}")) as other:
        assert features(other) == MONITORED
        with pytest.raises(UnknownFeatureError, match="no feature 'basket'"):
            write_values(other, "basket", [], NOON)


@pytest.mark.parametrize("name", ["", "1st", "a b", "a@1", "a\x00", "ä", "a" * 101])
def test_a_name_is_letters_digits_and_little_else(session: Session, name: str) -> None:
    with pytest.raises(UnfitFeatureError, match="letters, digits"):
        register(session, name)
    with pytest.raises(UnknownFeatureError):
        find_features(session, [name])
    with pytest.raises(UnknownFeatureError):
        versions(session, name)


def test_what_comes_with_the_product_is_neither_registered_nor_written_nor_read(
    session: Session,
) -> None:
    with pytest.raises(UnfitFeatureError, match="comes with the product"):
        register(session, "tokens")
    with pytest.raises(UnfitFeatureError, match="in the rollups"):
        write_values(session, "tokens", [("ann", NOON, 1)], NOON)
    with pytest.raises(UnfitFeatureError, match="tokens: measured from events"):
        read_latest(session, ["tokens"], ["ann"])


def test_a_feature_that_is_not_there_is_told_with_near_names(session: Session) -> None:
    register(session)
    with pytest.raises(UnknownFeatureError, match="near it: basket"):
        find_features(session, ["baskets"])
    with pytest.raises(UnknownFeatureError, match="the newest is basket@1"):
        find_features(session, ["basket@2"])
    with pytest.raises(UnknownFeatureError, match="the newest is basket@1"):
        find_features(session, ["basket@01"])


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("rollup:tokens", SourceKind.ROLLUP, "tokens"),
        ("event:llm_call.query_length", SourceKind.EVENT, "llm_call.query_length"),
        ("event:action.attributes.retries", SourceKind.EVENT, "action.attributes.retries"),
        ("query: orders of the last week", SourceKind.QUERY, "orders of the last week"),
        ("see SELECT a FROM b", SourceKind.QUERY, "see SELECT a FROM b"),
    ],
)
def test_a_source_is_of_rollups_or_events_or_a_query_in_words(
    text: str, kind: SourceKind, name: str
) -> None:
    assert Source.parse(text) == Source(kind, name)
    assert Source.parse(str(Source.parse(text))) == Source(kind, name)


@pytest.mark.parametrize(
    "text", ["rollup:speed", "event:call.x", "event:llm_call.speed", "event:llm_call"]
)
def test_a_source_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(UnfitFeatureError, match=r"no (metric|kind of event|field) .*; expected"):
        Source.parse(text)


@pytest.mark.parametrize(
    "change",
    [{"owner": " "}, {"description": ""}, {"description": "a" * 2001}, {"unit": "a" * 21},
     {"owner": "a\x00"}, {"source": Source(SourceKind.QUERY, "")}],
)  # fmt: skip
def test_the_texts_of_a_feature_are_there_and_bounded(
    session: Session, change: dict[str, Any]
) -> None:
    with pytest.raises(UnfitFeatureError, match="printable ones"):
        register(session, **change)


def test_no_secret_is_stored(session: Session) -> None:
    register(session, "notes", data_type=DataType.TEXT)
    for number, (kind, text) in enumerate(CANARIES.items()):
        register(session, description=text, source=Source(SourceKind.QUERY, text))
        write_values(session, "notes", [(f"e{number}", NOON, text)], NOON)
        # Shown as one, entities would become one.
        with pytest.raises(UnfitRowError, match=r"looks like a secret|printed") as refused:
            write_values(session, "notes", [(text, NOON, "x")], NOON)
        assert SECRETS[kind] not in str(refused.value)
    session.flush()
    for table in ("feature_store", "feature_values", "audit_log"):
        stored = str(session.execute(sa.text(f"SELECT * FROM mlops.{table}")).all())
        assert [kind for kind, secret in SECRETS.items() if secret in stored] == []


# Writing


def test_thousands_of_values_are_written_in_one_call(session: Session) -> None:
    register(session)
    rows = [(f"e{n % 5000}", NOON + n // 5000 * HOUR, n) for n in range(25_000)]
    later = NOON + 24 * HOUR
    assert write_values(session, "basket", rows, later) == Written(25_000, 0)
    assert write_values(session, "basket", rows, later) == Written(0, 25_000)
    found = read_latest(session, ["basket"], ["e0", "e4999"])
    assert [one.values["basket"] for one in found] == [20_000, 24_999]


@pytest.mark.parametrize(
    ("data_type", "fit", "unfit"),
    [
        (DataType.NUMBER, [0, -1.5, 2**53, np.int64(3), np.float32(0.5)],
         [True, "1", None, math.nan, math.inf, 2**53 + 1, [1]]),
        (DataType.TEXT, ["", "ä", "a\nb"], [1, None, "\x00", "\ud800", "a" * 10_001]),
        (DataType.BOOLEAN, [True, False], [1, "true", None]),
    ],
)  # fmt: skip
def test_a_value_is_of_its_features_type(
    session: Session, data_type: DataType, fit: list[Any], unfit: list[Any]
) -> None:
    register(session, data_type=data_type)
    for value in fit:
        write_values(session, "basket", [("ann", NOON, value)], NOON)
        (found,) = read_latest(session, ["basket"], ["ann"])
        assert found.values == {"basket": value}
    for value in unfit:
        with pytest.raises(UnfitRowError, match=r"^row 2: "):
            write_values(session, "basket", [("bob", NOON, fit[0]), ("bob", NOON, value)], NOON)
    (found,) = read_latest(session, ["basket"], ["bob"])
    assert found.values == {"basket": None}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", NOON, 1), "1 to 200 characters"),
        (("a" * 201, NOON, 1), "1 to 200 characters"),
        (("a\x00", NOON, 1), "cannot be printed"),
        ((7, NOON, 1), "an entity is a text"),
        (("ann", NOON.replace(tzinfo=None), 1), "time zone"),
        (("ann", "2026-03-04", 1), "expected a datetime"),
        (("ann", NOON + 2 * HOUR, 1), "in the future"),
        (("ann", datetime(1, 1, 1, tzinfo=timezone(HOUR)), 1), "out of range"),
        (("ann", datetime(1899, 12, 31, tzinfo=UTC), 1), "before 1900"),
        (("ann", NOON), "an entity, an event time and a value"),
    ],
)
def test_a_row_that_is_not_fit_is_named_and_nothing_is_written(
    session: Session, row: Any, reason: str
) -> None:
    register(session)
    with pytest.raises(UnfitRowError, match=reason) as refused:
        write_values(session, "basket", [("ann", NOON, 1), row], NOON)
    assert refused.value.row == 2
    assert value_as_of(session, NOON) is None


def test_a_value_written_again_takes_the_place_of_the_one_before(session: Session) -> None:
    register(session)
    for value, stored in ((1, 1), (1, 0), (2, 1), (1, 1)):
        assert write_values(session, "basket", [("ann", NOON, value)], NOON).stored == stored
        assert value_as_of(session, NOON) == value
    # Of two in one call the later one counts.
    write_values(session, "basket", [("ann", NOON, 8), ("ann", NOON, 9)], NOON)
    assert value_as_of(session, NOON) == 9


def test_a_correction_counts_also_by_a_clock_that_is_behind(session: Session) -> None:
    register(session)
    write_values(session, "basket", [("ann", NOON, 1)], NOON + HOUR)
    write_values(session, "basket", [("ann", NOON, 2)], NOON)
    assert value_as_of(session, NOON) == 2


def test_versions_have_values_of_their_own(session: Session) -> None:
    register(session)
    write_values(session, "basket", [("ann", NOON, 1)], NOON)
    register(session, data_type=DataType.TEXT)
    write_values(session, "basket", [("ann", NOON, "full")], NOON)
    (found,) = read_latest(session, ["basket", "basket@1", "basket@2"], ["ann"])
    assert found.values == {"basket": "full", "basket@1": 1, "basket@2": "full"}


# Reading


def test_a_read_knows_nothing_that_happened_later(session: Session) -> None:
    register(session)
    rows = [("ann", NOON + n * HOUR, n) for n in range(3)] + [("bob", NOON, 7)]
    write_values(session, "basket", rows, NOON + 3 * HOUR)
    second = timedelta(seconds=1)
    assert value_as_of(session, NOON - second) is None
    assert value_as_of(session, NOON) == 0
    assert value_as_of(session, NOON + HOUR - second) == 0
    assert value_as_of(session, NOON + HOUR) == 1
    assert value_as_of(session, NOON + 1000 * HOUR) == 2


def test_a_value_can_be_too_old(session: Session) -> None:
    register(session)
    write_values(session, "basket", [("ann", NOON, 1)], NOON)
    at = NOON + HOUR
    assert value_as_of(session, at, max_age=HOUR) == 1
    assert value_as_of(session, at, max_age=HOUR - timedelta(microseconds=1)) is None
    assert value_as_of(session, at, max_age=timedelta.max) == 1
    with pytest.raises(UnfitFeatureError, match="greatest age"):
        value_as_of(session, at, max_age=-HOUR)


def test_what_was_not_known_then_can_be_left_out(session: Session) -> None:
    register(session)
    write_values(session, "basket", [("ann", NOON, 1)], NOON + HOUR)
    write_values(session, "basket", [("ann", NOON, 2)], NOON + 3 * HOUR)
    then = Knowledge.THEN
    assert value_as_of(session, NOON, knowledge=then) is None
    assert value_as_of(session, NOON + HOUR, knowledge=then) == 1
    assert value_as_of(session, NOON + 2 * HOUR, knowledge=then) == 1
    assert value_as_of(session, NOON + 3 * HOUR, knowledge=then) == 2
    assert value_as_of(session, NOON + 2 * HOUR) == 2


def test_the_order_of_the_points_is_kept_and_unknown_is_none(session: Session) -> None:
    register(session)
    register(session, "mood", data_type=DataType.TEXT)
    write_values(session, "basket", [("ann", NOON, 1), ("bob", NOON, 2)], NOON)
    write_values(session, "mood", [("bob", NOON, "fine")], NOON)
    points = [("bob", NOON), ("eve", NOON), ("ann", NOON), ("bob", NOON), ("bob", NOON - HOUR)]
    found = read_as_of(session, ["mood", "basket"], points)
    assert [(one.entity, one.at) for one in found] == points
    assert [tuple(one.values.values()) for one in found] == [
        ("fine", 2), (None, None), (None, 1), ("fine", 2), (None, None),
    ]  # fmt: skip
    mood = found[0].readings["mood"]
    assert mood is not None
    assert (mood.event_time, mood.written_at) == (NOON, NOON)
    assert read_as_of(session, ["mood"], []) == ()


def test_times_are_of_any_zone(session: Session) -> None:
    register(session)
    write_values(session, "basket", [("ann", NOON.astimezone(timezone(5 * HOUR)), 1)], NOON)
    (found,) = read_as_of(session, ["basket"], [("ann", NOON.astimezone(timezone(-5 * HOUR)))])
    assert (found.at, found.values["basket"]) == (NOON, 1)


def test_a_question_that_is_not_fit_is_refused(session: Session) -> None:
    register(session)
    with pytest.raises(UnfitFeatureError, match="time zone"):
        read_as_of(session, ["basket"], [("ann", NOON.replace(tzinfo=None))])
    with pytest.raises(UnfitFeatureError, match="at least one"):
        read_latest(session, [], ["ann"])
    with pytest.raises(UnfitFeatureError, match="cannot be printed"):
        read_latest(session, ["basket"], ["a\x00"])
    with pytest.raises(UnfitFeatureError, match="at most 1000000"):
        read_latest(session, ["basket", "basket@1"], ["ann"] * 500_001)


FEATURES = ("one", "two")
ENTITIES = ("ann", "bob")
TICKS = st.integers(0, 8)


def tick(n: int) -> datetime:
    return NOON + n * timedelta(minutes=5)


writes = st.lists(
    st.tuples(
        st.sampled_from(FEATURES), st.sampled_from(ENTITIES), TICKS, TICKS, st.integers(0, 5)
    ),
    max_size=25,
)
"Feature, entity, event time, when it is written, value."


def oracle(
    written: Sequence[tuple[str, str, int, int, int]],
    feature: str,
    entity: str,
    at: int,
    knowledge: Knowledge,
    max_age: int | None,
) -> int | None:
    """The definition, gone through one by one; `written` is in the order of writing."""
    best: tuple[int, int] | None = None
    for of, whose, event_time, written_at, value in written:
        if of != feature or whose != entity or event_time > at:
            continue
        if knowledge is Knowledge.THEN and written_at > at:
            continue
        if max_age is not None and at - event_time > max_age:
            continue
        if best is None or event_time >= best[0]:
            best = event_time, value
    return None if best is None else best[1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    written=writes,
    points=st.lists(st.tuples(st.sampled_from(ENTITIES), TICKS), max_size=12),
    knowledge=st.sampled_from(Knowledge),
    max_age=st.none() | TICKS,
)
def test_a_read_is_that_of_the_definition(
    session: Session,
    written: list[tuple[str, str, int, int, int]],
    points: list[tuple[str, int]],
    knowledge: Knowledge,
    max_age: int | None,
) -> None:
    # Time passes while values are written, whatever their event times are.
    written = sorted(written, key=lambda one: one[3])
    whole = session.begin_nested()
    for feature in FEATURES:
        register(session, feature)
    for feature, entity, event_time, written_at, value in written:
        row = (entity, tick(event_time), value)
        write_values(session, feature, [row], tick(written_at))
    found = read_as_of(
        session,
        FEATURES,
        [(entity, tick(at)) for entity, at in points],
        knowledge,
        None if max_age is None else tick(max_age) - NOON,
    )
    whole.rollback()
    assert [one.values for one in found] == [
        {f: oracle(written, f, entity, at, knowledge, max_age) for f in FEATURES}
        for entity, at in points
    ]


def test_a_read_descends_into_the_index_for_each_point(session: Session) -> None:
    """However many values an entity has."""
    register(session)
    rows = [(f"e{n % 10}", NOON + n * timedelta(seconds=1), n) for n in range(20_000)]
    write_values(session, "basket", rows, NOON + 24 * HOUR)
    question = {
        "entities": ["e1"], "times": [NOON], "earliest": [NOON - HOUR],
        "names": ["basket"], "versions": [1],
    }  # fmt: skip
    for query in reading._READ.values():
        explained = sa.text(f"EXPLAIN (COSTS OFF) {query.text}")
        plan = "\n".join(session.scalars(explained, question))
        assert "Index Scan Backward using feature_values_pkey" in plan
        assert "Sort" not in plan


# Watching


def test_everything_monitored_is_watched_until_it_is_switched_off(session: Session) -> None:
    assert watched_features(session) == MONITORED
    assert unwatch(session, "tokens")
    assert not unwatch(session, "tokens")
    assert watched_features(session) == tuple(f for f in MONITORED if f.name != "tokens")
    assert watch(session, "tokens")
    assert not watch(session, "tokens")
    assert watched_features(session) == MONITORED
    assert audited(session, "feature.unwatch") == audited(session, "feature.watch") == ["tokens"]


def test_features_of_ones_own_are_watched_until_they_are_switched_off(session: Session) -> None:
    basket = register(session)
    assert watched_features(session) == (*MONITORED, basket)
    assert unwatch(session, "basket")
    assert watched_features(session) == MONITORED


def test_what_is_not_there_cannot_be_watched(session: Session) -> None:
    with pytest.raises(UnknownFeatureError, match="near it: tokens"):
        unwatch(session, "token")
    assert set(BY_NAME) == set(EVERYTHING)
