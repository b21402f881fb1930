"""A test from its creation to its end. PostgreSQL is the truth, Redis serves the table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from redis.exceptions import RedisError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.abtest import followers, publishing
from shared.abtest.allocation import LEAST_SHARE, Allocation, require_least_weights
from shared.abtest.assignment import AssignmentTable, LiveTest, live
from shared.abtest.capping import settled
from shared.abtest.definition import (
    LONGEST_NAME,
    Definition,
    Rules,
    Variant,
    checked_rules,
    define,
)
from shared.abtest.exposed import exposed_units
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.kept import NOBODY_KEPT, kept_units
from shared.abtest.plan import Plan
from shared.abtest.slots import SlotError, SlotTable, allocate, lost, reallocate
from shared.abtest.states import ENDED, AbStatus, AbTestError, Move, after
from shared.abtest.tables import AbTest
from shared.database import tenant_of
from shared.jobs.contracts import WatchAbTest
from shared.jobs.submission import enqueue
from shared.registry.models import RegistryError, key, resolve
from shared.telemetry.units import UnitError, unit_bytes
from shared.tenancy.tenants import audit

log = logging.getLogger(__name__)

LAST_LOOK_AFTER: Final = timedelta(minutes=2)
"What units did before the end of their test is summed by then: each minute what has come is."


def create(
    session: Session,
    /,
    name: str,
    variants: Sequence[Mapping[str, Any]],
    *,
    environment: str = "production",
    success_metric: str = "success",
    **rules: Any,
) -> AbTest:
    """Store a test as a draft. The models of its variants are pinned to their versions.

    `variants` and `rules` are as `definition.Variant`, `definition.Rules` and `plan.Plan` have
    them. Raises `AbTestError` for a name that is taken, for what `define` refuses, such as weights
    that do not sum to 1, and for a model that is not registered.
    """
    definition = define(
        rules
        | {
            "name": name,
            "variants": variants,
            "environment": environment,
            "success_metric": success_metric,
        }
    )
    created = session.scalar(
        insert(AbTest)
        .values(
            tenant_id=tenant_of(session),
            environment=environment,
            name=name,
            status=AbStatus.DRAFT,
            table_version=1,
            **_columns(session, definition),
        )
        .on_conflict_do_nothing()
        .returning(AbTest.id)
    )
    if created is None:
        raise AbTestError(f"there is a test {name!r} in {environment!r} already")
    test = find(session, name, environment)
    audit(session, "ab_test.create", _subject(test), {"test_id": str(test.id), **_audited(test)})
    _publish(session, test)
    return test


def redefine(
    session: Session, given: Mapping[str, Any], *, expected_version: int | None = None
) -> AbTest:
    """Put another definition in the place of a draft's; the name and environment say which.

    What units have met must stay what it was: once a test has begun only its weights, its coverage
    and its forced units change. Raises `AbTestError`.
    """
    definition = define(given)
    test = _locked(session, definition.name, definition.environment, expected_version)
    if test.status != AbStatus.DRAFT:
        raise _refused(
            test,
            f"it is {test.status}, and its definition is fixed with its plan; weights, coverage and"
            " forced units may still change, anything else is a new test",
        )
    for column, value in _columns(session, definition).items():
        setattr(test, column, value)
    return _changed(session, test, "ab_test.redefine", _audited(test))


def definition_of(test: AbTest) -> Definition:
    """What its author wrote, as it is now; a started test's caps are not part of it."""
    variants = [{k: v for k, v in variant.items() if k != "slots"} for variant in test.variants]
    caps = {
        metric: {"value": cap["value"], "quantile": cap["quantile"]}
        for metric, cap in test.plan.get("winsorize", {}).items()
    }
    return define(
        test.rules
        | test.plan
        | {
            "name": test.name,
            "environment": test.environment,
            "variants": variants,
            "success_metric": test.success_metric,
            "winsorize": caps,
        }
    )


def find(session: Session, name: str, environment: str = "production") -> AbTest:
    """The test of that name; raises `AbTestError` when there is none."""
    return _found(session, name, environment, sa.select(AbTest))


