"""Shares of categories, of both windows side by side."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shared.drift.drawing.signs import (
    BASELINE_STYLE,
    BLOCKS,
    CURRENT_STYLE,
    DIM,
    Signs,
    bar,
    fitted,
    legend,
    require_width,
    stripped,
    wrapped,
)
from shared.drift.quantities import percent
from shared.drift.showing import Categories, Category

CATEGORIES: Final = 12


_SIDE_BY_SIDE: Final = 56
"From this width on the two bars of a category share a line."


def draw_categories(
    categories: Categories, width: int, signs: Signs = BLOCKS, most: int = CATEGORIES
) -> list[Text]:
    """The `most` largest categories and all others as one: shares of both windows side by side."""
    require_width(width)
    largest, other = categories.largest(most)
    if not largest:
        return wrapped(["both windows are empty"], width)
    shown = [*largest, *([other] if other else [])]
    sizes = categories.n_baseline, categories.n_current
    top = max(_share(one, size, i) for one in shown for i, size in enumerate(sizes)) or 1.0
    beside = width >= _SIDE_BY_SIDE
    named = min(max(cell_len(_name(one, signs)) for one in shown), width // 3 if beside else width)
    lines: list[Text] = []
    for name, style, size in (
        ("baseline", BASELINE_STYLE, sizes[0]),
        ("current", CURRENT_STYLE, sizes[1]),
    ):
        lines += legend(name, [f"n {size:,}"] if size else ["n 0", "empty"], width, style)
    # Beside each bar stands its share, and behind the last that a category is new or gone.
    room = (width - named - 2 - 2 * 9 - 6) // 2 if beside else width - 10
    if beside:
        lines.append(Text(" " * (named + 1) + "baseline".ljust(room + 10) + "current", DIM))
    for one in shown:
        label = fitted(_name(one, signs), named, signs)
        bars = [
            bar(_share(one, size, i) / top * room, signs) if size else ""
            for i, size in enumerate(sizes)
        ]
        told = [percent(_share(one, size, i)) if size else "-" for i, size in enumerate(sizes)]
        change = ""
        if all(sizes) and not (one.baseline and one.current):
            change = " new" if one.current else " gone"
        if beside:
            line = Text(set_cell_size(label, named) + " ")
            for i, style in enumerate((BASELINE_STYLE, CURRENT_STYLE)):
                line.append(f"{told[i]:>8} ")
                line.append(bars[i] if i else set_cell_size(bars[i], room + 1), style)
            line.append(change)
            lines.append(stripped(line))
        else:
            lines.append(Text(f"{fitted(_name(one, signs), width - len(change), signs)}{change}"))
            for i, style in enumerate((BASELINE_STYLE, CURRENT_STYLE)):
                line = Text(f"{'bc'[i]}{told[i]:>8} ")
                line.append(bars[i], style)
                lines.append(stripped(line))
    return lines


def _name(one: Category, signs: Signs) -> str:
    return signs.text(one.name) or "(no name)"


def _share(one: Category, size: int, which: int) -> float:
    return (one.current if which else one.baseline) / size if size else 0.0
