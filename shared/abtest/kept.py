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
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol, Self
from uuid import UUID

from shared.abtest.slots import Ranges, SlotTable
from shared.telemetry.units import unit_digest

_MAGIC: Final = b"kept1\n"
_BYTES_EACH: Final = 9
_DIGEST_BYTES: Final = 16


class KeptError(ValueError):
    """Bytes that are no packed units; the message is one line."""


class Keeping(Protocol):
    """Who knows which units keep their variant."""

    def variant_of(self, unit_id: str) -> int | None:
        """The position of the variant that a unit keeps; None if it keeps none."""


@dataclass(frozen=True)
class Kept:
    """Ascending hashes of units, and the position of the variant of each."""

    units: Sequence[int]
    variants: bytes

    def variant_of(self, unit_id: str) -> int | None:
        """As `Keeping` has it."""
        unit = unit_hash(unit_id)
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


def keeps(table: SlotTable, slot: int, variant: int) -> bool:
    """Whether a unit in this slot that met the variant at this position is one of them.

    Of slots that are moving all units are that have met a variant: who comes into them now is not
    let in.
    """
    if _within(table.moving, slot):
        return True
    return _within(table.moved, slot) and table.owners[slot] != variant


def _within(ranges: Ranges, slot: int) -> bool:
    return any(first <= slot < end for first, end in ranges)
