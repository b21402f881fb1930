"""Where a unit falls: the same slot as in the SDKs of GrowthBook.

Source: https://docs.growthbook.io/lib/build-your-own (hashing), with FNV-1a 32 bit from
http://www.isthe.com/chongo/tech/comp/fnv/.
"""

from __future__ import annotations

from typing import Final

SLOTS: Final = 10_000

OFFSET_BASIS: Final = 0x811C9DC5

_NAMESPACE_PLACES: Final = 1_000


def fnv1a_32(text: str, state: int = OFFSET_BASIS) -> int:
    """FNV-1a over `text`, going on from `state`: `fnv1a_32(b, fnv1a_32(a)) == fnv1a_32(a + b)`.

    Over the UTF-16 code units, which for ASCII are the bytes, because that is what GrowthBook's
    SDKs hash: its JavaScript has no other units.
    """
    if not text.isascii():
        return _over_utf_16(text, state)
    data = text.encode()
    if len(data) & 1:
        state = ((state ^ data[0]) * 0x01000193) & 0xFFFFFFFF
        data = data[1:]
    # Two bytes between two masks: of the bits above the lowest 32 none ever comes down again.
    units = iter(data)
    for unit in units:
        state = ((((state ^ unit) * 0x01000193) ^ next(units)) * 0x01000193) & 0xFFFFFFFF
    return state


def _over_utf_16(text: str, state: int) -> int:
    data = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(data[::2], data[1::2], strict=True):
        state = ((state ^ (low | high << 8)) * 0x01000193) & 0xFFFFFFFF
    return state


def slot_of(seed: str, unit_id: str) -> int:
    """The slot, 0 to 9,999, of a unit: GrowthBook's bucket (hash version 2) times 10,000."""
    return slot_from(fnv1a_32(seed), unit_id)


def slot_from(seeded: int, unit_id: str) -> int:
    """`slot_of` for a seed that is hashed already: `seeded` is `fnv1a_32(seed)`."""
    return fnv1a_32(str(fnv1a_32(unit_id, seeded))) % SLOTS


def namespace_place(namespace: str, unit_id: str) -> float:
    """Where in a namespace a unit is, in thousandths from 0 to 0.999: hash version 1."""
    return fnv1a_32(f"{unit_id}__{namespace}") % _NAMESPACE_PLACES / _NAMESPACE_PLACES


def in_namespace(namespace: str, first: float, last: float, unit_id: str) -> bool:
    """Whether a unit has its place in [first, last) of a namespace."""
    return first <= namespace_place(namespace, unit_id) < last
