"""Which variant has which of the 10,000 slots, and how few of them a change of weights moves."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from shared.abtest.hashing import SLOTS

WEIGHT_TOLERANCE: Final = 1e-9


class SlotError(ValueError):
    """Weights or ranges that make no table; the message is one line."""


@dataclass(frozen=True)
class SlotTable:
    """Ranges that cover all slots: range `i` ends before `ends[i]` and belongs to `owners[i]`.

    Owners are positions in the test's list of variants.
    """

    ends: tuple[int, ...]
    owners: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((0, *self.ends), self.ends, strict=False))
        if len(self.ends) != len(self.owners) or not rising or self.ends[-1:] != (SLOTS,):
            raise SlotError(f"the ranges do not cover slots 0 to {SLOTS - 1} once each")

    @classmethod
    def from_owners(cls, owner_of_slot: Sequence[int]) -> Self:
        """Fold a list of each slot's owner into ranges."""
        last = len(owner_of_slot) - 1
        ends = [
            slot + 1
            for slot, owner in enumerate(owner_of_slot)
            if slot == last or owner_of_slot[slot + 1] != owner
        ]
        return cls(tuple(ends), tuple(owner_of_slot[end - 1] for end in ends))

    def owner(self, slot: int) -> int:
        """The position of the variant that has `slot`."""
        return self.owners[bisect_right(self.ends, slot)]

    def owner_of_slots(self) -> list[int]:
        """The owner of each of the slots."""
        starts = (0, *self.ends)
        return [
            owner
            for start, end, owner in zip(starts, self.ends, self.owners, strict=False)
            for _ in range(end - start)
        ]


def allocate(weights: Sequence[float]) -> SlotTable:
    """One range per variant, in order. Raises `SlotError` for weights that are not a split."""
    return SlotTable.from_owners(
        [owner for owner, count in enumerate(slot_counts(weights)) for _ in range(count)]
    )


def reallocate(table: SlotTable, weights: Sequence[float]) -> SlotTable:
    """`table` with other weights; only as many slots move as variants must give up.

    A variant that shrinks gives up its last slots; those that grow take them in order. Variants
    may be added at the end of `weights`, none taken away: a weight of 0 does that.
    """
    wanted = slot_counts(weights)
    owners = table.owner_of_slots()
    if max(owners) >= len(wanted):
        raise SlotError(f"{len(wanted)} weights for {max(owners) + 1} variants")
    held = [owners.count(variant) for variant in range(len(wanted))]
    surplus = [max(0, have - want) for have, want in zip(held, wanted, strict=True)]
    takers = [
        variant
        for variant, (have, want) in enumerate(zip(held, wanted, strict=True))
        for _ in range(want - have)
    ]
    given_up = []
    for slot in reversed(range(SLOTS)):
        if surplus[owners[slot]]:
            surplus[owners[slot]] -= 1
            given_up.append(slot)
    for slot, taker in zip(reversed(given_up), takers, strict=True):
        owners[slot] = taker
    return SlotTable.from_owners(owners)


def slot_counts(weights: Sequence[float]) -> list[int]:
    """How many slots each weight gets, by largest remainder; together all of them.

    Raises `SlotError` unless all are 0 or at least one slot's worth, finite, and sum to 1
    within 1e-9.
    """
    for weight in weights:
        if not math.isfinite(weight) or weight < 0:
            raise SlotError(f"weight {weight} must be a number from 0 to 1")
    total = math.fsum(weights)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        raise SlotError(f"the weights sum to {total:.12g}; they must sum to 1")
    # Rounded first, so that 0.29 * 10,000 = 2,899.9999999999995 is the 2,900 that was meant.
    exact = [round(weight * SLOTS, 6) for weight in weights]
    for weight, share in zip(weights, exact, strict=True):
        if weight and share < 1:
            raise SlotError(f"weight {weight} is less than one of {SLOTS} slots; the least is 1e-4")
    counts = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for position in by_remainder[: SLOTS - sum(counts)]:
        counts[position] += 1
    return counts
