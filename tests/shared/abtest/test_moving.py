"""Slots of a sticky test move in two steps, and no unit meets two variants by it.

The processes here are copies without threads: each hears of a table, and tells PostgreSQL whom it
has shown a variant, when the test says so.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.abtest import copies, followers, lifecycle
from shared.abtest.assignment import LiveTest, Reason
from shared.abtest.copies import LocalCopy
from shared.abtest.enrolment import Enrolment, complete_moves
from shared.abtest.exposed import Remembered, store_exposures, units_that_keep
from shared.abtest.exposures import Exposure as Shown
from shared.abtest.exposures import ExposureBuffer, StickyExposures
from shared.abtest.hashing import slot_of
from shared.abtest.kept import Kept
from shared.abtest.lifecycle import (
    change_weights,
    conclude,
    create,
    find,
    force,
    pause,
    ramp,
    resume,
    start,
    stop,
)
from shared.abtest.serving import load_test, republish
from shared.abtest.slots import SlotTable, slots_in
from shared.abtest.states import AbTestError
from shared.abtest.tables import AbCopy, AbTest
from shared.abtest.truth import kept_with, table_of
from shared.database import TenantId, tenant_session
from shared.redis_client import ab_index_key, ab_kept_key, ab_table_key, redis_client
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import AuditEntry
from tasks.control import republish_ab_tests
from tests.shared.abtest.keeping import kept_units

UNITS = [f"unit-{number}" for number in range(200)]
LATE = [f"late-{number}" for number in range(200)]


class _Stepped(Enrolment):
    """Tells PostgreSQL nothing until it is stepped."""

    def hurry(self) -> None:
        """Whoever is in a hurry waits for the test here."""


class Process:
    def __init__(self, tenant: TenantId, buffer: ExposureBuffer) -> None:
        self.shown = StickyExposures(buffer)
        self.enrolment = _Stepped(tenant, "production", self.shown)
        self.copy = LocalCopy(tenant, exposures=buffer, enrolment=self.enrolment)
        self.copy._loaded.set()

    def listen(self) -> bool:
        """Hear of the newest tables; whether Redis had all that it should have."""
        pool = copies._pool()
        try:
            return self.copy._read_all(redis.Redis(connection_pool=pool))
        finally:
            pool.disconnect()

    def tell(self) -> None:
        """Say to PostgreSQL what it has and whom it has shown a variant."""
        self.enrolment._step()

    def give(self, *units: str) -> dict[str, str | None]:
        return names(self.live, *units)

    def reasons(self, *units: str) -> set[Reason]:
        return {self.copy.assign("prompt", unit).reason for unit in units}

    @property
    def live(self) -> LiveTest:
        return self.copy._tests["prompt"]


@pytest.fixture
def process(tenant: TenantId) -> Callable[[], Process]:
    """A process that serves the test."""

    def make() -> Process:
        made = Process(tenant, ExposureBuffer())
        made.listen()
        made.tell()
        return made

    return make


@pytest.fixture
def sticky(tenant: TenantId) -> TenantId:
    """A tenant with a sticky test of two variants."""
    with tenant_session(tenant) as session:
        create(session, "prompt", [{"name": n, "weight": 0.5} for n in "ab"], sticky=True)
        start(session, "prompt")
    return tenant


def names(test: LiveTest, *units: str) -> dict[str, str | None]:
    given = {unit: test.assign(unit, {}).variant for unit in units}
    return {unit: variant.name if variant else None for unit, variant in given.items()}


def change(tenant: TenantId, move: Callable[..., AbTest], *arguments: Any) -> AbTest:
    with tenant_session(tenant) as session:
        return move(session, "prompt", *arguments)


def weights(tenant: TenantId, a: float, b: float) -> AbTest:
    return change(tenant, change_weights, {"a": a, "b": b})


def now(tenant: TenantId) -> AbTest:
    with tenant_session(tenant) as session:
        return find(session, "prompt")


def moving(test: AbTest) -> int:
    return len(slots_in(tuple(test.moving)))


def owned(test: AbTest) -> list[int]:
    return [table_of(test).slots.owners.count(position) for position in (0, 1)]


def exposed(tenant: TenantId) -> dict[Any, str]:
    with tenant_session(tenant) as session:
        rows = session.scalars(sa.select(Exposure)).all()
        assert not any(row.mixed for row in rows)
        return {row.unit_id: row.variant for row in rows}


def test_a_unit_keeps_the_variant_that_a_process_showed_it_and_has_told_nobody_of(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one, other = process(), process()
    met = one.give(*UNITS)
    frozen = weights(sticky, 0.0, 1.0)
    assert moving(frozen) == 5000
    # This one has heard of nothing, and shows more units their variant.
    met |= one.give(*LATE)
    other.listen()
    assert set(other.give(*UNITS, *LATE).values()) == {None, "b"}
    other.tell()
    one.listen()
    assert one.give(*met) == met
    assert moving(now(sticky)) == 5000
    one.tell()
    assert moving(now(sticky)) == 0
    for follower in (one, other):
        follower.listen()
        assert follower.give(*met) == met
        assert set(follower.give("new-1", "new-2", "new-3").values()) == {"b"}
    assert other.reasons(*met) == {Reason.ASSIGNED, Reason.KEPT}
    assert exposed(sticky) == {unit_digest(unit): variant for unit, variant in met.items()}


def test_without_waiting_for_the_processes_a_unit_would_meet_two_variants(
    sticky: TenantId, process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = process(), process()
    met = one.give(*UNITS)
    monkeypatch.setattr(followers, "followers", lambda *_: 0)
    weights(sticky, 0.0, 1.0)
    other.listen()
    assert other.give(*UNITS) != met


def test_without_storing_what_was_shown_a_unit_would_meet_two_variants(
    sticky: TenantId, process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = process(), process()
    met = one.give(*UNITS)
    monkeypatch.setattr(one.shown, "take", list)
    weights(sticky, 0.0, 1.0)
    for follower in (one, other):
        follower.listen()
        follower.tell()
    assert moving(now(sticky)) == 0
    other.listen()
    assert other.give(*UNITS) != met


def test_where_nobody_serves_the_test_its_slots_move_at_once(sticky: TenantId) -> None:
    changed = weights(sticky, 0.2, 0.8)
    assert (moving(changed), owned(changed), changed.table_version) == (0, [2000, 8000], 3)
    assert moving(change(sticky, ramp, 0.5)) == 0


def test_tests_that_are_not_sticky_wait_for_nobody(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    process()
    with tenant_session(sticky) as session:
        create(session, "plain", [{"name": n, "weight": 0.5} for n in "ab"])
        start(session, "plain")
        assert change_weights(session, "plain", {"a": 0.1, "b": 0.9}).moving == []


def test_what_takes_from_nobody_waits_for_nobody(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    with tenant_session(sticky) as session:
        ramp(session, "prompt", 0.1)
    one = process()
    changed = change(sticky, ramp, 0.4)
    assert (moving(changed), owned(changed)) == (0, [2000, 2000])
    assert moving(change(sticky, ramp, 0.3)) == 1000
    one.listen()
    one.tell()
    assert owned(now(sticky)) == [1500, 1500]


def test_a_thread_that_is_slow_shows_nobody_a_variant_by_an_old_table(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one = process()
    old = one.live
    met = one.give(*UNITS)
    weights(sticky, 0.0, 1.0)
    one.listen()
    assert names(old, *UNITS) == met
    assert set(names(old, *LATE).values()) == {None, "b"}
    one.tell()
    one.listen()
    assert set(names(old, *LATE).values()) == {"b"}


def test_the_newest_weights_win_and_what_need_not_move_is_let_go(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one, other = process(), process()
    assert moving(weights(sticky, 0.0, 1.0)) == 5000
    other.listen()
    other.tell()
    first = one.give(*UNITS)
    assert moving(weights(sticky, 0.3, 0.7)) == 2000
    # It has told of the version before, and that is not enough.
    one.listen()
    one.tell()
    assert moving(now(sticky)) == 2000
    assert moving(weights(sticky, 0.5, 0.5)) == 0
    for follower in (one, other):
        follower.listen()
        assert follower.give(*UNITS) == first
    assert moving(weights(sticky, 0.4, 0.6)) == 1000
    for follower in (one, other):
        follower.listen()
        follower.tell()
    assert owned(now(sticky)) == [4000, 6000]


def test_a_paused_test_moves_and_a_stopped_or_concluded_one_stays_where_it_was(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one = process()
    met = one.give(*UNITS)
    weights(sticky, 0.2, 0.8)
    assert moving(change(sticky, pause)) == 3000
    one.listen()
    one.tell()
    assert (owned(now(sticky)), now(sticky).status) == ([2000, 8000], "paused")
    change(sticky, resume)
    one.listen()
    one.tell()
    assert one.give(*UNITS) == met
    weights(sticky, 0.8, 0.2)
    ended = change(sticky, conclude, "b")
    assert (moving(ended), owned(ended)) == (0, [2000, 8000])
    one.listen()
    one.tell()
    assert one.give(*UNITS) == dict.fromkeys(UNITS, "b")
    with tenant_session(sticky) as session:
        assert session.scalars(sa.select(AbCopy)).all() == []


def test_a_test_that_is_stopped_on_the_way_drops_the_move(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    process()
    weights(sticky, 0.2, 0.8)
    ended = change(sticky, stop)
    assert (moving(ended), owned(ended)) == (0, [5000, 5000])
    assert complete_moves(sticky) == []


def run_out(tenant: TenantId) -> None:
    """Let the leases of all processes run out, as far as PostgreSQL knows."""
    with tenant_session(tenant) as session:
        session.execute(sa.update(AbCopy).values(lease_expires_at=sa.func.now()))


def test_a_process_that_is_gone_is_waited_for_no_longer_than_its_lease(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one, other = process(), process()
    one.give(*UNITS)
    weights(sticky, 0.0, 1.0)
    republish_ab_tests(entry=f"{sticky} 1")
    assert moving(now(sticky)) == 5000
    run_out(sticky)
    republish_ab_tests(entry=f"{sticky} 2")
    assert moving(now(sticky)) == 0
    with tenant_session(sticky) as session:
        assert session.scalars(sa.select(AbCopy)).all() == []
        moves = sa.select(AuditEntry.details).where(AuditEntry.action == "ab_test.moved")
        told = session.scalar(moves)
        assert told is not None
        assert (told["slots"], told["table_version"]) == (5000, 4)
    # One that was only suspended has been waited for by nobody: it serves by the new table or not.
    other.tell()
    assert other.reasons("new") == {Reason.STALE}
    assert other.copy.assign("prompt", "new").variant == other.live.table.variants[0]
    other.listen()
    assert set(other.give("new-1", "new-2", "new-3").values()) == {"b"}


def test_a_process_takes_no_table_that_is_older_than_when_it_enrolled(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    key, index = ab_table_key(sticky, "production", "prompt"), ab_index_key(sticky, "production")
    old = redis_client().get(key)
    weights(sticky, 0.0, 1.0)
    new = redis_client().get(key)
    # As a Redis has it that was restored from a copy of its own.
    redis_client().mset({key: str(old)})
    redis_client().hset(index, "prompt", "2")
    late = process()
    assert late.live.table.version == 2
    assert late.reasons(*UNITS) == {Reason.STALE}
    # It has PostgreSQL's published.
    assert not late.listen()
    republish_ab_tests(entry=f"{sticky} 3")
    assert redis_client().get(key) == new
    assert late.listen()
    assert set(late.give(*UNITS).values()) == {"b"}


def test_a_process_that_ends_stores_whom_it_showed_a_variant_and_is_waited_for_no_more(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one, other = process(), process()
    met = one.give(*UNITS)
    weights(sticky, 0.0, 1.0)
    other.listen()
    other.tell()
    one.enrolment._end()
    assert one.reasons(*UNITS, "new") == {Reason.STALE}
    assert complete_moves(sticky) == ["prompt"]
    other.listen()
    assert other.give(*UNITS) == met


def test_without_postgresql_nobody_new_and_nobody_old_is_let_in_when_the_lease_is_over(
    sticky: TenantId, process: Callable[[], Process], with_environment: Callable[..., None],
    services: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with tenant_session(sticky) as session:
        create(session, "plain", [{"name": n, "weight": 0.5} for n in "ab"])
        start(session, "plain")
    one = process()
    met = one.give(*UNITS)
    late = Process(sticky, ExposureBuffer())
    late.listen()
    with_environment(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    for follower in (one, late):
        with pytest.raises(OperationalError):
            follower.tell()
    assert one.give(*UNITS) == met
    assert late.reasons(*UNITS) == {Reason.STALE}
    assert late.copy.assign("plain", "u").reason is Reason.ASSIGNED
    with_environment(DATABASE_URL=services.database_url)
    for follower in (one, late):
        follower.tell()
    # Whom it had shown a variant meanwhile it has not forgotten.
    assert exposed(sticky) == {unit_digest(unit): variant for unit, variant in met.items()}
    assert late.reasons(*UNITS) == {Reason.ASSIGNED}


def test_whom_a_process_cannot_keep_it_shows_no_variant(sticky: TenantId) -> None:
    crowded = Process(sticky, ExposureBuffer())
    crowded.shown._most_unstored = 10
    crowded.listen()
    crowded.tell()
    reasons = [crowded.copy.assign("prompt", unit).reason for unit in UNITS]
    assert reasons == [Reason.ASSIGNED] * 10 + [Reason.STALE] * 190
    crowded.tell()
    assert len(exposed(sticky)) == 10
    assert crowded.reasons(*UNITS[:20]) == {Reason.ASSIGNED}


def test_what_assigns_in_a_transaction_is_waited_for_by_whoever_changes_the_test(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one = process()
    buffer = ExposureBuffer()
    with tenant_session(sticky) as session:
        test = load_test(session, "prompt", exposures=buffer)
        met = names(test, *UNITS)
        with (
            pytest.raises(OperationalError, match="lock timeout"),
            tenant_session(sticky) as impatient,
        ):
            impatient.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            change_weights(impatient, "prompt", {"a": 0.0, "b": 1.0})
        buffer.drain(lambda shown: store_exposures(session, shown))
    weights(sticky, 0.0, 1.0)
    # While slots are on their way it lets nobody new into them either.
    with tenant_session(sticky) as session:
        test = load_test(session, "prompt")
        assert names(test, *UNITS) == met
        late = {test.assign(unit, {}).reason for unit in LATE}
    assert late == {Reason.ASSIGNED, Reason.MOVING}
    one.listen()
    one.tell()
    one.listen()
    assert one.give(*UNITS) == met


@pytest.mark.parametrize("move", [pause, stop])
def test_the_kill_switch_waits_for_nobody_who_assigns_in_a_transaction(
    sticky: TenantId, move: Callable[..., AbTest]
) -> None:
    with tenant_session(sticky) as session:
        names(load_test(session, "prompt"), *UNITS)
        with tenant_session(sticky) as impatient:
            impatient.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            assert move(impatient, "prompt").table_version == 3


def test_the_kill_switch_does_not_wait_until_it_is_known_who_keeps_a_variant(
    sticky: TenantId, process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process()
    met = one.give(*UNITS)
    one.tell()

    def slow(move: Callable[..., AbTest], *given: Any) -> Kept:
        change(sticky, move)
        return kept_with(*given)

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "kept_with", partial(slow, pause))
        frozen = weights(sticky, 0.0, 1.0)
        patch.setattr(lifecycle, "kept_with", partial(slow, resume))
        one.listen()
        one.tell()
    assert (frozen.status, now(sticky).status, moving(now(sticky))) == ("paused", "running", 0)
    one.listen()
    assert one.give(*UNITS) == met
    monkeypatch.setattr(lifecycle, "kept_with", partial(slow, stop))
    with pytest.raises(AbTestError, match="its weights are history"):
        weights(sticky, 1.0, 0.0)
    assert owned(now(sticky)) == [0, 10_000]


def test_whoever_comes_after_one_who_moves_slots_waits_until_they_are_moved(
    sticky: TenantId,
) -> None:
    with tenant_session(sticky) as session:
        load_test(session, "prompt")
        mover = threading.Thread(target=weights, args=(sticky, 0.2, 0.8))
        mover.start()
        waiting = sa.text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        )
        while not session.scalar(waiting):
            time.sleep(0.01)
        with (
            pytest.raises(OperationalError, match="lock timeout"),
            tenant_session(sticky) as late,
        ):
            late.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            load_test(late, "prompt")
    mover.join()
    assert owned(now(sticky)) == [2000, 8000]


def test_only_who_moves_slots_looks_for_the_units_that_keep_their_variant(
    sticky: TenantId, process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process()
    one.give(*UNITS)
    one.tell()
    weights(sticky, 0.2, 0.8)
    one.listen()
    one.tell()
    named = now(sticky).kept
    assert named
    monkeypatch.setattr(lifecycle, "kept_with", None)
    for move in (partial(force, forced={"tester": "a"}), pause, resume):
        assert change(sticky, move).kept == named
    with tenant_session(sticky) as session:
        load_test(session, "prompt")
    assert change(sticky, conclude, "b").kept == ""


def test_postgresql_picks_the_units_that_keep_their_variant_as_the_rule_has_it(
    sticky: TenantId,
) -> None:
    """Units of each variant, of one that is gone and of an unknown slot, in slots of all sorts."""
    drawn = random.Random(7)
    slots = SlotTable.of_ranges([[(0, 4000)], [(4000, 7000)]], [(2000, 9000)], [(3500, 4500)])
    met = {unit: drawn.choice(["a", "b", "gone"]) for unit in UNITS}
    known = {unit: None if n < 20 else slot_of("prompt", unit) for n, unit in enumerate(UNITS)}
    with tenant_session(sticky) as session:
        test = find(session, "prompt")
        shown = [Shown(test.id, unit, met[unit], known[unit], 0.0) for unit in UNITS]
        store_exposures(session, shown)
        kept = units_that_keep(session, test, slots)
        asked = Remembered(session, test.id, ("a", "b"), slots)
        of_one = {unit: asked.variant_of(unit) for unit in (*UNITS, "stranger")}
    expected = kept_units(slots, "ab", {u: v for u, v in met.items() if known[u] is not None})
    assert kept.packed() == expected.packed()
    assert {unit: expected.variant_of(unit) for unit in of_one} == of_one
    assert set(of_one.values()) == {None, 0, 1}


def test_units_that_redis_lost_get_another_name_where_there_are_more_of_them_by_now(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    one = process()
    one.give(*UNITS)
    one.tell()
    weights(sticky, 0.0, 1.0)
    one.listen()
    one.tell()
    before = now(sticky)
    one.listen()
    held = one.live
    with tenant_session(sticky) as session:
        slots = {unit: slot_of("prompt", unit) for unit in LATE}
        late = min(slots, key=slots.__getitem__)
        store_exposures(session, [Shown(before.id, late, "a", slots[late], 0.0)])
        redis_client().delete(ab_kept_key(sticky, str(before.kept)))
        assert republish(session) == 1
    with tenant_session(sticky) as session:
        assert republish(session) == 0
    after = now(sticky)
    assert (after.kept != before.kept, after.table_version) == (True, before.table_version + 1)
    one.listen()
    assert one.give(*UNITS) == names(held, *UNITS)
    assert one.give(late) == {late: "a"}


def test_whose_units_are_not_known_they_are_found_when_the_test_is_to_assign(
    sticky: TenantId, process: Callable[[], Process]
) -> None:
    """As of tests from before their name was kept."""
    one = process()
    met = one.give(*UNITS)
    one.tell()
    weights(sticky, 0.2, 0.8)
    one.listen()
    one.tell()
    named = now(sticky).kept
    with tenant_session(sticky) as session:
        session.execute(sa.update(AbTest).values(kept=None))
    assert change(sticky, pause).kept is None
    assert change(sticky, resume).kept == named
    one.listen()
    assert one.give(*UNITS) == met
