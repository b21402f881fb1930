"""Secrets of every kind that people put where they should not are taken out; the rest stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.redaction import REDACTED, redacted, redacted_value
from tests.shared.canaries import CANARIES, SECRETS


@pytest.mark.parametrize("kind", CANARIES)
def test_a_secret_is_taken_out_wherever_it_stands(kind: str) -> None:
    canary, secret = CANARIES[kind], SECRETS[kind]
    for text in (canary, f"failed with {canary}", f"{canary} was refused", f"({canary})"):
        assert secret not in redacted(text), text
        assert REDACTED in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "Timeout 30000ms exceeded.",
        "max_tokens: 4096, input_tokens=17, tokens: 5",
        "Unexpected token } in JSON at position 4",
        "basic authentication is required",
        "the bearer of bad news",
        "click the pass button",
        "https://shop.test/cart",
        "net::ERR_CONNECTION_REFUSED at http://127.0.0.1:8000/",
        "task-completion-rate",
        "gpt-4.1-mini@1.0.0",
        "ask-a-question-that-is-long",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_what_stands_before_a_secret_still_says_what_went_wrong() -> None:
    said = redacted("cannot connect to postgresql://app:hunter2@db/mlops: refused")
    assert said == f"cannot connect to postgresql://{REDACTED}@db/mlops: refused"


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@given(st.text(max_size=50), st.sampled_from(sorted(CANARIES)), st.text(max_size=50))
def test_no_surroundings_hide_a_secret(before: str, kind: str, after: str) -> None:
    text = f"{before} {CANARIES[kind]} {after}"
    assert SECRETS[kind] not in redacted(text)


@pytest.mark.parametrize("value", ["correct horse battery staple", "a,b;c&d", "'x", '"', "1"])
def test_the_value_of_a_field_that_is_named_like_a_secret_goes_whole(value: str) -> None:
    assert redacted_value("password", value) == REDACTED
    assert redacted_value("db_api_key", value) == REDACTED
    assert redacted_value("note", value) == value


def test_a_quoted_secret_with_quotes_in_it_goes_whole() -> None:
    assert "battery" not in redacted(r'{"password": "correct \"horse battery"}')


@pytest.mark.parametrize("words", ["a-", "session-id", "key", "password_", "sk-", "://", "Bearer "])
def test_a_long_text_of_hints_comes_to_an_end(words: str) -> None:
    """What grows with the square of the length would not, within the time of a test."""
    text = "key " + words * 20_000
    assert len(redacted(text)) <= len(text) + 20_000
