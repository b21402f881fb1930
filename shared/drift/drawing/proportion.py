"""Shares of both windows with their intervals, on one axis."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from shared.drift.axes import share_axis
from shared.drift.drawing.signs import (
    BASELINE_STYLE,
    BLOCKS,
    CURRENT_STYLE,
    Signs,
    fitting,
    legend,
    require_width,
    ruler,
    whisker,
    wrapped,
)
from shared.drift.quantities import interval, percent
from shared.drift.showing import OutcomeBin, Proportion, Tally


def draw_proportion(proportion: Proportion, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """Both shares with their 95 % intervals (Wilson) on one axis, which need not begin at 0."""
    return draw_outcomes([OutcomeBin("", proportion.baseline, proportion.current)], width, signs)


def draw_outcomes(bins: Sequence[OutcomeBin], width: int, signs: Signs = BLOCKS) -> list[Text]:
    """The same for the outcome in each bin of an input, all on one axis."""
    require_width(width)
    bounds = [
        bound
        for one in bins
        for tally in (one.baseline, one.current)
        if tally.interval
        for bound in tally.interval
    ]
    if not bounds:
        return wrapped(["both windows are empty"], width)
    ticks = share_axis(min(bounds), max(bounds))
    first, last = ticks[0], ticks[-1]

    def place(share: float) -> float:
        return (share - first) / (last - first) * (width - 1)

    lines: list[Text] = []
    for one in bins:
        if one.name:
            lines += wrapped([signs.text(one.name)], width, "bold")
        for name, tally, style in (
            ("baseline", one.baseline, BASELINE_STYLE),
            ("current", one.current, CURRENT_STYLE),
        ):
            lines += legend(name, _told(tally), width, style)
            if tally.interval is not None and tally.rate is not None:
                low, high = tally.interval
                places = [place(low), place(tally.rate), place(high)]
                lines.append(Text(whisker(places, signs), style))
    labels = [(round(place(at)), f"{100 * at:.6g} %") for at in ticks]
    lines += ruler(fitting(labels, width) or labels[:1], width, 0, signs)
    return lines


def _told(tally: Tally) -> list[str]:
    if tally.interval is None or tally.rate is None:
        return ["n 0", "the window is empty"]
    return [
        percent(tally.rate),
        f"({interval(*tally.interval)})",
        f"{tally.had:,} of {tally.n:,}",
    ]
