"""Words counted by their hashes, packed so that windows of any length are sums of small rows.

A record is, little-endian, a hash and how many texts hold such a word: four bytes. Larger counts
than 65,535 take several records of one hash, so that records end to end are their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from shared.telemetry.texts import WORD_HASHES

Ints = npt.NDArray[np.int64]

_RECORD: Final = np.dtype([("hash", "<u2"), ("texts", "<u2")])
_MOST: Final = 2**16 - 1
"That one record can count."


@dataclass(frozen=True, eq=False)
class WordCounts:
    """`texts[i]` texts, 1 or more, hold a word with `hashes[i]`; hashes rise."""

    hashes: Ints
    texts: Ints

    @classmethod
    def empty(cls) -> Self:
        """Of no texts."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of_hashes(cls, hashes: npt.ArrayLike) -> Self:
        """From the distinct hashes of each text, end to end. ValueError outside of 16 bits."""
        found, texts = np.unique(np.asarray(hashes, dtype=np.int64), return_counts=True)
        if found.size and not 0 <= found[0] <= found[-1] < WORD_HASHES:
            wrong = found[0] if found[0] < 0 else found[-1]
            raise ValueError(f"hash {wrong}; expected 0 to {WORD_HASHES - 1}")
        return cls(found, texts.astype(np.int64))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The sum of all in `packed`: one `to_bytes()` or several end to end.

        ValueError if that is not whole records.
        """
        if len(packed) % _RECORD.itemsize:
            raise ValueError(
                f"counts of words in {len(packed)} bytes; expected a multiple of {_RECORD.itemsize}"
            )
        records = np.frombuffer(packed, dtype=_RECORD)
        dense = np.bincount(records["hash"], weights=records["texts"])
        found = np.flatnonzero(dense)
        return cls(found.astype(np.int64), dense[found].astype(np.int64))

    def to_bytes(self) -> bytes:
        """Packed records, in rising order of hash."""
        each = (self.texts + _MOST - 1) // _MOST
        records = np.empty(int(each.sum()), dtype=_RECORD)
        records["hash"] = np.repeat(self.hashes, each)
        records["texts"] = _MOST
        # The last record of a hash has what is left.
        records["texts"][np.cumsum(each) - 1] = self.texts - (each - 1) * _MOST
        return records.tobytes()
