from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cards.markdown import LONGEST, escaped


@pytest.mark.parametrize(
    ("hostile", "inert"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a | b", r"a \| b"),
        ("[x](javascript:alert(1))", r"\[x\](javascript&#58;alert(1))"),
        ("![x](https://e.org/p.png)", r"!\[x\](https&#58;//e.org/p.png)"),
        ("**bold** `code`", r"\*\*bold\*\* \`code\`"),
        ("a\n---\n# title", r"a --- \# title"),
        ("www.example.org", "www&#46;example.org"),
        ("me@example.org", "me&#64;example.org"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("\x1b[31mred\u202e", r"&lt;U+001B&gt;\[31mred&lt;U+202E&gt;"),
        ("_a_ b_c __d", r"\_a\_ b_c \_\_d"),
        ("{{ 7 * 7 }}", r"\{\{ 7 \* 7 \}\}"),
        ("back\\|slash", r"back\\\|slash"),
        ("plain name-2.0 (beta)", "plain name-2.0 (beta)"),
    ],
)
def test_hostile_text_stays_text(hostile: str, inert: str) -> None:
    assert escaped(hostile) == inert


@given(st.text())
def test_nothing_is_left_that_markdown_or_html_could_act_on(text: str) -> None:
    out = escaped(text)
    assert out.isprintable()
    assert not re.search(r"(?<![A-Za-z0-9\\])_|(?<!\\)_(?![A-Za-z0-9])", out)
    assert not re.search(r"[<>]|(?<!\\)(?:\\\\)*[`*\[\]|]", out)


def test_a_very_long_text_is_cut() -> None:
    assert escaped("a" * 10_000) == "a" * LONGEST + "…"
