"""What is measured of a text: the same everywhere, little of it, and in bounded time."""

from __future__ import annotations

import re
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.telemetry.texts import MEASURED_CHARACTERS, MOST_WORDS, WORD_HASHES, measure_text


def hash_of(word):
    return crc32(word.encode()) % 65536


def test_a_query_is_measured():
    found = measure_text("Book 2 seats to Zürich, book NOW!")
    assert found.characters == 33
    assert found.words == 7
    assert found.mean_word_length == pytest.approx(25 / 7)
    assert found.digit_share == pytest.approx(1 / 33)
    assert found.non_letter_share == pytest.approx(9 / 33)
    words = ["book", "2", "seats", "to", "zürich", "now"]
    assert found.hashes == tuple(hash_of(word) for word in words)


def test_hashes_are_the_same_for_ever():
    # Stored vocabularies are compared over months: this may not change.
    assert measure_text("find cheap flights").hashes == (25604, 1917, 46570)


@given(st.text(max_size=60))
@settings(max_examples=60)
def test_any_text_is_measured_as_its_characters_say(text):
    found = measure_text(text)
    assert found.characters == len(text)
    if not text:
        assert found[2:] == (None, None, None, ())
        return
    words = re.findall(r"[^\W_]+", text.lower())
    assert found.words == len(words)
    if words:
        assert found.mean_word_length == pytest.approx(sum(map(len, words)) / len(words))
    assert 0 <= found.digit_share <= 1
    assert len(set(found.hashes)) == len(found.hashes) <= MOST_WORDS
    assert all(0 <= word < WORD_HASHES for word in found.hashes)


@given(st.text(alphabet=st.characters(max_codepoint=127), min_size=1, max_size=60))
@settings(max_examples=60)
def test_a_sign_beyond_ascii_changes_no_word_before_it(text):
    # The two ways through the code, for ASCII and not, agree.
    plain, marked = measure_text(text), measure_text(text + " …")
    assert (plain.words, plain.hashes) == (marked.words, marked.hashes)
    assert plain.mean_word_length == marked.mean_word_length


def test_at_most_the_first_64_different_words_are_kept():
    words = [f"word{n}" for n in range(500)]
    found = measure_text(" ".join(words + words))
    assert found.words == 1000
    expected = list(dict.fromkeys(hash_of(word) for word in words))[:64]
    assert list(found.hashes) == expected


def test_of_ten_megabytes_only_the_beginning_is_looked_at():
    long = "a1 " * (10_000_000 // 3)
    found = measure_text(long)
    assert found.characters == len(long)
    assert found.words <= MEASURED_CHARACTERS // 3 + 1
    assert found.digit_share == pytest.approx(1 / 3, abs=1e-3)


def test_half_of_a_surrogate_pair_is_no_word_and_no_error():
    assert measure_text("ab \ud83d cd").hashes == measure_text("ab cd").hashes


def test_digits_and_signs_of_other_scripts_are_digits_and_signs():
    found = measure_text("٣٤ öl。x")
    assert found.words == 3
    assert found.digit_share == pytest.approx(2 / 7)
    assert found.non_letter_share == pytest.approx(4 / 7)


def test_a_text_without_words_has_no_word_length():
    found = measure_text("?! …")
    assert (found.words, found.mean_word_length, found.hashes) == (0, None, ())
    assert found.non_letter_share == 1
