"""How a test went: the difference to the control at each look, with its interval, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mlops.abtest_results import with_interval
from mlops.console import out, print_table

if TYPE_CHECKING:
    from shared.abtest.looks import ComparedThen, Look
    from shared.drift.drawing.signs import Signs
    from shared.evaluation.intervals import Interval

MOST_LOOKS: Final = 12
"Lines of one variant; of more looks some between are left out."
_CELLS: Final = 31


def print_looks(looks: Sequence[Look]) -> None:
    """A table for each variant that was compared; nothing before there are two looks with figures.

    `looks` begin with the oldest.
    """
    variants = list(dict.fromkeys(one.variant for look in looks for one in look.compared))
    for variant in variants:
        known = [
            (look, one)
            for look in looks
            for one in look.compared
            if one.variant == variant and one.difference is not None
        ]
        if len(known) > 1:
            _print_variant(variant, spread(known))


def spread(looks: Sequence[tuple[Look, ComparedThen]]) -> list[tuple[Look, ComparedThen]]:
    """At most `MOST_LOOKS` of them, evenly; the first and the last are always there."""
    steps = min(len(looks), MOST_LOOKS) - 1
    return [looks[round(step * (len(looks) - 1) / steps)] for step in range(steps + 1)]


def _print_variant(variant: str, known: Sequence[tuple[Look, ComparedThen]]) -> None:
    from shared.drift.drawing.signs import signs_for

    signs = signs_for(out.encoding)
    axis = _axis([one for _, one in known])
    metric = known[-1][1].metric
    print_table(
        ["looked at (UTC)", "units", "to the control", "drawn; 0 is no difference", "verdict"],
        [
            (
                f"{look.looked_at:%Y-%m-%d %H:%M}",
                look.units,
                with_interval(one.difference, _interval(one), one.unit, sign="+"),
                drawn(one, axis, signs),
                one.state.value,
            )
            for look, one in known
        ],
        title=f"{metric} of {variant}, look by look",
    )


def _interval(one: ComparedThen) -> Interval | None:
    from shared.evaluation.intervals import Interval

    if one.low is None and one.high is None:
        return None
    return Interval(
        -math.inf if one.low is None else one.low, math.inf if one.high is None else one.high
    )


def _axis(known: Sequence[ComparedThen]) -> tuple[float, float]:
    """All estimates, no difference and the newest interval are on it: early ones are far wider."""
    newest = known[-1]
    ends = [0.0, *(one for one in (newest.low, newest.high) if one is not None)]
    ends += [one.difference for one in known if one.difference is not None]
    low, high = min(ends), max(ends)
    margin = (high - low) / 10 or 1.0
    return low - margin, high + margin


def drawn(one: ComparedThen, axis: tuple[float, float], signs: Signs) -> str:
    """The interval as a line with its estimate, `<` and `>` where it goes on beyond the axis."""
    low, high = axis

    def cell(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (_CELLS - 1))

    begin = low if one.low is None else one.low
    end = high if one.high is None else one.high
    cells = [" "] * _CELLS
    for place in range(cell(begin), cell(end) + 1):
        cells[place] = signs.line
    cells[cell(begin)] = "<" if one.low is None or one.low < low else signs.left
    cells[cell(end)] = ">" if one.high is None or one.high > high else signs.right
    cells[cell(0.0)] = "0"
    cells[cell(one.difference or 0.0)] = signs.middle
    return "".join(cells)
