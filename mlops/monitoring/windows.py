"""The hours that a command looks at, and the rates of what it finds there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.telemetry.reading import Window

Hours = Annotated[
    int, typer.Option(min=1, max=24 * 366, help="The last so many hours, the current one included.")
]


def last_hours(now: datetime, hours: int) -> Window:
    """The current hour and as many before it as make `hours`."""
    from shared.hours import next_hour
    from shared.telemetry.reading import Window

    end = next_hour(now)
    return Window(end - timedelta(hours=hours), end)


def rate(count: int, n: int) -> dict[str, Any] | None:
    """A share with its 95 % interval (Wilson) as JSON has it; None of nothing."""
    from shared.evaluation.intervals import wilson

    interval = wilson(count, n)
    if interval is None:
        return None
    return {"value": count / n, "low": interval.low, "high": interval.high, "n": n}


def shown_rate(found: Mapping[str, Any] | None) -> str | None:
    """`rate` for people."""
    if found is None:
        return None
    low, high = 100 * found["low"], 100 * found["high"]
    return f"{found['value']:.1%} ({low:.1f} to {high:.1f}) of {found['n']:,}"
