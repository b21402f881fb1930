"""YAML as data, with the place of everything, and nothing that a file could blow up by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.custom.document import FILE_BYTES, Place, read

TEXT = """\
name: shop   # a comment
tasks:
  - name: "a: b"
    on: no
    at: 12:30
    day: 2026-01-02
    number: [3, -1.5, 1e3, 0x10, true, ~, '3']
    text: |
      one
      two
"""


def test_what_is_written_is_what_is_read() -> None:
    document = read(TEXT.encode())
    assert document.mistakes == []
    assert document.data == {
        "name": "shop",
        "tasks": [
            {
                "name": "a: b",
                "on": "no",
                "at": "12:30",
                "day": "2026-01-02",
                "number": [3, -1.5, 1000.0, "0x10", True, None, "3"],
                "text": "one\ntwo\n",
            }
        ],
    }


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ((), (1, 1)),
        (("tasks", 0, "at"), (5, 5)),
        (("tasks", 0, "number", 1), (7, 17)),
        (("tasks", 0, "none", "of", "these"), (3, 5)),
    ],
)
def test_every_key_and_item_has_its_place(where: Any, place: tuple[int, int]) -> None:
    assert read(TEXT.encode()).place_of(where) == Place(*place)


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        (b"", (1, 1), "the file is empty"),
        (b"a: [1", (1, 6), "no valid YAML: while parsing a flow sequence"),
        (b"a:\n  b: 1\n c: 2", (3, 2), "no valid YAML"),
        (b"a: \xc3\x28", (1, 4), "not UTF-8: byte 0xc3"),
        (b"ok: 1\nb: \x07", (2, 4), "character U+0007"),
        (b"a: &x [1]\nb: *x", (2, 4), "alias *x"),
        (b"a: !!python/object/apply:os.system [id]", (1, 4), "tags are not allowed"),
        (b"a: 1\nb: 2\na: 3", (3, 1), "'a' stands here a second time, first in line 1"),
        (b"a: {b: 1}\nc:\n  <<: {b: 2}", (3, 3), "write out what is merged"),
        (b"? [a]\n: 1", (1, 3), "a key must be a text"),
        (b"a: 1\n---\nb: 2", (2, 1), "a second document"),
        (b"[" * 5_000, (1, 51), "nested deeper than 50 levels"),
        (b"- " * 5_000, (1, 101), "nested deeper than 50 levels"),
        (b"a" * (FILE_BYTES + 1), (1, 1), f"at most {FILE_BYTES}"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    data: bytes, place: tuple[int, int], said: str
) -> None:
    first = read(data).mistakes[0]
    assert first.place == Place(*place)
    assert said in first.said


def test_a_bomb_of_aliases_is_not_even_lit() -> None:
    levels = ["a0: &a0 [x, x]"]
    levels += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    document = read("\n".join(levels).encode())
    assert document.mistakes[0].place == Place(2, 10)
    assert document.data == {"a0": ["x", "x"], "a1": []}


@given(st.binary(max_size=200) | st.text("a:-[]{}*&!?|>'\"#%\n ,\t~", max_size=60).map(str.encode))
def test_no_file_raises(data: bytes) -> None:
    document = read(data)
    for mistake in document.mistakes:
        assert mistake.place.line >= 1
        assert mistake.place.column >= 1
