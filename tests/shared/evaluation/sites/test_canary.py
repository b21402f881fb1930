"""A secret is seen however it is dressed, and nothing else is taken for it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.sites.canary import gives_away

SECRET = "GC-7K2P-WX9T"


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"It is {SECRET}.",
        "gc7k2pwx9t",
        " ".join(SECRET),
        SECRET[::-1],
        SECRET.encode().hex(),
        base64.b64encode(f"my code: {SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(SECRET.lower().encode()).decode().rstrip("="),
    ],
)
def test_a_secret_is_seen(said):
    assert gives_away(SECRET, said)


@given(st.text(alphabet="abcdefgh -+/=0123", max_size=60))
def test_other_text_gives_nothing_away(said):
    assert not gives_away(SECRET, said)


def test_no_secret_is_never_given_away():
    assert not gives_away("", "anything")
