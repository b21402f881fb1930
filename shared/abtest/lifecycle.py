"""A test from its creation to its end. PostgreSQL is the truth, Redis serves the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.abtest import followers, publishing
from shared.abtest.allocation import LEAST_SHARE, Allocation, require_least_weights
from shared.abtest.capping import settled
from shared.abtest.definition import (
    LONGEST_NAME,
    Definition,
    Variant,
    checked_rules,
    define,
)
from shared.abtest.kept import Kept
from shared.abtest.plan import Plan
from shared.abtest.slots import SlotError, SlotTable, allocate, lost, reallocate
from shared.abtest.states import ENDED, AbStatus, AbTestError, Move, after
from shared.abtest.tables import AbTest
from shared.abtest.truth import kept_with, name_of, rules_of, slots_of, table_of
from shared.database import tenant_of
from shared.jobs.contracts import WatchAbTest
from shared.jobs.submission import enqueue
from shared.registry.models import RegistryError, key, resolve
from shared.telemetry.units import UnitError, unit_bytes
from shared.tenancy.tenants import audit

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
    followers.wait_for_callers(session, definition.name, definition.environment)
    test = _locked(session, definition.name, definition.environment, expected_version)
    if test.status != AbStatus.DRAFT:
        raise refused(
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
    # While somebody splits the slots of a draft, it does not begin.
    followers.wait_for_callers(session, name, environment)
    test = _locked(session, name, environment, expected_version)
    if test.status != AbStatus.DRAFT:
        return _move(session, Move.START, name, environment, expected_version)
    plan = definition_of(test).plan
    try:
        test.plan = _stored(settled(session, plan, datetime.now(UTC)))
    except AbTestError as error:
        raise refused(test, str(error)) from None
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
        raise refused(test, f"no variant {winner[:LONGEST_NAME]!r}; there is: {', '.join(names)}")
    if test.status == AbStatus.CONCLUDED and test.winner != winner:
        raise refused(test, f"it is concluded already, and {test.winner!r} is its winner")
    if not _moves(test, Move.CONCLUDE):
        return test
    test.winner = winner
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
    closed = "its weights are history"
    test = _with_slots_held(session, name, environment, expected_version, closed)
    names = [variant["name"] for variant in test.variants]
    if set(weights) != set(names):
        raise refused(test, f"weights for {sorted(weights)}; this test's variants are {names}")
    if test.plan.get("allocation", Allocation.FIXED) != Allocation.FIXED:
        try:
            require_least_weights(weights, test.plan.get("least_share", LEAST_SHARE))
        except ValueError as error:
            raise refused(test, str(error)) from None
    split = _split(session, test, [weights[one] for one in names], rules_of(test).coverage)
    _take(session, test, split, expected_version, closed)
    others = [one | {"weight": weights[one["name"]]} for one in test.variants]
    if test.status != AbStatus.DRAFT and others != test.variants:
        test.split_changed_at = test.split_changed_at or datetime.now(UTC)
    test.variants = others
    return _changed(session, test, "ab_test.weights", {"weights": dict(weights)}, split.kept)


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
    closed = "it takes no part of the units any more"
    test = _with_slots_held(session, name, environment, expected_version, closed)
    split = _split(session, test, [variant["weight"] for variant in test.variants], coverage)
    _take(session, test, split, expected_version, closed)
    test.rules = test.rules | {"coverage": coverage}
    return _changed(session, test, "ab_test.ramp", {"coverage": coverage}, split.kept)


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
    followers.wait_for_callers(session, name, environment)
    test = _found(session, name, environment, _read_again(sa.select(AbTest)))
    followers.keep_others_out(session)
    if not test.moving or followers.awaited(session, test):
        return False
    count = sum(end - first for first, end in test.moving)
    weights = [variant["weight"] for variant in test.variants]
    slots = _split_anew(test, weights, rules_of(test).coverage)
    split = _Split(slots, kept_with(session, test, slots))
    if not _locked(session, name, environment, None).moving:
        # It was ended meanwhile.
        return False
    _have(test, split)
    _changed(session, test, "ab_test.moved", {"slots": count}, split.kept)
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
    before = rules_of(test).forced
    for unit_id, variant in forced.items():
        try:
            unit_bytes(unit_id)
        except UnitError as error:
            raise refused(test, str(error)) from None
        if variant is None and unit_id not in before:
            raise refused(test, f"unit {unit_id[:40]!r} is not forced, so it cannot be let go")
        if variant is not None and variant not in names:
            raise refused(
                test, f"no variant {variant[:LONGEST_NAME]!r}; there is: {', '.join(names)}"
            )
    both: dict[str, str | None] = {**before, **forced}
    left = {unit_id: variant for unit_id, variant in both.items() if variant is not None}
    test.rules = checked_rules(test.rules | {"forced": left}).model_dump(mode="json")
    return _changed(session, test, "ab_test.force", {"forced": dict(forced)})


def name_kept(session: Session, test: AbTest, kept: Kept) -> None:
    """Let the test name the units that keep their variant anew, and publish them.

    For when Redis has lost them and PostgreSQL knows of more by now. Nothing is done of a test
    that somebody has changed since it was read.
    """
    read = test.table_version
    if _locked(session, test.name, test.environment, None).table_version != read:
        return
    test.kept = name_of(kept)
    _changed(session, test, "ab_test.kept", {"units": len(kept.units)}, kept)


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
        raise refused(test, str(error)) from None
    if before == AbStatus.DRAFT and test.status != before:
        test.began_at = datetime.now(UTC)
    if test.status in ENDED:
        # It assigns nobody who would have to keep anything.
        test.moving, test.kept = [], ""
        test.ended_at = test.ended_at or datetime.now(UTC)
    return test.status != before


class _Split(NamedTuple):
    """Slots, and the units that keep their variant with them."""

    slots: SlotTable
    kept: Kept


def _with_slots_held(
    session: Session, name: str, environment: str, expected_version: int | None, closed: str
) -> AbTest:
    """An open test whose slots nobody else changes until the session ends. Its row is not locked,
    for to find the units that keep their variant takes seconds where there are millions, and a kill
    switch is not to wait: so its state may change still."""
    followers.wait_for_callers(session, name, environment)
    test = _found(session, name, environment, _read_again(sa.select(AbTest)))
    _require_version(test, expected_version)
    _require_open(test, closed)
    return test


def _split(session: Session, test: AbTest, weights: Sequence[float], coverage: float) -> _Split:
    """The slots split anew; those of a sticky test that are taken from a variant only when nobody
    can have shown a variant in them of whom PostgreSQL knows nothing, and until then moving."""
    slots = _split_anew(test, weights, coverage)
    taken = lost(slots_of(test), slots) if test.status != AbStatus.DRAFT else ()
    if taken and rules_of(test).sticky:
        followers.keep_others_out(session)
        followers.forget_gone(session)
        if followers.followers(session, test.environment):
            slots = replace(slots_of(test), moving=taken)
    return _Split(slots, kept_with(session, test, slots))


def _take(
    session: Session, test: AbTest, split: _Split, expected_version: int | None, closed: str
) -> None:
    """Lock the row of a test whose slots are held, and give it those of the split."""
    _locked(session, test.name, test.environment, expected_version)
    _require_open(test, closed)
    _have(test, split)


def _split_anew(test: AbTest, weights: Sequence[float], coverage: float) -> SlotTable:
    """The slots by these weights, with what is lost by it marked as moved and nothing on its way.

    Whatever was on its way before is where it was: the newest weights decide alone.
    """
    before = replace(slots_of(test), moving=())
    try:
        if test.status == AbStatus.DRAFT:
            # Nobody has met a variant: there is nothing to be spared.
            return allocate(weights, coverage)
        anew = reallocate(before, weights, coverage)
    except SlotError as error:
        raise refused(test, str(error)) from None
    return anew.marked(lost(before, anew))


def _have(test: AbTest, split: _Split) -> None:
    slots = split.slots
    test.variants = [
        variant | {"slots": slots.ranges_of(position)}
        for position, variant in enumerate(test.variants)
    ]
    test.moved, test.moving = list(slots.moved), list(slots.moving)
    test.kept = name_of(split.kept)


def _changed(
    session: Session,
    test: AbTest,
    action: str,
    details: Mapping[str, Any],
    kept: Kept | None = None,
) -> AbTest:
    """Let a test that was changed be published; `kept` are the units that it names, if anew."""
    if test.kept is None and test.status == AbStatus.RUNNING:
        kept = kept_with(session, test, slots_of(test))
        test.kept = name_of(kept)
    test.table_version += 1
    session.flush()
    known = {"test_id": str(test.id), "table_version": test.table_version}
    audit(session, action, _subject(test), {**details, **known})
    _publish(session, test, kept)
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


def _publish(session: Session, test: AbTest, kept: Kept | None = None) -> None:
    truth = publishing.Truth(test.environment, table_of(test), kept)
    publishing.publish_after_commit(session, truth)


def _locked(session: Session, name: str, environment: str, expected_version: int | None) -> AbTest:
    query = _read_again(sa.select(AbTest).with_for_update())
    test = _found(session, name, environment, query)
    _require_version(test, expected_version)
    return test


def _read_again(query: sa.Select[AbTest]) -> sa.Select[AbTest]:
    """As it is once a lock is there, also of a test that this session has read before."""
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


def _require_version(test: AbTest, expected: int | None) -> None:
    if expected is not None and test.table_version != expected:
        raise refused(
            test,
            f"it was changed meanwhile: version {expected} was read, and it is"
            f" {test.table_version} now; look at it again",
        )


def _require_open(test: AbTest, why: str) -> None:
    if test.status in ENDED:
        raise refused(test, f"it is {test.status}: {why}")


def refused(test: AbTest, message: str) -> AbTestError:
    """What is said of a test that cannot be had or changed like this."""
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


def _subject(test: AbTest) -> str:
    return f"{test.environment}/{test.name}"
