"""What a report has room for."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from shared.evaluation.report.choosing import PictureAt, choose_episodes, choose_pictures, encoded

WON, LOST = UUID(int=1), UUID(int=2)
PICTURES = [PictureAt(WON, 0, "a"), PictureAt(LOST, 0, "b"), PictureAt(LOST, 1, "c")]
SIZES = {"a": 3, "b": 3, "c": 3}


@pytest.mark.parametrize(
    ("limit", "taken"),
    [
        (0, []),
        (3, []),
        (4, [(LOST, 0)]),
        (11, [(LOST, 0), (LOST, 1)]),
        (12, [(LOST, 0), (LOST, 1), (WON, 0)]),
    ],
)
def test_the_pictures_of_the_unsuccessful_come_first(
    limit: int, taken: list[tuple[UUID, int]]
) -> None:
    choice = choose_pictures(PICTURES, SIZES, frozenset({LOST}), limit)
    assert choice.taken == frozenset(taken)
    assert (choice.left_out, choice.gone) == (3 - len(taken), 0)


def test_pictures_that_are_gone_are_counted_apart() -> None:
    choice = choose_pictures(PICTURES, {"a": 3}, frozenset({LOST}), 100)
    assert (choice.taken, choice.left_out, choice.gone) == (frozenset({(WON, 0)}), 0, 2)


def test_the_steps_of_the_unsuccessful_come_first() -> None:
    assert choose_episodes([(WON, True), (LOST, False)], 1) == (frozenset({LOST}), 1)
    assert choose_episodes([(WON, True), (LOST, False)], 2) == (frozenset({WON, LOST}), 0)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_the_size_of_base64_is_known_beforehand(size: int) -> None:
    assert encoded(size) == len(base64.b64encode(b"x" * size))
