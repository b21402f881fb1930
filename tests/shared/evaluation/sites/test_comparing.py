"""The asked change and no other: every difference of two states is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.evaluation.sites.comparing import INCIDENTAL, Wording, differences


@dataclass
class Shelf:
    books: dict[str, int]
    labels: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    looked_at: int = field(default=0, metadata=INCIDENTAL)


def test_equal_states_differ_in_nothing():
    assert list(differences(Shelf({"a": 1}, {"x", "y"}), Shelf({"a": 1}, {"y", "x"}))) == []
    assert list(differences(Shelf({"a": 1}), Shelf({"a": 1}, looked_at=9))) == []


def test_each_difference_is_a_line():
    expected = Shelf({"a": 1, "b": 2}, {"x"}, ["one"])
    actual = Shelf({"a": 3, "c": 2}, set(), ["one", "two"])

    assert list(differences(expected, actual, "shelf")) == [
        "shelf.books[a] is 3 instead of 1",
        "shelf.books[b] is missing",
        "shelf.books[c] should not be there",
        "shelf.labels is set() instead of {'x'}",
        "shelf.notes has 2 entries instead of 1",
    ]


def test_of_a_wording_only_its_phrases_are_asked_for():
    expected = Shelf({}, notes=[Wording("Friday at 10:00", "thanks")])

    assert list(differences(expected, Shelf({}, notes=["Thanks, friday  at 10:00!"]))) == []
    assert list(differences(expected, Shelf({}, notes=["Thanks, Friday at 10:30!"]))) == [
        "notes[0] does not say 'Friday at 10:00', 'thanks'"
    ]


def test_order_of_a_mapping_does_not_matter_and_its_type_neither():
    assert list(differences({"a": (1, 2), "b": 0}, {"b": 0, "a": [1, 2]})) == []
