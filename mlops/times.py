"""Times as people write them."""

from __future__ import annotations

from datetime import datetime

from mlops.console import Exit, complain


def moment(text: object) -> datetime:
    """An ISO time with its zone; ValueError for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(
            f"{str(text)[:100]!r} is no time; expected one such as 2026-11-20T12:00Z"
        ) from None
    if found.tzinfo is None:
        raise ValueError(f"{str(text)[:100]!r} has no time zone; for UTC, end it in Z")
    return found


def moment_of(option: str, text: str) -> datetime:
    """The time that an option was given; anything else ends the command."""
    try:
        found = moment(text)
        if not 2000 <= found.year < 2200:
            raise ValueError(f"{text!r} is not between the years 2000 and 2200")
        return found
    except ValueError as error:
        raise complain(f"{option}: {error}", Exit.USAGE) from None


def hours_between(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A window of whole hours; anything else ends the command."""
    for at in (start, end):
        if at.timestamp() % 3600:
            told = f"{at.isoformat()} is not on the hour: rollups are by the hour"
            raise complain(told, Exit.USAGE)
    if end <= start:
        raise complain(f"a window that ends at {end}; expected after {start}", Exit.USAGE)
    return start, end
