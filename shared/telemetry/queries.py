"""Measured queries as they are stored: one record of 16-bit numbers each, many of them end to end.

A record is, little-endian, how many hashes it holds, what `QueryMeasures` counts in the order in
which it names it, and the hashes: ten bytes and two for each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.telemetry.events import QueryMeasures
from shared.telemetry.metrics import SHARE_UNIT
from shared.telemetry.texts import MOST_WORDS

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint16]

_HEAD: Final = 5
"Numbers of a record before its hashes."


@dataclass(frozen=True, eq=False)
class Queries:
    """What was measured of many queries: each array has one number for each of them."""

    characters: Ints
    words: Ints
    word_characters: Ints
    letters: Ints
    hashes: Hashes
    "Of all of them, end to end: each as often as there are queries with it."

    @property
    def word_lengths(self) -> Ints:
        """The mean of each query that has words, in hundredths of a character."""
        some = self.words > 0
        return _rounded(100 * self.word_characters[some], self.words[some])

    @property
    def non_letters(self) -> Ints:
        """What was no letter of each query that is not empty, in ten-thousandths."""
        some = self.characters > 0
        others = self.characters[some] - self.letters[some]
        return _rounded(SHARE_UNIT * others, self.characters[some])


_NOTHING: Final = np.empty(0, np.int64)
NO_QUERIES: Final = Queries(
    characters=_NOTHING,
    words=_NOTHING,
    word_characters=_NOTHING,
    letters=_NOTHING,
    hashes=np.empty(0, np.uint16),
)


def pack_query(measures: QueryMeasures) -> bytes:
    """One record, of 138 bytes at most."""
    hashes = measures.hashes
    return struct.pack(
        f"<{_HEAD + len(hashes)}H",
        len(hashes),
        measures.characters,
        measures.words,
        measures.word_characters,
        measures.letters,
        *hashes,
    )


def unpack_queries(packed: bytes) -> Queries:
    """The queries of records end to end. ValueError if it breaks off, or is none."""
    if not packed:
        return NO_QUERIES
    if len(packed) % 2:
        raise ValueError(f"measured queries of {len(packed)} bytes; expected whole records")
    starts = []
    at, end = 0, len(packed)
    while at < end:
        # Each record says where the next one begins; so few hashes are told by their lower byte.
        starts.append(at)
        at += 2 * (_HEAD + packed[at])
    numbers = np.frombuffer(packed, dtype="<u2")
    first = np.array(starts, dtype=np.int64) // 2
    if at > end or (numbers[first] > MOST_WORDS).any():
        raise ValueError(f"measured queries break off, or hold more than {MOST_WORDS} hashes each")
    places = first[:, np.newaxis] + np.arange(_HEAD)
    is_hash = np.ones(numbers.size, dtype=np.bool_)
    is_hash[places] = False
    _, characters, words, word_characters, letters = numbers[places].astype(np.int64).T
    return Queries(characters, words, word_characters, letters, numbers[is_hash])


def _rounded(part: Ints, whole: Ints) -> Ints:
    ratio: Ints = (2 * part + whole) // (2 * whole)
    return ratio
