"""Errors are sorted by what they call for, and counted as one where only numbers differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.telemetry.errors import ErrorCategory, categorize, folded

SAID = {
    ErrorCategory.TIMEOUT: [
        ("TimeoutError", "Timeout 30000ms exceeded."),
        ("timeout", None),
        (None, "the request timed out"),
    ],
    ErrorCategory.NAVIGATION: [
        ("Error", "Page.goto: net::ERR_ABORTED at https://shop.test/"),
        ("NavigationError", None),
        ("Error", "net::ERR_TOO_MANY_REDIRECTS"),
    ],
    ErrorCategory.ELEMENT_NOT_FOUND: [
        ("Error", "there is no element e17"),
        ("NoSuchElementException", None),
        ("Error", "strict mode violation: locator resolved to 3 elements"),
    ],
    ErrorCategory.MODEL_REFUSED: [
        ("content_filter", None),
        ("BadRequestError", "The response was filtered due to content policy"),
        ("refusal", "I cannot help with that"),
    ],
    ErrorCategory.PARSE: [
        ("JSONDecodeError", "Expecting value: line 1 column 1 (char 0)"),
        ("Error", "Unexpected token < in JSON at position 0"),
        ("ValidationError", None),
    ],
    ErrorCategory.RATE_LIMIT: [
        ("RateLimitError", "Error code: 429"),
        ("APIStatusError", "Overloaded"),
        ("insufficient_quota", None),
    ],
    ErrorCategory.NETWORK: [
        ("ConnectionError", None),
        ("APIConnectionError", "Connection error."),
        ("Error", "net::ERR_NAME_NOT_RESOLVED"),
        ("Error", "502 Bad Gateway"),
    ],
    ErrorCategory.BROWSER_CRASH: [
        ("Error", "Page crashed"),
        ("TargetClosedError", "Target page, context or browser has been closed"),
    ],
    ErrorCategory.OTHER: [("Error", "something else"), (None, None), ("KeyError", "'x'")],
}


@pytest.mark.parametrize(
    ("category", "error_type", "message"),
    [(category, *said) for category, all_said in SAID.items() for said in all_said],
)
def test_an_error_has_the_category_of_what_it_calls_for(
    category: ErrorCategory, error_type: str | None, message: str | None
) -> None:
    assert categorize(error_type, message) is category


def test_what_a_type_says_comes_before_what_a_message_quotes() -> None:
    assert categorize("RateLimitError", "timeout while parsing json") is ErrorCategory.RATE_LIMIT


def test_messages_that_differ_in_numbers_and_identifiers_are_one() -> None:
    shapes = {
        folded(message)
        for message in (
            "Timeout 30000ms exceeded at https://shop.test/a?b=1 (id 4f9d2c1b8a7e6d5c)",
            "Timeout 5000ms exceeded at https://other.test/ (id 00ff00ff00ff00ff)\nCall log: ...",
        )
    }
    assert shapes == {"Timeout <n>ms exceeded at <url> (id <id>)"}


def test_messages_that_say_other_things_stay_apart() -> None:
    assert folded("no element e1") != folded("no option e1")


@given(st.text(max_size=2000))
def test_a_shape_is_short_and_of_one_line(message: str) -> None:
    shape = folded(message)
    assert len(shape) <= 200
    assert "\n" not in shape