def start(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Let a draft assign units. One that runs stays as it is; a stopped one cannot run again.

    From here on its plan is fixed, and its caps are numbers: see `capping.settled`.
    """
    test = _locked(session, name, environment, expected_version)
    if test.status != AbStatus.DRAFT:
        return _move(session, Move.START, name, environment, expected_version)
    plan = definition_of(test).plan
    try:
        test.plan = _stored(settled(session, plan, datetime.now(UTC)))
    except AbTestError as error:
        raise _refused(test, str(error)) from None
    _moves(test, Move.START)
    caps = {"winsorize": test.plan["winsorize"]} if plan.winsorize else {}
    return _changed(session, test, "ab_test.running", caps)


def pause(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    expected_version: int | None = None,
    why: Mapping[str, Any] | None = None,
) -> AbTest:
    """Let a running test assign nothing until it is resumed: the kill switch.

    The audit trail keeps `why`.
    """
    return _move(session, Move.PAUSE, name, environment, expected_version, why)


def resume(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Let a paused test assign again, to everyone what it assigned before."""
    return _move(session, Move.RESUME, name, environment, expected_version)


def stop(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Let a test assign no more, for good. One that is stopped stays as it is.

    Nobody gets the winner any more of one that was concluded.
    """
    return _move(session, Move.STOP, name, environment, expected_version)


def conclude(
    session: Session,
    name: str,
    winner: str,
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """End a test with a winner, which everyone gets from then on who is targeted.

    Concluded again with the same winner it stays as it is; with another one it is an `AbTestError`.
    """
    test = _locked(session, name, environment, expected_version)
    names = [variant["name"] for variant in test.variants]
    if winner not in names:
        raise _refused(test, f"no variant {winner[:LONGEST_NAME]!r}; there is: {', '.join(names)}")
    if test.status == AbStatus.CONCLUDED and test.winner != winner:
        raise _refused(test, f"it is concluded already, and {test.winner!r} is its winner")
    if not _moves(test, Move.CONCLUDE):
        return test
    test.winner = winner
    test.moving = []
    return _changed(session, test, "ab_test.concluded", {"winner": winner})


def change_weights(
    session: Session,
    name: str,
    weights: Mapping[str, float],
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Give all variants new weights, by name; only the slots move that must.

    Those of a sticky test move once all processes have stored whom they have shown a variant in
    them: see `complete_move`. Until then the test's `moving` has them.
    """
    test = _locked(session, name, environment, expected_version)
    _require_open(test, "its weights are history")
    names = [variant["name"] for variant in test.variants]
    if set(weights) != set(names):
        raise _refused(test, f"weights for {sorted(weights)}; this test's variants are {names}")
    if test.plan.get("allocation", Allocation.FIXED) != Allocation.FIXED:
        try:
            require_least_weights(weights, test.plan.get("least_share", LEAST_SHARE))
        except ValueError as error:
            raise _refused(test, str(error)) from None
    _split(session, test, [weights[one] for one in names], _rules(test).coverage)
    others = [one | {"weight": weights[one["name"]]} for one in test.variants]
    if test.status != AbStatus.DRAFT and others != test.variants:
        test.split_changed_at = test.split_changed_at or datetime.now(UTC)
    test.variants = others
    return _changed(session, test, "ab_test.weights", {"weights": dict(weights)})


def ramp(
    session: Session,
    name: str,
    coverage: float,
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Let another share of the units take part, 0 to 1. Upwards no unit changes its variant.

    Downwards a sticky test's slots are given up as `change_weights` moves them.
    """
    test = _locked(session, name, environment, expected_version)
    _require_open(test, "it takes no part of the units any more")
    _split(session, test, [variant["weight"] for variant in test.variants], coverage)
    test.rules = test.rules | {"coverage": coverage}
    return _changed(session, test, "ab_test.ramp", {"coverage": coverage})


def movable(session: Session) -> list[AbTest]:
    """The tests with slots on their way for which nobody has to be waited for any more."""
    followers.forget_gone(session)
    tests = session.scalars(sa.select(AbTest).where(AbTest.moving != [])).all()
    return [test for test in tests if not followers.awaited(session, test)]


def complete_move(session: Session, name: str, environment: str = "production") -> bool:
    """Give the slots that are on their way to their next owners; whether that could be done.

    A process is waited for until it has taken the table that lets nobody new into these slots, and
    has stored whom it showed a variant before; or until its lease has run out, and it serves no
    more. Then the exposures have all who ever met a variant in them, and those keep it.
    """
    test = _locked(session, name, environment, None)
    followers.keep_others_out(session)
    if not test.moving or followers.awaited(session, test):
        return False
    slots = sum(end - first for first, end in test.moving)
    weights = [variant["weight"] for variant in test.variants]
    _have(test, _split_anew(test, weights, _rules(test).coverage))
    _changed(session, test, "ab_test.moved", {"slots": slots})
    return True


def force(
    session: Session,
    name: str,
    forced: Mapping[str, str | None],
    environment: str = "production",
    *,
    expected_version: int | None = None,
) -> AbTest:
    """Give units a variant whatever else holds; None lets a unit go again.

    Raises `AbTestError` also for a unit id that is no identifier, and for one that is to be let go
    and is not forced.
    """
    test = _locked(session, name, environment, expected_version)
    _require_open(test, "it forces nobody")
    names = [variant["name"] for variant in test.variants]
    before = _rules(test).forced
    for unit_id, variant in forced.items():
        try:
            unit_bytes(unit_id)
        except UnitError as error:
            raise _refused(test, str(error)) from None
        if variant is None and unit_id not in before:
            raise _refused(test, f"unit {unit_id[:40]!r} is not forced, so it cannot be let go")
        if variant is not None and variant not in names:
            raise _refused(
                test, f"no variant {variant[:LONGEST_NAME]!r}; there is: {', '.join(names)}"
            )
    both: dict[str, str | None] = {**before, **forced}
    left = {unit_id: variant for unit_id, variant in both.items() if variant is not None}
    test.rules = checked_rules(test.rules | {"forced": left}).model_dump(mode="json")
    return _changed(session, test, "ab_test.force", {"forced": dict(forced)})


def table_of(test: AbTest, kept: str | None = None) -> AssignmentTable:
    """The assignment table as PostgreSQL has it; `kept` is the digest of the units it needs."""
    return AssignmentTable(
        test_id=test.id,
        name=test.name,
        version=test.table_version,
        status=AbStatus(test.status),
        variants=tuple(
            Variant.model_validate({k: v for k, v in variant.items() if k != "slots"})
            for variant in test.variants
        ),
        rules=_rules(test),
        slots=_slots(test),
        winner=test.winner,
        kept=kept,
    )


def truth_of(session: Session, test: AbTest) -> publishing.Truth:
    """The table as PostgreSQL has it, with the units that keep their variant."""
    table = table_of(test)
    if not (table.rules.sticky and (table.slots.moved or table.slots.moving)):
        return publishing.Truth(test.environment, table, NOBODY_KEPT)
    positions = {name: position for position, name in enumerate(table.names)}
    exposed = exposed_units(session, test, (*table.slots.moved, *table.slots.moving))
    kept = kept_units(table.slots, positions, exposed)
    named = replace(table, kept=publishing.kept_digest(kept))
    return publishing.Truth(test.environment, named, kept)


def load_test(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    exposures: ExposureBuffer | None = None,
) -> LiveTest:
    """A running test, as Redis serves it, published again when Redis lost it or is behind.

    Raises `AbTestError` when there is no such test or it does not run. While Redis is away the
    table is PostgreSQL's, which is the same one. A sticky test does not change before the session
    ends, in which whoever is shown a variant has to be stored.
    """
    test = find(session, name, environment)
    if _rules(test).sticky:
        as_it_stays = sa.select(AbTest).with_for_update(read=True)
        test = _found(session, name, environment, _read_again(as_it_stays))
    truth = truth_of(session, test)
    table = truth.table
    try:
        if publishing.behind(test.tenant_id, [_wanted(test)]):
            publishing.publish(test.tenant_id, truth)
        served = publishing.fetch(test.tenant_id, environment, name)
        # What Redis serves may be newer than what this transaction sees.
        if served is not None and served.version > table.version and served.kept == table.kept:
            table = served
    except RedisError as error:
        log.warning("A/B table %s from PostgreSQL: %s", name, type(error).__name__)
    if table.status is not AbStatus.RUNNING:
        advice = {AbStatus.DRAFT: "start it first", AbStatus.PAUSED: "resume it first"}
        raise _refused(
            test, f"it is {table.status}: {advice.get(table.status, 'it assigns no more')}"
        )
    return live(table, truth.kept, exposures=exposures)


def republish(session: Session) -> int:
    """Publish those of the tenant's tests of which Redis has nothing, or something older.

    How many they were. One whose row makes no table is told in the log and passed over: the others
    are not to wait for it. Raises `RedisError`.
    """
    tests = {_wanted(test): test for test in session.scalars(sa.select(AbTest))}
    published = 0
    for wanted in publishing.behind(tenant_of(session), list(tests)):
        try:
            truth = truth_of(session, tests[wanted])
        except ValueError as error:
            log.error("A/B test %s cannot be published: %s", wanted.name, error)
            continue
        publishing.publish(tenant_of(session), truth)
        published += 1
    return published


def _wanted(test: AbTest) -> publishing.Wanted:
    return publishing.Wanted(test.environment, test.name, test.id, test.table_version)


def _move(
    session: Session,
    move: Move,
    name: str,
    environment: str,
    expected_version: int | None,
    why: Mapping[str, Any] | None = None,
) -> AbTest:
    test = _locked(session, name, environment, expected_version)
    if not _moves(test, move):
        return test
    return _changed(session, test, f"ab_test.{test.status}", why or {})


def _moves(test: AbTest, move: Move) -> bool:
    """Set the state that `move` leads to; whether that is another one."""
    before = AbStatus(test.status)
    try:
        test.status = after(before, move)
    except AbTestError as error:
        raise _refused(test, str(error)) from None
    if test.status == AbStatus.STOPPED:
        test.moving = []
    if before == AbStatus.DRAFT and test.status != before:
        test.began_at = datetime.now(UTC)
    if test.status in ENDED and test.ended_at is None:
        test.ended_at = datetime.now(UTC)
    return test.status != before


def _split(session: Session, test: AbTest, weights: Sequence[float], coverage: float) -> None:
    """Split the slots anew; those of a sticky test that are taken from a variant only when nobody
    can have shown a variant in them of whom PostgreSQL knows nothing."""
    anew = _split_anew(test, weights, coverage)
    taken = lost(_slots(test), anew) if test.status != AbStatus.DRAFT else ()
    if taken and _rules(test).sticky:
        followers.keep_others_out(session)
        followers.forget_gone(session)
        if followers.followers(session, test.environment):
            test.moving = list(taken)
            return
    _have(test, anew)


def _split_anew(test: AbTest, weights: Sequence[float], coverage: float) -> SlotTable:
    """The slots by these weights, with what is lost by it marked as moved and nothing on its way.

    Whatever was on its way before is where it was: the newest weights decide alone.
    """
    before = replace(_slots(test), moving=())
    try:
        if test.status == AbStatus.DRAFT:
            # Nobody has met a variant: there is nothing to be spared.
            return allocate(weights, coverage)
        anew = reallocate(before, weights, coverage)
    except SlotError as error:
        raise _refused(test, str(error)) from None
    return anew.marked(lost(before, anew))


def _have(test: AbTest, slots: SlotTable) -> None:
    test.variants = [
        variant | {"slots": slots.ranges_of(position)}
        for position, variant in enumerate(test.variants)
    ]
    test.moved, test.moving = list(slots.moved), list(slots.moving)


def _changed(session: Session, test: AbTest, action: str, details: Mapping[str, Any]) -> AbTest:
    test.table_version += 1
    session.flush()
    known = {"test_id": str(test.id), "table_version": test.table_version}
    audit(session, action, _subject(test), {**details, **known})
    _publish(session, test)
    if test.status in ENDED:
        _be_looked_at_once_more(session, test)
    return test


def _be_looked_at_once_more(session: Session, test: AbTest) -> None:
    """A last look keeps what it came to and closes its alerts; hourly ones are of open tests."""
    enqueue(
        session,
        WatchAbTest(test=test.name, environment=test.environment),
        idempotency_key=f"end:{test.id}",
        not_before=datetime.now(UTC) + LAST_LOOK_AFTER,
    )


def _publish(session: Session, test: AbTest) -> None:
    publishing.publish_after_commit(session, truth_of(session, test))


def _locked(session: Session, name: str, environment: str, expected_version: int | None) -> AbTest:
    query = _read_again(sa.select(AbTest).with_for_update())
    test = _found(session, name, environment, query)
    if expected_version is not None and test.table_version != expected_version:
        raise _refused(
            test,
            f"it was changed meanwhile: version {expected_version} was read, and it is"
            f" {test.table_version} now; look at it again",
        )
    return test


def _read_again(query: sa.Select[AbTest]) -> sa.Select[AbTest]:
    """As it is once the lock is there, also of a test that this session has read before."""
    return query.execution_options(populate_existing=True)


def _found(session: Session, name: str, environment: str, query: sa.Select[AbTest]) -> AbTest:
    if not _is_name(name, environment):
        raise AbTestError(
            f"no A/B test {name[:LONGEST_NAME]!r} in {environment[:LONGEST_NAME]!r}: names are 1 to"
            f" {LONGEST_NAME} printable characters"
        )
    found = session.scalar(query.where(AbTest.name == name, AbTest.environment == environment))
    if found is None:
        elsewhere = session.scalars(sa.select(AbTest.environment).where(AbTest.name == name))
        if also := sorted(elsewhere)[:10]:
            raise AbTestError(
                f"no A/B test {name!r} in {environment!r}; it is in {', '.join(also)}:"
                " name the environment"
            )
        known = session.scalars(sa.select(AbTest.name).where(AbTest.environment == environment))
        there = ", ".join(sorted(known)[:10]) or "none"
        raise AbTestError(f"no A/B test {name!r} in {environment!r}; there is: {there}")
    return found


def _is_name(*given: str) -> bool:
    """Whether PostgreSQL could have them: no other one is asked for."""
    return all(0 < len(one) <= LONGEST_NAME and one.isprintable() for one in given)


def _require_open(test: AbTest, why: str) -> None:
    if test.status in ENDED:
        raise _refused(test, f"it is {test.status}: {why}")


def _refused(test: AbTest, message: str) -> AbTestError:
    return AbTestError(f"test {test.name!r} in {test.environment!r}: {message}")


def _columns(session: Session, definition: Definition) -> dict[str, Any]:
    """What a row keeps of a definition, with the slots of a test that begins."""
    slots = allocate([variant.weight for variant in definition.variants], definition.coverage)
    return {
        "success_metric": definition.success_metric,
        "variants": [
            variant.model_dump(mode="json")
            | {"model": _pinned(session, variant), "slots": slots.ranges_of(position)}
            for position, variant in enumerate(definition.variants)
        ],
        "rules": definition.rules.model_dump(mode="json"),
        "plan": _stored(definition.plan),
    }


def _stored(plan: Plan) -> dict[str, Any]:
    """All of it, so that it stays what it is when defaults change."""
    return plan.model_dump(mode="json", exclude={"success_metric"})


def _audited(test: AbTest) -> dict[str, Any]:
    return {
        "variants": test.variants,
        "rules": test.rules,
        "plan": test.plan,
        "success_metric": test.success_metric,
    }


def _pinned(session: Session, variant: Variant) -> str | None:
    if variant.model is None:
        return None
    try:
        return key(resolve(session, variant.model))
    except RegistryError as error:
        raise AbTestError(f"variant {variant.name!r}: {error}") from None


def _rules(test: AbTest) -> Rules:
    return Rules.model_validate(test.rules)


def _slots(test: AbTest) -> SlotTable:
    return SlotTable.of_ranges(
        [variant["slots"] for variant in test.variants], test.moved, test.moving
    )


def _subject(test: AbTest) -> str:
    return f"{test.environment}/{test.name}"
