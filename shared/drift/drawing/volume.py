"""Requests by the hour, what came above what was expected."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from shared.drift.drawing.signs import (
    BASELINE_STYLE,
    BLOCKS,
    CURRENT_STYLE,
    DIM,
    Signs,
    legend,
    level,
    require_width,
    wrapped,
)
from shared.drift.quantities import number, period
from shared.drift.showing import Volume, VolumeHour


def draw_volume(volume: Volume, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """Both to one scale, a gap where nothing is known; the newest hours, as many as fit.

    Below them stands which hours are outside of what 19 of 20 such hours bring.
    """
    require_width(width)
    if volume.observed is None or volume.expected is None:
        return wrapped(["there is nothing to compare the requests with"], width)
    lines: list[Text] = []
    hours = volume.hours[-width:]
    known = [one for hour in hours for one in (hour.observed, hour.expected) if one is not None]
    top = max(known, default=0.0) or 1.0
    told = [f"{number(volume.expected)} requests", f"{volume.weeks} weeks"]
    lines += legend("expected", told, width, BASELINE_STYLE)
    lines += _hours([hour.expected for hour in hours], top, BASELINE_STYLE, signs)
    lines += legend("current", [f"{volume.observed:,} requests"], width, CURRENT_STYLE)
    lines += _hours([hour.observed for hour in hours], top, CURRENT_STYLE, signs)
    outside = "".join(_outside(hour) for hour in hours).rstrip()
    if outside:
        lines.append(Text(outside, "bold"))
        lines += wrapped(["+ more and - less than 19 of 20 such hours bring"], width, DIM)
    if hours:
        told = [f"by the hour, full height {number(top)}"]
        lines += wrapped([*told, f"{period(hours[0].at, hours[-1].at)} UTC"], width, DIM)
    return lines


def _outside(hour: VolumeHour) -> str:
    if hour.observed is None or hour.low is None or hour.high is None:
        return " "
    return "+" if hour.observed > hour.high else "-" if hour.observed < hour.low else " "


def _hours(requests: Sequence[float | None], top: float, style: str, signs: Signs) -> list[Text]:
    cells = "".join(
        " " if one is None else level(one / top, signs, 0, is_known=True) for one in requests
    )
    return [Text(cells.rstrip(), style)] if requests else []
