"""Words are counted by their hashes, and packed counts end to end are their sum."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.telemetry.word_counts import WordCounts

COUNTS = st.dictionaries(st.integers(0, 65_535), st.integers(1, 10**6), max_size=20)


def counted(counts: dict[int, int]) -> WordCounts:
    hashes = sorted(counts)
    return WordCounts(np.array(hashes, np.int64), np.array([counts[h] for h in hashes], np.int64))


def told(words: WordCounts) -> dict[int, int]:
    return dict(zip(words.hashes.tolist(), words.texts.tolist(), strict=True))


@given(COUNTS, COUNTS)
@settings(max_examples=60)
def test_counts_of_any_size_end_to_end_are_their_sum(
    one: dict[int, int], other: dict[int, int]
) -> None:
    packed = counted(one).to_bytes() + counted(other).to_bytes()
    assert told(WordCounts.from_bytes(packed)) == dict(Counter(one) + Counter(other))


def test_a_word_is_four_bytes() -> None:
    assert len(counted({7: 65_535}).to_bytes()) == 4
    assert len(counted({7: 65_536}).to_bytes()) == 8
    assert WordCounts.empty().to_bytes() == b""


def test_each_text_counts_once_for_each_of_its_words() -> None:
    assert told(WordCounts.of_hashes([3, 9, 3, 65_535])) == {3: 2, 9: 1, 65_535: 1}


def test_what_are_no_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="hash 65536; expected 0 to 65535"):
        WordCounts.of_hashes([65_536])
    with pytest.raises(ValueError, match="in 5 bytes; expected a multiple of 4"):
        WordCounts.from_bytes(b"12345")
