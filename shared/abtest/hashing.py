"""Where a unit falls: the same slot as in the SDKs of GrowthBook, hash version 2.

Source: https://docs.growthbook.io/lib/build-your-own (hashing), with FNV-1a 32 bit from
http://www.isthe.com/chongo/tech/comp/fnv/.
"""

from __future__ import annotations

from typing import Final

SLOTS: Final = 10_000

_OFFSET_BASIS: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFFFFFF


def fnv1a_32(text: str) -> int:
    """FNV-1a over the code points of `text`, which for ASCII are its bytes.

    Code points, and not UTF-8, because that is what GrowthBook's Python SDK hashes.
    """
    value = _OFFSET_BASIS
    for character in text:
        value = ((value ^ ord(character)) * _PRIME) & _MASK
    return value


def slot_of(seed: str, unit_id: str) -> int:
    """The slot, 0 to 9,999, of a unit: GrowthBook's bucket times 10,000."""
    return fnv1a_32(str(fnv1a_32(seed + unit_id))) % SLOTS
