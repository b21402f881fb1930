"""The moves as BrowserGym's actions, on an accessibility tree as Chromium gives it."""

from __future__ import annotations

import pytest

from benchmarks.bids import action_of
from benchmarks.oracle import Move


def node(number: str, role: str, name: str = "", parent: str = "", bid: str = "") -> dict:
    made: dict = {"nodeId": number, "role": {"value": role}, "name": {"value": name}}
    return made | ({"parentId": parent} if parent else {}) | ({"browsergym_id": bid} if bid else {})


TREE = [
    node("1", "RootWebArea", "page"),
    node("2", "generic", parent="1", bid="12"),
    node("3", "StaticText", "et", parent="2"),
    node("4", "textbox", parent="1", bid="13"),
    node("5", "button", "Submit", parent="1", bid="14"),
]


def test_elements_are_named_by_their_bid() -> None:
    assert action_of(Move("click", "button", "Submit"), TREE) == "click('14')"
    assert action_of(Move("fill", "textbox", "", "it's"), TREE) == "fill('13', \"it's\")"


def test_a_text_is_clicked_where_it_stands() -> None:
    assert action_of(Move("click", "text", "et"), TREE) == "click('12')"


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="no button 'Ok' among 5 nodes"):
        action_of(Move("click", "button", "Ok"), TREE)
