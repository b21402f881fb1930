"""Numbers as people read them at a glance: three digits, and the unit that fits them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

MILLISECONDS: Final = "ms"
_TIMES: Final = ((1.0, "ms"), (1_000.0, "s"), (60_000.0, "min"), (3_600_000.0, "h"))
_LARGE: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES_BEGIN: Final = (0.0, 1_000.0, 120_000.0, 7_200_000.0)
"From here on a time is said in the unit: 90 s are said so, 150 s are 2.5 min."


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """`1.92 s`, `12.3k tokens`, `0.85`: a value with its unit, to so many digits.

    Milliseconds become the unit of time that fits; other units are words, or nothing.
    """
    if unit == MILLISECONDS:
        return _time(value, digits)
    text = number(value, digits)
    return f"{text} {unit}" if unit else text


def bare(value: float, unit: str) -> str:
    """Without a unit that is a word, where that is said beside it: `1.92 s`, `12.3k`."""
    return quantity(value, unit if unit == MILLISECONDS else "")


def tick(value: float, unit: str) -> str:
    """As beside an axis, which says a unit that is a word by itself: `1.25 s`, `12k`."""
    return _time(value, 4) if value and unit == MILLISECONDS else number(value, 4)


def number(value: float, digits: int = 3) -> str:
    """`0.123`, `999`, `1,234`, `12.3k`, `4.56M`."""
    size = abs(value)
    if size < 10_000:
        if size >= 1_000:
            return f"{value:,.0f}"
        return _digits(value, digits)
    for least, letter in _LARGE:
        if size >= least and size < 1e15:
            return _digits(value / least, digits) + letter
    return f"{value:.{digits}g}"


def percent(share: float) -> str:
    """`12.3 %`; what is nearly nothing or nearly all is not said to be 0 or 100."""
    if 0 < abs(share) < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def interval(low: float, high: float) -> str:
    """`3.8 to 4.5 %`."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def probability(p_value: float) -> str:
    """`0.032`, `2e-9`; below a float's reach `<1e-300`."""
    if p_value < 1e-300:
        return "<1e-300"
    return f"{p_value:.2g}".replace("e-0", "e-")


def minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def period(start: datetime, end: datetime) -> str:
    """`2026-03-04 12:00 to 13:00`: the day once where both are of it."""
    until = f"{end:%H:%M}" if start.date() == end.date() else minute(end)
    return f"{minute(start)} to {until}"


def _time(milliseconds: float, digits: int) -> str:
    size = abs(milliseconds)
    which = max(i for i, least in enumerate(_TIMES_BEGIN) if size >= least)
    divisor, name = _TIMES[which]
    return f"{number(milliseconds / divisor, digits)} {name}"


def _digits(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" in text and math.fabs(value) >= 1:
        return f"{value:.0f}"
    return text.replace("e-0", "e-")
