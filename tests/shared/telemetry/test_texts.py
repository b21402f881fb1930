"""What is measured of a text: the same everywhere, little of it, and in bounded time."""

from __future__ import annotations

import re
import unicodedata
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.telemetry.texts import MEASURED_CHARACTERS, MOST_WORDS, WORD_HASHES, measure_text


def hash_of(word):
    return crc32(word.encode()) % 65536


def test_a_query_is_measured():
    found = measure_text("Book 2 seats to Zürich, book NOW!")
    assert (found.characters, found.measured) == (33, 33)
    assert (found.words, found.word_characters, found.letters) == (7, 25, 24)
    words = ["book", "2", "seats", "to", "zürich", "now"]
    # In no order that says in which they came.
    assert found.hashes == tuple(sorted(hash_of(word) for word in words))


def test_hashes_are_the_same_for_ever():
    # Stored vocabularies are compared over months: this may not change.
    assert measure_text("find cheap flights").hashes == (1917, 25604, 46570)


LEFT_OUT = re.compile("[\u00ad\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
ANY = st.text(max_size=60) | st.text(
    alphabet="aEé1 -_\u0301\u0930\u093f\u200d\ufe0f❤İ", max_size=20
)


@given(ANY)
@settings(max_examples=100)
def test_any_text_is_measured_as_its_characters_say(text):
    found = measure_text(text)
    composed = unicodedata.normalize("NFC", text.lower())
    assert (found.characters, found.measured) == (len(text), len(composed))
    in_words = (
        c if c.isalnum() or (c > "\x7f" and unicodedata.category(c)[0] == "M") else " "
        for c in LEFT_OUT.sub("", composed)
    )
    words = "".join(in_words).split(" ")
    words = [word for word in words if word]
    assert (found.words, found.word_characters) == (len(words), sum(map(len, words)))
    assert found.letters == sum(not c.isdecimal() for c in "".join(words))
    assert found.words <= found.word_characters <= found.measured
    assert len(set(found.hashes)) == len(found.hashes) <= MOST_WORDS
    assert all(0 <= word < WORD_HASHES for word in found.hashes)


@given(ANY)
@settings(max_examples=100)
def test_a_text_has_the_same_words_however_its_accents_are_written(text):
    composed, decomposed = (
        measure_text(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")
    )
    assert composed[1:] == decomposed[1:]


def test_marks_are_part_of_their_words():
    accents = measure_text(unicodedata.normalize("NFD", "Café déjà fermé"))
    assert accents.words == 3
    assert accents.hashes == tuple(sorted(map(hash_of, ("café", "déjà", "fermé"))))
    assert measure_text("मुझे दिल्ली से मुंबई").words == 4
    # Joiners, and what says how a sign is to look, are no words, and end none.
    assert measure_text("می\u200cخواهم").hashes == measure_text("میخواهم").hashes  # noqa: RUF001
    assert measure_text("I ❤\ufe0f you 👩\u200d👧").words == 2


@given(st.text(alphabet=st.characters(max_codepoint=127), min_size=1, max_size=60))
@settings(max_examples=60)
def test_a_sign_beyond_ascii_changes_no_word_before_it(text):
    # The two ways through the code, for ASCII and not, agree.
    plain, marked = measure_text(text), measure_text(text + " …")
    assert plain[2:] == marked[2:]


def test_at_most_the_first_64_different_words_are_kept():
    words = [f"word{n}" for n in range(250)]
    found = measure_text(" ".join(words + words))
    assert found.words == 500
    assert found.hashes == tuple(sorted(list(dict.fromkeys(map(hash_of, words)))[:64]))


def test_of_ten_megabytes_only_the_beginning_is_looked_at():
    long = "a1 " * (10_000_000 // 3)
    found = measure_text(long)
    assert (found.characters, found.measured) == (len(long), MEASURED_CHARACTERS)
    assert found.words == MEASURED_CHARACTERS // 3 + 1
    assert found.letters == found.words


def test_half_of_a_surrogate_pair_is_no_word_and_no_error():
    assert measure_text("ab \ud83d cd").hashes == measure_text("ab cd").hashes


def test_digits_and_signs_of_other_scripts_are_digits_and_signs():
    found = measure_text("٣٤ öl。x")
    assert found[1:5] == (7, 3, 5, 3)


def test_a_text_may_hold_no_words_or_nothing():
    assert measure_text("?! …") == (4, 4, 0, 0, 0, ())
    assert measure_text("") == (0, 0, 0, 0, 0, ())
