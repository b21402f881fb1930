"""Names that were reported: one that never was is a mistake of whoever asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.names import OTHER
from shared.telemetry.tables import TelemetryName


class NeverSeenError(LookupError):
    """No event has had this name; the message is one line, with names that are like it."""


def require_seen(session: Session, field: str, name: str | None, called: str = "") -> None:
    """Raise NeverSeenError unless an event of the tenant had `name` in `field`; None is nobody's.

    `called` is what people call the field, where they call it something else.
    """
    if name is None or name == OTHER:
        return
    seen = frozenset(
        session.scalars(sa.select(TelemetryName.name).where(TelemetryName.field == field))
    )
    if name not in seen:
        raise NeverSeenError(
            f"no {called or field} {name!r} has ever been reported{did_you_mean(name, seen)}"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'checkout'?`: the names most like it, or nothing where none is."""
    # Without case: it is what people get wrong first.
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    return f"; did you mean {' or '.join(repr(by_lower[one]) for one in near)}?" if near else ""
