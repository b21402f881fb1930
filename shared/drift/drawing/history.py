"""The effect over time, one cell a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Final

from rich.text import Text

from shared.drift.drawing.signs import BLOCKS, DIM, Signs, level, require_width, wrapped
from shared.drift.quantities import minute
from shared.drift.showing import NOT_JUDGED, PastSweep
from shared.drift.verdicts import DriftState
from shared.drift.wording import magnitude_said

_STATE_SIGNS: Final = {
    DriftState.DRIFT: "D",
    DriftState.WARNING: "s",
    DriftState.STABLE: " ",
    DriftState.NO_DATA: "?",
    DriftState.INSUFFICIENT: "?",
}


def draw_history(
    history: Sequence[PastSweep],
    minimum: float,
    effect_name: str,
    width: int,
    signs: Signs = BLOCKS,
) -> list[Text]:
    """The magnitude of an effect in each sweep, oldest first; a gap where nothing is known.

    Below stands `D` for drift, `s` for slight drift, `?` for not judged. Where there were more
    sweeps than there are cells, a cell shows its largest effect and worst state.
    """
    require_width(width)
    if not history:
        return wrapped(["no sweep yet"], width)
    ordered = sorted(history, key=lambda one: one.at)
    cells = _by_time(ordered, width)
    known = [one.effect for one in ordered if one.effect is not None]
    # An effect can be endless, where there is nothing left of what was expected.
    top = max([minimum, *(size for size in known if math.isfinite(size))])
    effects = ""
    states = ""
    for cell in cells:
        sizes = [one.effect for one in cell if one.effect is not None]
        effects += level(min(max(sizes) / top, 1.0), signs, 0, is_known=True) if sizes else " "
        found = {one.state for one in cell}
        worst = next(
            (
                state
                for state in (DriftState.DRIFT, DriftState.WARNING, *NOT_JUDGED)
                if state in found
            ),
            DriftState.STABLE,
        )
        states += _STATE_SIGNS[worst]
    told = f"effect in {len(ordered):,} sweeps"
    full, least = (magnitude_said(effect_name, size) for size in (top, minimum))
    scale = f"full height {full}, matters from {least}"
    lines = wrapped([told, scale], width, DIM)
    lines.append(Text(effects.rstrip()))
    if states.strip():
        lines.append(Text(states.rstrip(), "bold"))
        legend = {"D": "D drift", "s": "s slight drift", "?": "? not judged"}
        lines += wrapped([words for sign, words in legend.items() if sign in states], width, DIM)
    return lines + wrapped([f"{minute(ordered[0].at)} to {minute(ordered[-1].at)} UTC"], width, DIM)


def _by_time(history: Sequence[PastSweep], room: int) -> list[list[PastSweep]]:
    """Cells of equal time, so that a time without sweeps is a gap."""
    between = sorted(later.at - earlier.at for earlier, later in pairwise(history))
    whole = history[-1].at - history[0].at
    usual = between[len(between) // 2] if between else timedelta()
    cells = min(room, round(whole / usual) + 1) if usual else 1
    found: list[list[PastSweep]] = [[] for _ in range(cells)]
    for one in history:
        part = (one.at - history[0].at) / whole if whole else 0.0
        found[min(round(part * (cells - 1)), cells - 1)].append(one)
    return found
