"""The units of a sticky test that keep the variant they met after their slot has moved.

The exposures are the truth: a unit is in here when its slot has moved and it met another variant
than the one that has the slot now. So the whole can be made anew at any time, and is published
beside the table that needs it. A unit is known by the first 64 bits of its digest: of ten million
kept units and as many others, one is mistaken for another with a chance of 5e-6.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple, Self
from uuid import UUID

from shared.abtest.slots import SlotTable, slots_in
from shared.telemetry.units import unit_digest

_MAGIC: Final = b"kept1\n"
_BYTES_EACH: Final = 9
_DIGEST_BYTES: Final = 16


class KeptError(ValueError):
    """Bytes that are no packed units; the message is one line."""


@dataclass(frozen=True)
class Kept:
    """Ascending hashes of units, and the position of the variant of each."""

    units: Sequence[int]
    variants: bytes

    def variant_of(self, unit: int) -> int | None:
        """The position of the variant that a unit keeps, by its hash; None if it keeps none."""
        place = bisect_left(self.units, unit)
        if place < len(self.units) and self.units[place] == unit:
            return self.variants[place]
        return None

    def packed(self) -> bytes:
        """A magic number, the hashes (8 bytes each, little-endian), a byte for each variant."""
        hashes = array("Q", self.units)
        if sys.byteorder == "big":
            hashes.byteswap()
        return _MAGIC + hashes.tobytes() + self.variants

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Raises `KeptError` for what `packed` did not make."""
        body = len(data) - len(_MAGIC)
        if not data.startswith(_MAGIC) or body % _BYTES_EACH:
            raise KeptError(f"{len(data)} bytes that are no packed units")
        hashes = array("Q", data[len(_MAGIC) : len(data) - body // _BYTES_EACH])
        if sys.byteorder == "big":
            hashes.byteswap()
        return cls(hashes, data[len(data) - body // _BYTES_EACH :])


NOBODY_KEPT: Final = Kept(array("Q"), b"")


def unit_hash(unit_id: str) -> int:
    """64 bits of a unit."""
    return hash_of_digest(unit_digest(unit_id))


def hash_of_digest(digest: UUID) -> int:
    """The same, of a unit of which only the digest is known."""
    return digest.int >> 64


def digest(packed: bytes) -> str:
    """What a table names the packed units by that it needs."""
    return blake2b(packed, digest_size=_DIGEST_BYTES).hexdigest()


class Met(NamedTuple):
    """A unit, by its digest, the slot that it is in, and the variant that it met."""

    unit_id: UUID
    slot: int
    variant: str


def kept_units(table: SlotTable, positions: Mapping[str, int], exposed: Iterable[Met]) -> Kept:
    """Those of the `exposed` units, each once with its variant, that the table would not give it.

    `positions` are the variants' by name; what was exposed to another variant is left out. Of
    slots that are moving all exposed units are kept: who comes into them now is not let in.
    """
    moving = slots_in(table.moving)
    searched = slots_in(table.moved) | moving
    found: dict[int, int] = {}
    for unit_id, slot, variant in exposed if searched else ():
        position = positions.get(variant)
        if position is None or slot not in searched:
            continue
        if slot in moving or table.owners[slot] != position:
            found[hash_of_digest(unit_id)] = position
    units = sorted(found)
    return Kept(array("Q", units), bytes(found[unit] for unit in units))
