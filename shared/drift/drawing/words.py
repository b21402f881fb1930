"""Words of both windows, in figures."""

from __future__ import annotations

from rich.text import Text

from shared.drift.drawing.signs import BASELINE_STYLE, CURRENT_STYLE, legend, require_width
from shared.drift.showing import NewWords


def draw_words(words: NewWords, width: int) -> list[Text]:
    """How many texts and words each window held; what of them is new is said above."""
    require_width(width)
    lines: list[Text] = []
    for name, tally, style in (
        ("baseline", words.baseline, BASELINE_STYLE),
        ("current", words.current, CURRENT_STYLE),
    ):
        told = [
            f"{tally.texts:,} queries",
            f"{tally.words:,} words",
            f"{tally.different:,} different ones",
        ]
        lines += legend(name, told, width, style)
    return lines
