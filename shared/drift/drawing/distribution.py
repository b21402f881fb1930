"""Two histograms, one above the other, over the same bins and to the same scale."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from shared.drift.axes import Binned, BinnedWindow, binned
from shared.drift.drawing.signs import (
    BASELINE_STYLE,
    BLOCKS,
    CURRENT_STYLE,
    DIM,
    Signs,
    fitting,
    legend,
    level,
    require_width,
    ruler,
    stripped,
    whisker,
    wrapped,
)
from shared.drift.movement import furthest_apart
from shared.drift.quantities import MILLISECONDS, bare, percent, quantity, tick
from shared.drift.showing import Distribution, quantiles

HEIGHT: Final = 4
"Lines of one window's bars."


def draw_distribution(
    distribution: Distribution, width: int, signs: Signs = BLOCKS, height: int = HEIGHT
) -> list[Text]:
    """Histograms of both windows on one axis and one scale, 5 %, median and 95 % marked below each.

    ValueError for a width below 20 or a height below 1.
    """
    require_width(width)
    if height < 1:
        raise ValueError(f"height {height}; expected 1 or more")
    gutter = 8 if width >= 40 else 0
    shown = binned(distribution, width - gutter)
    if shown is None:
        return wrapped(["both windows are empty"], width)
    wide = (width - gutter) // shown.bins
    windows = (
        ("baseline", BASELINE_STYLE, shown.baseline, distribution.baseline),
        ("current", CURRENT_STYLE, shown.current, distribution.current),
    )
    top = max(float(window.shares.max()) for _, _, window, _ in windows if window is not None)
    lines: list[Text] = []
    for name, style, window, counts in windows:
        marked = quantiles(distribution.positions, counts)
        if window is None or marked is None:
            lines += legend(name, ["n 0", "the window is empty"], width, style)
            continue
        low, middle, high = (bare(value, distribution.unit) for value in marked)
        told = [f"n {int(counts.sum()):,}", f"5 % {low}", f"median {middle}", f"95 % {high}"]
        lines += legend(name, told, width, style)
        for row in range(height - 1, -1, -1):
            label = f"{percent(top)} " if row == height - 1 and gutter else ""
            bars = "".join(
                level(float(share) / top * height - row if top else 0.0, signs, row) * wide
                for share in window.shares
            )
            line = Text(label.rjust(gutter), DIM)
            line.append(bars.rstrip(), style)
            lines.append(stripped(line))
        marks = Text(" " * gutter)
        places = [min(shown.place(value), shown.bins - 0.5 / wide) * wide for value in marked]
        marks.append(whisker(places, signs), style)
        lines.append(marks)
        lines += wrapped(_beyond(window, signs.text(distribution.unit)), width, DIM)
    lines += _axis(shown, wide, gutter, width, distribution.unit, signs)
    told_gap = furthest_apart(distribution)
    if told_gap is not None:
        lines += wrapped([signs.text(told_gap)], width)
    return lines


def _beyond(window: BinnedWindow, unit: str) -> list[str]:
    told = []
    if window.below:
        least = quantity(window.smallest, unit)
        told.append(f"{percent(window.below)} left of the axis, from {least}")
    if window.above:
        most = quantity(window.largest, unit)
        told.append(f"{percent(window.above)} right of the axis, up to {most}")
    return told


def _axis(shown: Binned, wide: int, gutter: int, width: int, unit: str, signs: Signs) -> list[Text]:
    room = width - gutter
    shown_labels: list[tuple[int, str]] = []
    for marked in shown.marks():
        labels = [(int(place * wide), tick(value, unit)) for place, value in marked]
        # The end of the axis may be too near to the edge of the terminal for its label.
        labels = [(at, label) for at, label in labels if at + len(label) <= room]
        shown_labels = fitting(labels, room)
        if len(labels) > 1 and len(shown_labels) == len(labels):
            break
    remarks = [signs.text(unit)] if unit and unit != MILLISECONDS else []
    if shown.logarithmic:
        remarks.append("logarithmic axis")
    return [
        *ruler(shown_labels, shown.bins * wide, gutter, signs),
        *wrapped([f"({', '.join(remarks)})"] if remarks else [], width, DIM),
    ]
