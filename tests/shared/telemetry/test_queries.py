"""Measured queries are stored in few bytes, and come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.telemetry.events import QueryMeasures
from shared.telemetry.queries import pack_query, unpack_queries
from shared.telemetry.texts import measure_text

TEXTS = st.lists(st.text(max_size=80), max_size=8)


def measures(text: str) -> QueryMeasures:
    found = measure_text(text)
    return QueryMeasures(
        characters=found.measured,
        words=found.words,
        word_characters=found.word_characters,
        letters=found.letters,
        hashes=list(found.hashes),
    )


@given(TEXTS)
@settings(max_examples=60)
def test_what_is_measured_of_any_text_is_allowed_and_comes_back(texts: list[str]) -> None:
    queries = [measures(text) for text in texts]
    found = unpack_queries(b"".join(map(pack_query, queries)))
    for name in ("characters", "words", "word_characters", "letters"):
        assert getattr(found, name).tolist() == [getattr(query, name) for query in queries]
    assert found.hashes.tolist() == [one for query in queries for one in query.hashes]


def test_the_longest_query_is_138_bytes() -> None:
    longest = measures(" ".join(f"word{n}" for n in range(10_000)))
    assert len(pack_query(longest)) == 138


@pytest.mark.parametrize("broken", [b"\x00", b"\x01\x00", b"\x41\x00" * 200, b"\x00\x01" * 600])
def test_what_is_no_record_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="measured quer"):
        unpack_queries(broken)
