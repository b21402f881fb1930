"""How many false alarms of drift a week a tenant accepts."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.false_alarms import DEFAULT_BUDGET
from shared.drift.tables import DriftBudget
from shared.tenancy.tenants import audit

LEAST_FALSE_ALARMS: Final = 0.001
MOST_FALSE_ALARMS: Final = 100.0
WEEK: Final = timedelta(days=7)


class BudgetError(ValueError):
    """A budget that cannot be; the message is one line."""


def false_alarms_a_week(session: Session) -> float:
    """What the tenant accepts."""
    found = session.scalar(sa.select(DriftBudget.false_alarms_a_week))
    return DEFAULT_BUDGET if found is None else found


def set_false_alarms_a_week(session: Session, accepted: float) -> None:
    """From the next sweep of the timetable on. Leaves an audit row. Raises `BudgetError`."""
    if not LEAST_FALSE_ALARMS <= accepted <= MOST_FALSE_ALARMS:
        raise BudgetError(
            f"{accepted:g} false alarms a week; expected {LEAST_FALSE_ALARMS:g} to"
            f" {MOST_FALSE_ALARMS:g}"
        )
    values = {"false_alarms_a_week": accepted, "changed_at": sa.func.now()}
    session.execute(
        insert(DriftBudget)
        .values(tenant_id=tenant_of(session), **values)
        .on_conflict_do_update(index_elements=["tenant_id"], set_=values)
    )
    audit(session, "drift.budget.set", f"{accepted:g} false alarms a week")
