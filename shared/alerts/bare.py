"""Words of senders as they stand in the message of an alert, which is sent on to anywhere."""

from __future__ import annotations

from typing import Final

from shared.redaction import redacted_name
from shared.visible import visible

# It is sent on to where a name may be taken for markup.
_NO_MARKUP: Final = str.maketrans("<>[]`&", "()()'+")


def bare(text: str) -> str:
    """A short text without secrets, markup, and what a terminal would obey."""
    return visible(redacted_name(text)).translate(_NO_MARKUP)
