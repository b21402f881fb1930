"""Addresses, numbers and elements: what matches and what does not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.custom.criteria import AddressMatch, AnswerMatch, ElementMatch
from shared.evaluation.custom.looking import Found
from shared.evaluation.custom.matching import (
    address_matches,
    answer_matches,
    elements_match,
    numbers_in,
)

OWN = {"origin": "http://127.0.0.1:5000", "dot": "a.b"}


@pytest.mark.parametrize(
    ("match", "address", "matches"),
    [
        ("https://Example.com", "https://example.com/", True),
        ("https://example.com/", "https://example.com/#top", False),
        ("/a", "http://127.0.0.1:5000/a", True),
        ("/a", "http://127.0.0.1:5001/a", False),
        ({"prefix": "/a"}, "http://127.0.0.1:5000/about", True),
        ({"prefix": "/a"}, "http://evil.example/?http://127.0.0.1:5000/a", False),
        ({"glob": "https://*.example.com/**"}, "https://shop.example.com/a/b?c", True),
        ({"glob": "https://*.example.com/*"}, "https://shop.example.com/a/b", False),
        ({"glob": "https://*.example.com/**"}, "https://evil.com/.example.com/", False),
        ({"glob": "/a?b=1"}, "http://127.0.0.1:5000/a?b=1", True),
        ({"glob": "/a?b=1"}, "http://127.0.0.1:5000/acb=1", False),
        ({"regex": "/{{dot}}$"}, "http://127.0.0.1:5000/a.b", True),
        ({"regex": "/{{dot}}$"}, "http://127.0.0.1:5000/axb", False),
        ({"exact": "/{{dot}}"}, "about:blank", False),
    ],
)
def test_addresses(match: object, address: str, matches: bool) -> None:
    assert address_matches(AddressMatch.model_validate(match), address, OWN) is matches


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It is 42.", ["42"]),
        ("$1,299.50, please", ["1299.50"]),
        ("-3 or 4", ["-3", "4"]),
        ("4 and again 4.0", ["4"]),
        ("\u22122 degrees", ["-2"]),
        ("10-20", ["10", "20"]),
        ("version 3.5.1, 1,29 EUR, A4, 12,34,56", []),
        ("9" * 31, []),
        ("none", []),
    ],
)
def test_numbers(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == {Decimal(one) for one in numbers}


@pytest.mark.parametrize(
    ("answer", "matches"), [("0.3", True), ("0.4", True), ("0.41", False), ("0.3 or 0.4", False)]
)
def test_a_tolerance_is_exact(answer: str, matches: bool) -> None:
    wanted = AnswerMatch.model_validate({"number": 0.3, "tolerance": 0.1})
    assert answer_matches(wanted, answer, {}) is matches


SEEN = [Found(True, "one  two", None), Found(False, "three", "x y"), Found(True, "", "x")]


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({}, True),
        ({"has_text": "one two"}, True),
        ({"has_text": "three"}, False),
        ({"has_text": {"exact": "one"}}, False),
        ({"has_text": {"contains": "ONE", "ignore_case": True}}, True),
        ({"has_text": "three", "visible": "any"}, True),
        ({"has_value": "x"}, True),
        ({"has_value": "x y"}, False),
        ({"has_value": "x", "has_text": "one"}, False),
        ({"visible": False}, False),
        ({"visible": False, "has_text": "three"}, True),
        ({"count": 2}, True),
        ({"count": 3}, False),
        ({"count": 3, "visible": "any"}, True),
    ],
)
def test_elements(match: dict[str, object], matches: bool) -> None:
    wanted = ElementMatch.model_validate({"selector": "p", **match})
    assert elements_match(wanted, len(SEEN), SEEN, {}) is matches


@given(st.text(max_size=200))
def test_no_answer_raises(answer: str) -> None:
    for wanted in ({"number": 1}, {"exact": answer}, {"contains": "a"}, {"regex": "a+$"}):
        match = AnswerMatch.model_validate(wanted) if "\0" not in answer else None
        assert match is None or answer_matches(match, answer, {}) in (True, False)
