"""What is drawn with, and the lines that all drawings are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from shared.visible import visible

NARROWEST: Final = 20


BASELINE_STYLE: Final = "cyan"


CURRENT_STYLE: Final = "magenta"


DIM: Final = "dim"


@dataclass(frozen=True)
class Signs:
    """What is drawn with."""

    levels: str
    "Parts of a full cell, from nothing to all, filled from below."
    parts: str
    "The same, filled from the left."
    line: str
    left: str
    middle: str
    right: str
    tick: str
    trace: str
    "Less than the lowest level."
    ellipsis: str
    is_ascii: bool

    def text(self, name: str) -> str:
        """Text from elsewhere on one line, in characters that can be said."""
        line = visible(name).replace("\n", " ").replace("\t", " ")
        return line.encode("ascii", "backslashreplace").decode() if self.is_ascii else line


BLOCKS: Final = Signs(" ▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉█", "─", "├", "┼", "┤", "┴", ".", "…", is_ascii=False)


ASCII: Final = Signs(" -+#", "  ##", "-", "|", "O", "|", "+", ".", "~", is_ascii=True)


def signs_for(encoding: str | None) -> Signs:
    """Block characters where `encoding` (a stream's; None if unknown) can say them, else ASCII."""
    try:
        "".join((BLOCKS.levels, BLOCKS.parts, BLOCKS.line, BLOCKS.middle, BLOCKS.ellipsis)).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def require_width(width: int) -> None:
    if width < NARROWEST:
        raise ValueError(f"width {width}; expected {NARROWEST} or more")


def wrapped(parts: Iterable[str], width: int, style: str = "") -> list[Text]:
    """Parts beside each other while they fit, else below each other; what is longer is broken."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1]) + 2 + cell_len(part) <= width:
            lines[-1] += "  " + part
            continue
        line = ""
        for word in part.split(" "):
            if line and cell_len(line) + 1 + cell_len(word) <= width:
                line += " " + word
                continue
            if line:
                lines.append(line)
            line = word
            while cell_len(line) > width:
                cut = _cut(line, width)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    return [Text(line, style) for line in lines]


def legend(name: str, parts: Sequence[str], width: int, style: str) -> list[Text]:
    lines = wrapped([name, *parts], width)
    lines[0].stylize(f"bold {style}", 0, len(name))
    return lines


def fitted(text: str, width: int, signs: Signs) -> str:
    if cell_len(text) <= width:
        return text
    return text[: _cut(text, width - 1)] + signs.ellipsis


def stripped(line: Text) -> Text:
    line.rstrip()
    return line


def level(cells: float, signs: Signs, row: int, *, is_known: bool = False) -> str:
    """One cell of a bar that is `cells` high above the cell's foot.

    In the lowest row only nothing is drawn as nothing, and a known 0 not even so.
    """
    steps = len(signs.levels) - 1
    filled = min(max(round(cells * steps), 0), steps)
    if row == 0 and filled == 0 and (cells > 0 or is_known):
        return signs.trace
    return signs.levels[filled]


def bar(cells: float, signs: Signs) -> str:
    whole = int(cells)
    part = signs.parts[round((cells - whole) * (len(signs.parts) - 1))]
    bar = signs.parts[-1] * whole + part.strip()
    return bar if bar or cells <= 0 else signs.parts[1].strip() or signs.line


def whisker(places: Sequence[float], signs: Signs) -> str:
    """A line from the first to the last place with the middle marked; places may coincide."""
    low, middle, high = (int(place) for place in places)
    cells = [signs.line] * (high - low + 1)
    cells[0], cells[-1] = signs.left, signs.right
    cells[middle - low] = signs.middle
    return " " * low + "".join(cells)


def fitting(labels: Sequence[tuple[int, str]], room: int) -> list[tuple[int, str]]:
    """Those labels, from the left, that have two cells to the next; in whole they fit."""
    kept: list[tuple[int, str]] = []
    reached = -2
    for at, label in labels:
        if at >= reached + 2 and at + len(label) <= room:
            kept.append((at, label))
            reached = at + len(label)
    return kept


def ruler(labels: Sequence[tuple[int, str]], room: int, gutter: int, signs: Signs) -> list[Text]:
    rule = [signs.line] * room
    written = ""
    for at, label in labels:
        if at < room:
            rule[at] = signs.tick
        written = written.ljust(at) + label
    return [Text(" " * gutter + "".join(rule), DIM), Text(" " * gutter + written, DIM)]


def _cut(text: str, width: int) -> int:
    """How many characters fit into so many cells; at least one."""
    cells = 0
    for i, character in enumerate(text):
        cells += cell_len(character)
        if cells > width:
            return max(i, 1)
    return len(text)
