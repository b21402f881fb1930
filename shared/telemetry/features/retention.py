"""How long values are kept: as long as events are, and of what is older the newest."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session


def remove_superseded_values(session: Session) -> int:
    """Remove the tenant's values from before its closed hours, but for the last; return how many.

    Of each entity the value stays that held when the closed hours ended, and every correction of
    it that was written since then: a read at any later time, and of what was known at any later
    time, gives what it did.
    """
    removed = session.scalar(sa.select(sa.func.mlops.remove_superseded_feature_values()))
    return int(removed or 0)
