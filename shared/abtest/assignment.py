"""Which variant a unit gets: a hash and a look-up, the same everywhere and for ever."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self
from uuid import UUID

from pydantic import ValidationError

from shared.abtest.definition import Rules, Variant
from shared.abtest.exposures import Count, Counting
from shared.abtest.hashing import SLOTS, fnv1a_32, in_namespace, slot_from, slot_of
from shared.abtest.kept import NOBODY_KEPT, Keeping
from shared.abtest.slots import NOBODY, SlotError, SlotTable, slots_in
from shared.abtest.states import AbStatus
from shared.abtest.targeting import Attributes, compiled
from shared.telemetry.units import LONGEST_UNIT_ID, UnitError, unit_bytes

# What the codes below 128 stand for is their owner, with one bit more where the slot has moved.
_MOVED: Final = 128
_MOVED_TO_NOBODY: Final = 254
_MOVING: Final = 253

VERSION_DIGITS: Final = 18
"Of a table's version at most: it is a bigint, and counts changes."
MOST_VERSION: Final = 10**VERSION_DIGITS - 1


class AssignmentError(ValueError):
    """The unit cannot be assigned; the message is one line."""


class TableError(ValueError):
    """Text that is no published table; the message is one line."""


class Reason(StrEnum):
    """Why a unit got what it got."""

    ASSIGNED = "assigned"
    KEPT = "kept"
    "Its slot has moved, and it keeps the variant that it met."
    FORCED = "forced"
    CONCLUDED = "concluded"
    NOT_COVERED = "not_covered"
    NOT_TARGETED = "not_targeted"
    IN_HOLDOUT = "in_holdout"
    OTHER_NAMESPACE = "other_namespace"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    PAUSED = "paused"
    STOPPED = "stopped"
    DRAFT = "draft"
    MOVING = "moving"
    "Its slot is on its way to another variant, and lets nobody in until it is there."
    UNKNOWN_TEST = "unknown_test"
    STALE = "stale"
    "Redis has been away for longer than the lease: the control is served, outside of the test."


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a unit gets. Without a variant it gets what it would get if there were no test."""

    test: str
    variant: Variant | None
    reason: Reason

    @property
    def in_test(self) -> bool:
        """Whether the unit counts for the test."""
        return self.reason in (Reason.ASSIGNED, Reason.KEPT)


@dataclass(frozen=True)
class AssignmentTable:
    """All that assigning needs: what is published, and what every process may keep a copy of."""

    test_id: UUID
    name: str
    version: int
    status: AbStatus
    variants: tuple[Variant, ...]
    rules: Rules
    slots: SlotTable
    winner: str | None = None
    kept: str | None = None
    "The digest of the packed units that keep their variant; None where there are none."

    def __post_init__(self) -> None:
        held = [owner for owner in set(self.slots.owners) if owner != NOBODY]
        if max(held, default=0) >= len(self.variants):
            raise SlotError(f"slots for more than the {len(self.variants)} variants there are")
        if self.status is AbStatus.CONCLUDED and self.winner not in self.names:
            raise ValueError(f"winner {self.winner!r}; this test's variants are {self.names}")

    @property
    def seed(self) -> str:
        """GrowthBook's default seed is the key of the experiment."""
        return self.name

    @property
    def names(self) -> list[str]:
        return [variant.name for variant in self.variants]

    def to_text(self) -> str:
        """A line with the SHA-1 of the rest, which is JSON. Redis can check it in a script."""
        body = json.dumps(
            {
                "test_id": str(self.test_id),
                "name": self.name,
                "version": self.version,
                "status": self.status,
                "variants": [
                    variant.model_dump(mode="json") | {"slots": self.slots.ranges_of(position)}
                    for position, variant in enumerate(self.variants)
                ],
                "rules": self.rules.model_dump(mode="json"),
                "moved": self.slots.moved,
                "moving": self.slots.moving,
                "winner": self.winner,
                "kept": self.kept,
            }
        )
        return f"{_sha1(body)}\n{body}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises `TableError` when `text` is not what `to_text` writes."""
        checksum, _, body = text.partition("\n")
        if checksum != _sha1(body):
            raise TableError("its checksum is not that of what it holds")
        try:
            stored = json.loads(body)
            variants = [dict(variant) for variant in stored["variants"]]
            slots = [variant.pop("slots") for variant in variants]
            version = int(stored["version"])
            if not 0 <= version <= MOST_VERSION:
                raise ValueError("a version that PostgreSQL has never given")
            return cls(
                test_id=UUID(stored["test_id"]),
                name=str(stored["name"]),
                version=version,
                status=AbStatus(stored["status"]),
                variants=tuple(Variant.model_validate(variant) for variant in variants),
                rules=Rules.model_validate(stored["rules"]),
                slots=SlotTable.of_ranges(slots, stored["moved"], stored["moving"]),
                winner=stored["winner"],
                kept=stored["kept"],
            )
        except ValidationError as error:
            raise TableError(f"not a table of this version: {error.error_count()} errors") from None
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise TableError(f"not a table of this version: {type(error).__name__}") from None


NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})

Assign = Callable[[str, Attributes], Assignment]
_Gate = Callable[[str], Assignment | None]


@dataclass
class LiveTest:
    """A table made ready to assign. `assign` is quick: it neither waits nor looks anything up
    outside of this process."""

    table: AssignmentTable
    assign: Assign
    lease: list[float] = field(default_factory=lambda: [math.inf])
    "Until when, by the monotonic clock, the table holds without being confirmed."
    after: list[LiveTest] = field(default_factory=list)
    "What took its place: who still assigns by this one when it has lapsed is sent there."


def live(
    table: AssignmentTable,
    kept: Keeping = NOBODY_KEPT,
    *,
    exposures: Counting | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> LiveTest:
    """Make `table` ready. Whom it counts goes to `exposures`; without one nobody is counted.

    What it raises of a unit id that is no identifier is `AssignmentError`, and nothing else.
    """
    lease = [math.inf]
    after: list[LiveTest] = []
    if table.status is AbStatus.RUNNING:
        assign = _running(table, kept, lease, after, exposures, clock, monotonic)
    elif table.status is AbStatus.CONCLUDED:
        assign = _checked(_concluded(table), table, lease, after, monotonic)
    else:
        outside = Assignment(table.name, None, Reason(table.status))
        assign = _checked(lambda unit_id, attributes: outside, table, lease, after, monotonic)
    return LiveTest(table, assign, lease, after)


def unknown(test: str) -> Assignment:
    """What a unit gets of a test that this process knows nothing of."""
    return Assignment(test[:200], None, Reason.UNKNOWN_TEST)


def _checked(
    decide: Assign,
    table: AssignmentTable,
    lease: list[float],
    after: list[LiveTest],
    monotonic: Callable[[], float],
) -> Assign:
    lapsed = _lapsed(table, after)

    def assign(unit_id: str, attributes: Attributes = NO_ATTRIBUTES) -> Assignment:
        _require_unit_id(unit_id)
        return (lapsed if monotonic() > lease[0] else decide)(unit_id, attributes)

    return assign


def _lapsed(table: AssignmentTable, after: list[LiveTest]) -> Assign:
    """What a unit gets by a table that holds no more."""
    stale = Assignment(table.name, table.variants[0], Reason.STALE)
    return lambda unit_id, attributes: after[0].assign(unit_id, attributes) if after else stale


def _require_unit_id(unit_id: str) -> None:
    try:
        unit_bytes(unit_id)
    except UnitError as error:
        raise AssignmentError(str(error)) from None


def _concluded(table: AssignmentTable) -> Assign:
    winner = next(variant for variant in table.variants if variant.name == table.winner)
    told = Assignment(table.name, winner, Reason.CONCLUDED)
    elsewhere = Assignment(table.name, None, Reason.NOT_TARGETED)
    targeted = compiled(table.rules.targeting)
    return lambda unit_id, attributes: (
        told if targeted is None or targeted(attributes) else elsewhere
    )


def _running(
    table: AssignmentTable,
    kept: Keeping,
    lease: list[float],
    after: list[LiveTest],
    exposures: Counting | None,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
) -> Assign:
    """The one function of every assignment: what it needs is at hand, for it is to be quick."""
    codes, outcomes = _codes(table)
    by_position = [Assignment(table.name, v, Reason.KEPT) for v in table.variants]
    gates = _gates(table, clock)
    targeted = compiled(table.rules.targeting)
    elsewhere = Assignment(table.name, None, Reason.NOT_TARGETED)
    lapsed = _lapsed(table, after)
    seeded = fnv1a_32(table.seed)
    known: Mapping[str, int] = {}
    count: Count | None = None
    if exposures is not None:
        known, count = exposures.of_test(table.test_id, clock, lambda: monotonic() <= lease[0])
    of_moved_slots = {
        _MOVED + position: Assignment(table.name, variant, Reason.ASSIGNED)
        for position, variant in enumerate(table.variants)
    } | {
        _MOVED_TO_NOBODY: Assignment(table.name, None, Reason.NOT_COVERED),
        _MOVING: Assignment(table.name, None, Reason.MOVING),
    }

    def of_moved(unit_id: str, code: int) -> Assignment:
        position = kept.variant_of(unit_id)
        return of_moved_slots[code] if position is None else by_position[position]

    def of_known(unit_id: str, slot: int) -> Assignment:
        """Of one that this process has shown its variant, where the slot alone does not say it."""
        given, owner = of_moved(unit_id, codes[slot]), table.slots.owners[slot]
        # For as long as it is moving, a slot is its last owner's.
        return by_position[owner] if given.reason is Reason.MOVING and owner != NOBODY else given

    def assign(unit_id: str, attributes: Attributes = NO_ATTRIBUTES) -> Assignment:
        try:
            slot = known.get(unit_id)
        except TypeError:
            # It cannot be hashed, and is no text.
            _require_unit_id(unit_id)
            raise
        if slot is None and not (
            type(unit_id) is str
            and 0 < len(unit_id) <= LONGEST_UNIT_ID
            and unit_id.isascii()
            and "\x00" not in unit_id
        ):
            _require_unit_id(unit_id)
        if monotonic() > lease[0]:
            return lapsed(unit_id, attributes)
        for gate in gates:
            decided = gate(unit_id)
            if decided is not None:
                return decided
        if targeted is not None and not targeted(attributes):
            return elsewhere
        if slot is not None:
            return outcomes[codes[slot]] or of_known(unit_id, slot)
        slot = slot_from(seeded, unit_id)
        given = outcomes[codes[slot]] or of_moved(unit_id, codes[slot])
        if count is None or given.variant is None:
            return given
        return given if count(unit_id, slot, given.variant.name) else lapsed(unit_id, attributes)

    return assign


def _codes(table: AssignmentTable) -> tuple[bytes, list[Assignment | None]]:
    """A byte for each slot, and what each byte stands for; None where the unit decides."""
    outcomes: list[Assignment | None] = [None] * 256
    for position, variant in enumerate(table.variants):
        outcomes[position] = Assignment(table.name, variant, Reason.ASSIGNED)
    outcomes[NOBODY] = Assignment(table.name, None, Reason.NOT_COVERED)
    codes = bytearray(table.slots.owners)
    if table.rules.sticky:
        for slot in slots_in(table.slots.moved):
            codes[slot] = _MOVED_TO_NOBODY if codes[slot] == NOBODY else _MOVED + codes[slot]
    for slot in slots_in(table.slots.moving):
        codes[slot] = _MOVING
    return bytes(codes), outcomes


def _gates(table: AssignmentTable, clock: Callable[[], float]) -> tuple[_Gate, ...]:
    """What decides before targeting does, in this order; only what the test has."""
    rules, name = table.rules, table.name
    gates: list[_Gate] = []
    if rules.starts_at is not None or rules.ends_at is not None:
        gates.append(_times(table, clock))
    if rules.forced:
        by_name = {v.name: Assignment(name, v, Reason.FORCED) for v in table.variants}
        forced: Mapping[str, Any] = {u: by_name.get(v) for u, v in rules.forced.items()}
        gates.append(forced.get)
    if (holdout := rules.holdout) is not None:
        held_out = Assignment(name, None, Reason.IN_HOLDOUT)
        seed, end = f"__holdout__{holdout.name}", round(holdout.share * SLOTS)
        gates.append(lambda unit_id: held_out if slot_of(seed, unit_id) < end else None)
    if (space := rules.namespace) is not None:
        other = Assignment(name, None, Reason.OTHER_NAMESPACE)
        label, first, last = space.name, space.first, space.last
        gates.append(lambda unit_id: None if in_namespace(label, first, last, unit_id) else other)
    return tuple(gates)


def _times(table: AssignmentTable, clock: Callable[[], float]) -> _Gate:
    starts_at, ends_at = table.rules.starts_at, table.rules.ends_at
    start = -math.inf if starts_at is None else starts_at.timestamp()
    end = math.inf if ends_at is None else ends_at.timestamp()
    not_started = Assignment(table.name, None, Reason.NOT_STARTED)
    ended = Assignment(table.name, None, Reason.ENDED)

    def gate(unit_id: str) -> Assignment | None:
        now = clock()
        if now < start:
            return not_started
        return None if now < end else ended

    return gate


def _sha1(body: str) -> str:
    return hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()
