"""Text from elsewhere, made safe to look at: in a terminal, in a browser, in a log."""

from __future__ import annotations

import unicodedata
from typing import Final

_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"Control characters, lone surrogates, and what separates lines and paragraphs."


def visible(text: object) -> str:
    """The text with escapes for what a reader would obey or not see, but newlines and tabs."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character in _BIDI
        or (unicodedata.category(character) in _CATEGORIES and character not in "\n\t")
        else character
        for character in str(text)
    )
