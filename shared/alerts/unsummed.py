"""One alert while there are hours that cannot be summed: no report has what happened in them."""

from __future__ import annotations

from typing import Final

from sqlalchemy.orm import Session

from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.telemetry.rollups import unsummed

KIND: Final = "telemetry"
FINGERPRINT: Final = "telemetry:unsummed_hours"


def tell_of_unsummed_hours(session: Session) -> None:
    """Raise what cannot be summed, resolve it when all of it is."""
    found = unsummed(session)
    if found is None:
        resolve_alert(session, FINGERPRINT, "all hours that could be are summed")
        return
    raise_alert(
        session,
        KIND,
        FINGERPRINT,
        Severity.WARNING,
        f"{found.hours} hours cannot be summed, the oldest {found.oldest:%Y-%m-%d %H:%M} UTC:"
        f" {found.failure}; their events are kept",
        {"hours": found.hours, "oldest": found.oldest.isoformat(), "failure": found.failure},
    )
