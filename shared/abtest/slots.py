"""Which variant has which of the 10,000 slots, and how few of them a change moves.

A variant's range is GrowthBook's bucket range: it begins where the weights before it end, and
coverage leaves the end of each range to nobody. A test that was never changed, or only ramped,
assigns as GrowthBook does; every other change moves the fewest slots instead.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Final, Self

from shared.abtest.hashing import SLOTS

WEIGHT_TOLERANCE: Final = 1e-9

NOBODY: Final = 255
"The owner of a slot that no variant has."

Ranges = tuple[tuple[int, int], ...]
"Slots as [first, end), in order, apart from each other."


class SlotError(ValueError):
    """Weights or ranges that make no table; the message is one line."""


@dataclass(frozen=True)
class SlotTable:
    """The owner of each slot: a byte with the position of a variant in its test, or `NOBODY`.

    `moved` slots were taken from a variant since the test began: a unit in them may have met
    another variant. `moving` ones take no new unit until they belong to their next owner.
    """

    owners: bytes
    moved: Ranges = ()
    moving: Ranges = ()

    def __post_init__(self) -> None:
        if len(self.owners) != SLOTS:
            raise SlotError(f"{len(self.owners)} owners; a table has {SLOTS} slots")
        for ranges in (self.moved, self.moving):
            _require_ranges(ranges)

    @classmethod
    def of_ranges(
        cls, held: Sequence[Iterable[Sequence[int]]], moved: Any = (), moving: Any = ()
    ) -> Self:
        """The table in which variant `i` has the ranges `held[i]`; `SlotError` where two have one.

        What comes from outside is checked: ranges are pairs of whole numbers.
        """
        owners = bytearray([NOBODY]) * SLOTS
        for owner, ranges in enumerate(held):
            for first, end in _require_ranges(tuple((a, b) for a, b in ranges)):
                if owners[first:end].strip(bytes([NOBODY])):
                    raise SlotError(f"slots {first} to {end - 1} belong to two variants")
                owners[first:end] = bytes([owner]) * (end - first)
        return cls(bytes(owners), tuple((a, b) for a, b in moved), tuple((a, b) for a, b in moving))

    def ranges_of(self, owner: int) -> Ranges:
        """The slots that a variant has."""
        runs = re.finditer(re.escape(bytes([owner])) + b"+", self.owners, re.DOTALL)
        return tuple(run.span() for run in runs)

    def marked(self, moved: Ranges) -> Self:
        """The same with more slots marked as moved."""
        both = slots_in(self.moved) | slots_in(moved)
        return replace(self, moved=ranges_of(sorted(both)))


def ranges_of(slots: Iterable[int]) -> Ranges:
    """Ascending slots as ranges."""
    found = []
    for _, run in groupby(enumerate(slots), key=lambda pair: pair[1] - pair[0]):
        members = [slot for _, slot in run]
        found.append((members[0], members[-1] + 1))
    return tuple(found)


def slots_in(ranges: Ranges) -> set[int]:
    return {slot for first, end in ranges for slot in range(first, end)}


def allocate(weights: Sequence[float], coverage: float = 1.0) -> SlotTable:
    """The table of a new test. Raises `SlotError` for weights that are not a split."""
    nobody = SlotTable(bytes([NOBODY]) * SLOTS)
    return reallocate(nobody, weights, coverage)


def reallocate(table: SlotTable, weights: Sequence[float], coverage: float = 1.0) -> SlotTable:
    """`table` with other weights or another coverage; what variants must give up moves, no more.

    A variant that shrinks gives up its last slots. Those that grow take what nobody had before
    they take what was given up, each of it first in their own range. Variants may be added at the
    end of `weights`, none taken away: a weight of 0 does that. Which slots are marked stays.
    """
    ranges = full_ranges(weights)
    wanted = slot_counts(weights, coverage)
    owners = bytearray(table.owners)
    known = max((owner for owner in owners if owner != NOBODY), default=-1) + 1
    if known > len(wanted):
        raise SlotError(f"{len(wanted)} weights for {known} variants")
    free = [slot for slot, owner in enumerate(owners) if owner == NOBODY]
    held = [owners.count(variant) for variant in range(len(wanted))]
    surplus = [max(0, have - want) for have, want in zip(held, wanted, strict=True)]
    missing = [max(0, want - have) for have, want in zip(held, wanted, strict=True)]
    given_up = []
    for slot in reversed(range(SLOTS)):
        if owners[slot] != NOBODY and surplus[owners[slot]]:
            surplus[owners[slot]] -= 1
            owners[slot] = NOBODY
            given_up.append(slot)
    for pool in (free, given_up[::-1]):
        for where in (ranges, [(0, SLOTS)] * len(ranges)):
            for variant, (first, end) in enumerate(where):
                for slot in pool[bisect_left(pool, first) : bisect_left(pool, end)]:
                    if not missing[variant]:
                        break
                    if owners[slot] == NOBODY:
                        owners[slot] = variant
                        missing[variant] -= 1
    return replace(table, owners=bytes(owners))


def lost(before: SlotTable, after: SlotTable) -> Ranges:
    """The slots that a variant had before and has no longer."""
    return ranges_of(
        slot
        for slot, (was, now) in enumerate(zip(before.owners, after.owners, strict=True))
        if was not in (now, NOBODY)
    )


def full_ranges(weights: Sequence[float]) -> list[tuple[int, int]]:
    """The range of each variant at full coverage; together all slots.

    Raises `SlotError` unless all weights are 0 or at least one slot's worth, finite, and sum to 1
    within 1e-9.
    """
    for weight in weights:
        if not math.isfinite(weight) or weight < 0:
            raise SlotError(f"weight {weight} must be a number from 0 to 1")
    total = math.fsum(weights)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        raise SlotError(f"the weights sum to {total:.12g}; they must sum to 1")
    for weight in weights:
        if weight and _slots(weight) < 1:
            raise SlotError(f"weight {weight} is less than one of {SLOTS} slots; the least is 1e-4")
    sums = [math.fsum(weights[:n]) for n in range(len(weights))]
    return list(pairwise([*(math.ceil(_slots(one)) for one in sums), SLOTS]))


def slot_counts(weights: Sequence[float], coverage: float = 1.0) -> list[int]:
    """How many slots each variant has: those of its range up to its weight x coverage.

    GrowthBook's `getBucketRanges`: [sum of the weights before, that + coverage * weight). Raises
    `SlotError` for weights that are no split and for a coverage outside 0 to 1.
    """
    if not (math.isfinite(coverage) and 0 <= coverage <= 1):
        raise SlotError(f"coverage {coverage} must be a number from 0 to 1")
    return [
        min(end, math.ceil(_slots(math.fsum(weights[:n]) + weight * coverage))) - first
        for n, (weight, (first, end)) in enumerate(zip(weights, full_ranges(weights), strict=True))
    ]


def _slots(share: float) -> float:
    # Rounded first, so that 0.29 * 10,000 = 2,899.9999999999995 is the 2,900 that was meant.
    return round(share * SLOTS, 6)


def _require_ranges(ranges: Ranges) -> Ranges:
    ends = [bound for pair in ranges for bound in pair]
    rising = all(a < b if n % 2 == 0 else a <= b for n, (a, b) in enumerate(pairwise(ends)))
    whole = all(type(bound) is int for bound in ends)
    if not (whole and rising and all(0 <= bound <= SLOTS for bound in ends)):
        raise SlotError(f"the ranges are not rising whole numbers from 0 to {SLOTS}")
    return ranges
