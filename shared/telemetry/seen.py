"""Names that were reported: one that never was is a mistake of whoever asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.names import OTHER
from shared.telemetry.tables import CustomMetric, ModelPerformance, TelemetryName


class NeverSeenError(LookupError):
    """No event has had this name; the message is one line, with names that are like it."""


_SUMMED: Final = {
    "model": ModelPerformance.model,
    "function": ModelPerformance.function,
    "name": CustomMetric.name,
}
"Where the names of a field are that can be asked for."


def require_seen(session: Session, field: str, name: str | None, called: str = "") -> None:
    """Raise NeverSeenError unless an event of the tenant had `name` in `field`; None is nobody's.

    `field` is `model`, `function`, or `name` for that of a metric.
    `called` is what people call the field, where they call it something else.
    """
    if name is None or name == OTHER:
        return
    seen = frozenset(
        session.scalars(sa.select(TelemetryName.name).where(TelemetryName.field == field))
    )
    if name not in seen and not _is_summed(session, field, name):
        raise NeverSeenError(
            f"no {called or field} {name!r} has ever been reported{did_you_mean(name, seen)}"
        )


def _is_summed(session: Session, field: str, name: str) -> bool:
    """Whether rollups have it: they may be older than the list of names, and what machines report
    is in them alone."""
    column = _SUMMED[field]
    return session.scalar(sa.select(column).where(column == name).limit(1)) is not None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'checkout'?`: the names most like it, or nothing where none is."""
    # Without case: it is what people get wrong first.
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    return f"; did you mean {' or '.join(repr(by_lower[one]) for one in near)}?" if near else ""
