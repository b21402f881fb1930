from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.abtest.assignment import (
    AssignmentError,
    AssignmentTable,
    LiveTest,
    Reason,
    TableError,
    live,
    unknown,
)
from shared.abtest.definition import Variant
from shared.abtest.exposures import Exposure, ExposureBuffer
from shared.abtest.hashing import in_namespace, slot_of
from shared.abtest.kept import Kept, KeptError, digest
from shared.abtest.slots import lost, reallocate
from shared.abtest.states import AbStatus
from tests.shared.abtest.keeping import kept_units

MakeTable = Callable[..., AssignmentTable]

UNITS = [f"unit-{number}" for number in range(2000)]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def given(test: LiveTest, unit_id: str, **attributes: Any) -> tuple[str | None, Reason]:
    assignment = test.assign(unit_id, attributes)
    return None if assignment.variant is None else assignment.variant.name, assignment.reason


def moved_to(table: AssignmentTable, *weights: float) -> AssignmentTable:
    slots = reallocate(table.slots, weights)
    return replace(table, slots=slots.marked(lost(table.slots, slots)), version=table.version + 1)


def with_kept(table: AssignmentTable, exposed: list[tuple[str, str]]) -> LiveTest:
    kept = kept_units(table.slots, table.names, dict(exposed))
    return live(table, Kept.unpacked(kept.packed()))


def test_a_unit_gets_the_variant_of_its_slot(table: MakeTable) -> None:
    test = live(table(0.4, 0.3, 0.3))
    for unit in UNITS[:200]:
        owner = test.table.slots.owners[slot_of("prompt", unit)]
        assert given(test, unit) == ("abc"[owner], Reason.ASSIGNED)
    counts = Counter(given(test, unit)[0] for unit in UNITS)
    # Five standard deviations.
    assert abs(counts["a"] - 800) < 5 * (2000 * 0.4 * 0.6) ** 0.5


def test_what_is_published_is_what_was_published(table: MakeTable) -> None:
    made = table(
        0.4, 0.3, 0.3,
        coverage=0.5, sticky=True, forced={"u": "b"}, starts_at=NOON,
        targeting=[{"attribute": "x", "operator": "in", "value": ["a"]}],
        namespace={"name": "n", "first": 0.1, "last": 0.2}, holdout={"name": "h", "share": 0.1},
    )  # fmt: skip
    made = replace(moved_to(made, 0.2, 0.5, 0.3), kept="abc", winner="b")
    payload = {"prompt": "\u00e9\n", "n": [1, {"x": None}]}
    made = replace(
        made, variants=(Variant(name="a", weight=0.4, payload=payload), *made.variants[1:])
    )
    assert AssignmentTable.from_text(made.to_text()) == made


def test_text_that_was_edited_by_hand_is_no_table(table: MakeTable) -> None:
    text = table().to_text()
    body = text.partition("\n")[2]
    for spoilt in ("", "{", body, text.replace("running", "stopped"), text[:-1], text + " "):
        with pytest.raises(TableError):
            AssignmentTable.from_text(spoilt)


def test_text_that_is_nested_without_end_is_no_table() -> None:
    body = "[" * 100_000
    text = f"{hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()}\n{body}"
    with pytest.raises(TableError, match="not a table of this version: RecursionError"):
        AssignmentTable.from_text(text)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "odd"}, {"variants": []}, {"variants": 5}, {"version": "x"}, {"rules": None},
        {"moved": [[5, 1]]}, {"test_id": 5}, {"winner": "z", "status": "concluded"},
        {"version": float("inf")}, {"version": -1}, {"version": 10**18},
    ],
)  # fmt: skip
def test_text_with_a_right_checksum_and_no_table_in_it_is_no_table(
    table: MakeTable, change: dict[str, Any]
) -> None:
    body = json.dumps(json.loads(table().to_text().partition("\n")[2]) | change)
    with pytest.raises(TableError, match="not a table of this version"):
        AssignmentTable.from_text(f"{hashlib.sha1(body.encode()).hexdigest()}\n{body}")  # noqa: S324


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (AbStatus.DRAFT, (None, Reason.DRAFT)),
        (AbStatus.PAUSED, (None, Reason.PAUSED)),
        (AbStatus.STOPPED, (None, Reason.STOPPED)),
        (AbStatus.CONCLUDED, ("b", Reason.CONCLUDED)),
    ],
)
def test_a_test_that_does_not_run_says_why(
    table: MakeTable, status: AbStatus, expected: tuple[str | None, Reason]
) -> None:
    assert given(live(table(status=status)), "u") == expected


def test_the_winner_is_for_everyone_who_is_targeted(table: MakeTable) -> None:
    rule = {"attribute": "country", "operator": "is", "value": "DE"}
    test = live(table(status=AbStatus.CONCLUDED, targeting=[rule], coverage=0.0))
    assert {given(test, unit, country="DE") for unit in UNITS[:50]} == {("b", Reason.CONCLUDED)}
    assert given(test, "u", country="FR") == (None, Reason.NOT_TARGETED)


