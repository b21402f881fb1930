"""Text that stays text in Markdown, whatever it holds."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 500
"Characters of a value that somebody typed; a card is no place for more."

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_BACKSLASHED: Final = frozenset("\\`*{}[]#|~$")
# Within a word an underscore does nothing.
_UNDERSCORE: Final = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# GitHub makes links of bare addresses: the colon and the dot are what it looks for.
_ADDRESS: Final = re.compile(r"(?i)(https?|ftp|mailto|xmpp|javascript):|(www)\.")


def escaped(text: str) -> str:
    """`text` on one line, with no effect as Markdown or HTML, cut at 500 characters.

    Punctuation by backslash and by entity, as CommonMark 0.31 sections 2.4 and 2.5 define them.
    """
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    seen = "".join(c if c.isprintable() else _visible(c) for c in cut)
    inert = "".join(_ENTITIES.get(c) or (f"\\{c}" if c in _BACKSLASHED else c) for c in seen)
    inert = _UNDERSCORE.sub(r"\\_", inert)
    return _ADDRESS.sub(lambda m: f"{m[1]}&#58;" if m[1] else f"{m[2]}&#46;", inert)


def _visible(character: str) -> str:
    if character in "\r\n\t":
        return " "
    # Escape codes for terminals, marks that turn the direction of writing.
    return f"<U+{ord(character):04X}>"