def test_targeting_coverage_holdout_and_namespace_say_who_takes_part(table: MakeTable) -> None:
    rule = {"attribute": "country", "operator": "is", "value": "DE"}
    targeted = live(table(targeting=[rule]))
    assert given(targeted, "u", country="FR") == (None, Reason.NOT_TARGETED)
    assert given(targeted, "u") == (None, Reason.NOT_TARGETED)
    assert given(targeted, "u", country="DE")[1] is Reason.ASSIGNED

    quarter = live(table(coverage=0.25))
    covered = Counter(given(quarter, unit)[1] for unit in UNITS)
    assert set(covered) == {Reason.ASSIGNED, Reason.NOT_COVERED}
    assert abs(covered[Reason.ASSIGNED] - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5

    held_out = [live(table(name=name, holdout={"name": "all", "share": 0.1})) for name in "xy"]
    out = [{u for u in UNITS if given(test, u)[1] is Reason.IN_HOLDOUT} for test in held_out]
    assert out[0] == out[1]
    assert abs(len(out[0]) - 200) < 5 * (2000 * 0.1 * 0.9) ** 0.5

    halves = [
        live(table(name=name, namespace={"name": "checkout", "first": first, "last": first + 0.5}))
        for name, first in (("x", 0.0), ("y", 0.5))
    ]
    for unit in UNITS[:300]:
        one, other = (given(test, unit)[1] for test in halves)
        assert {one, other} == {Reason.ASSIGNED, Reason.OTHER_NAMESPACE}
        assert (one is Reason.ASSIGNED) is in_namespace("checkout", 0, 0.5, unit)


def test_a_forced_unit_gets_its_variant_and_is_not_counted(table: MakeTable) -> None:
    buffer = ExposureBuffer()
    rule = {"attribute": "country", "operator": "is", "value": "DE"}
    test = live(table(forced={"tester": "b"}, coverage=0.0, targeting=[rule]), exposures=buffer)
    assert given(test, "tester") == ("b", Reason.FORCED)
    assert not test.assign("tester", {}).in_test
    assert buffer.pending == 0


def test_a_test_begins_and_ends_at_its_times(table: MakeTable) -> None:
    now = [0.0]
    test = live(table(starts_at=NOON, ends_at=NOON.replace(hour=13)), clock=lambda: now[0])
    for hour, expected in ((11, Reason.NOT_STARTED), (12, Reason.ASSIGNED), (13, Reason.ENDED)):
        now[0] = NOON.replace(hour=hour).timestamp()
        assert given(test, "u")[1] is expected


def test_when_the_lease_has_run_out_the_control_is_served_and_nobody_counts(
    table: MakeTable,
) -> None:
    now, buffer = [0.0], ExposureBuffer()
    for status in AbStatus:
        test = live(table(status=status), exposures=buffer, monotonic=lambda: now[0])
        test.lease[0] = 60.0
        now[0] = 60.5
        assert given(test, "u") == ("a", Reason.STALE)
        assert not test.assign("u", {}).in_test
        now[0] = 59.5
        assert given(test, "v")[1] is not Reason.STALE
    assert buffer.pending == 1


@pytest.mark.parametrize("unit_id", ["", "a\x00b", "a" * 1001, "a" * 1_000_000, "\ud800"])
@pytest.mark.parametrize("status", list(AbStatus))
def test_a_unit_id_that_is_no_identifier_is_refused(
    table: MakeTable, status: AbStatus, unit_id: str
) -> None:
    with pytest.raises(AssignmentError, match="it must be 1 to 1000 characters without NUL"):
        live(table(status=status)).assign(unit_id, {})


@pytest.mark.parametrize("unit_id", [5, None, b"u", ["u"], {}])
def test_a_unit_id_that_is_no_text_is_refused(table: MakeTable, unit_id: Any) -> None:
    for status in AbStatus:
        with pytest.raises(AssignmentError, match="is no text but"):
            live(table(status=status)).assign(unit_id, {})


def test_an_unknown_test_gives_no_variant() -> None:
    assert unknown("x").reason is Reason.UNKNOWN_TEST
    assert unknown("x").variant is None


def test_units_of_a_sticky_test_keep_what_they_met_when_their_slot_moves(
    table: MakeTable,
) -> None:
    before = table(0.5, 0.5, sticky=True)
    old = live(before)
    first = {unit: given(old, unit)[0] for unit in UNITS}
    exposed = [(unit, str(first[unit])) for unit in UNITS[:1000]]
    after = moved_to(before, 0.1, 0.9)
    test = with_kept(after, exposed)
    assert all(given(test, unit)[0] == variant for unit, variant in exposed)
    reasons = Counter(given(test, unit)[1] for unit in UNITS[:1000])
    # 4,000 of 10,000 slots have moved.
    assert abs(reasons[Reason.KEPT] - 400) < 5 * (1000 * 0.4 * 0.6) ** 0.5
    # Who has met nothing yet follows the new table.
    late = [given(test, unit) for unit in UNITS[1000:]]
    assert {reason for _, reason in late} == {Reason.ASSIGNED}
    without = live(after)
    assert late == [given(without, unit) for unit in UNITS[1000:]]
    # And back again: whoever came in between keeps the other one.
    back = with_kept(
        moved_to(after, 0.5, 0.5),
        [*exposed, *((u, str(v)) for u, (v, _) in zip(UNITS[1000:], late, strict=True))],
    )
    assert all(given(back, unit)[0] == variant for unit, variant in exposed)
    assert [given(back, unit)[0] for unit in UNITS[1000:]] == [variant for variant, _ in late]


def test_a_unit_that_keeps_its_variant_keeps_it_when_its_slot_is_nobodys(table: MakeTable) -> None:
    before = table(sticky=True)
    unit = UNITS[0]
    first = str(given(live(before), unit)[0])
    slots = reallocate(before.slots, (0.5, 0.5), 0.0)
    after = replace(before, slots=slots.marked(lost(before.slots, slots)))
    assert given(with_kept(after, [(unit, first)]), unit) == (first, Reason.KEPT)
    assert given(with_kept(after, []), unit) == (None, Reason.NOT_COVERED)


def test_a_slot_that_is_moving_lets_nobody_in_and_keeps_who_was_there(table: MakeTable) -> None:
    before = table(sticky=True)
    unit = UNITS[0]
    first = str(given(live(before), unit)[0])
    slot = slot_of("prompt", unit)
    frozen = replace(before, slots=replace(before.slots, moving=((slot, slot + 1),)))
    assert given(with_kept(frozen, [(unit, first)]), unit) == (first, Reason.KEPT)
    assert given(with_kept(frozen, []), unit) == (None, Reason.MOVING)


def test_without_stickiness_a_unit_follows_its_slot(table: MakeTable) -> None:
    before = table()
    after = moved_to(before, 0.0, 1.0)
    test = with_kept(after, [(unit, "a") for unit in UNITS])
    assert {given(test, unit)[0] for unit in UNITS} == {"b"}


def test_packed_units_are_found_again_and_nothing_else_is_read_as_them(table: MakeTable) -> None:
    before = table(sticky=True)
    met = dict.fromkeys(UNITS, "a") | {"stranger": "gone"}
    kept = kept_units(moved_to(before, 0.0, 1.0).slots, "ab", met)
    packed = kept.packed()
    assert len(packed) == 6 + 9 * len(kept.units)
    again = Kept.unpacked(packed)
    assert again.packed() == packed
    assert digest(packed) != digest(packed[:-1])
    assert again.variant_of("nobody") is None
    found = {unit: again.variant_of(unit) for unit in UNITS}
    assert {*found.values()} == {0, None}
    assert len([unit for unit in UNITS if found[unit] == 0]) == len(kept.units)
    for spoilt in (b"", b"kept2\n", packed[1:], packed + b"x"):
        with pytest.raises(KeptError):
            Kept.unpacked(spoilt)


def test_an_exposure_is_counted_once_per_unit_and_test(table: MakeTable) -> None:
    buffer, drained = ExposureBuffer(), list[Exposure]()
    test = live(table(coverage=0.5), exposures=buffer, clock=lambda: 5.0)
    met = [unit for unit in UNITS if given(test, unit)[1] is Reason.ASSIGNED]
    again = [given(test, unit) for unit in UNITS]
    uncounted = live(table(coverage=0.5))
    assert again == [given(uncounted, unit) for unit in UNITS]
    assert buffer.drain(drained.extend) == len(met) == len(drained)
    assert [exposure.unit_id for exposure in drained] == met
    assert (drained[0].at, drained[0].slot) == (5.0, slot_of("prompt", drained[0].unit_id))
    assert buffer.drain(drained.extend) == 0
    # The next table of the test counts nobody again.
    later = live(table(coverage=0.5, version=3), exposures=buffer)
    assert [given(later, unit) for unit in UNITS] == again
    assert buffer.pending == 0


def test_what_cannot_be_drained_is_kept_and_what_finds_no_place_is_told(table: MakeTable) -> None:
    buffer = ExposureBuffer(most_known=5, most_pending=3)
    test = live(table(), exposures=buffer)
    for unit in UNITS[:4]:
        test.assign(unit, {})
    assert (buffer.pending, buffer.refused) == (3, 1)

    def broken(batch: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        buffer.drain(broken)
    drained: list[Exposure] = []
    buffer.drain(drained.extend)
    assert [exposure.unit_id for exposure in drained] == UNITS[:3]
    # What found no place is counted when it is met again; what was forgotten is counted again.
    for unit in UNITS[3:6]:
        test.assign(unit, {})
    buffer.drain(drained.extend)
    assert [exposure.unit_id for exposure in drained] == UNITS[:6]
    test.assign(UNITS[0], {})
    assert buffer.pending == 1
