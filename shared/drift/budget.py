"""How many false alarms a week a tenant accepts, and how strict that makes one sweep.

Where nothing drifts, the Benjamini-Hochberg procedure at the level q calls anything significant in
at most a share q of sweeps (Benjamini and Hochberg, JRSS B 57, 1995, section 3: there the false
discovery rate is the chance of any discovery). An alarm needs a discovery, so n sweeps a week
raise at most n q false ones on average, however much their windows share; and one that lasts over
many sweeps is one alarm. So q = budget / n keeps the budget.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.tables import DriftBudget
from shared.tenancy.tenants import audit

DEFAULT_FALSE_ALARMS: Final = 1.0
"A week, of a tenant that has set nothing."

MOST_FALSE_ALARMS: Final = 100.0
LARGEST_LEVEL: Final = 0.05
"Of one sweep, however large the budget is."

WEEK: Final = timedelta(days=7)


class BudgetError(ValueError):
    """A budget that cannot be; the message is one line."""


def level_of_a_sweep(false_alarms_a_week: float, sweeps_a_week: float) -> float:
    """The false discovery rate of one sweep that keeps the budget. ValueError unless positive."""
    if not false_alarms_a_week > 0 or not sweeps_a_week > 0:
        raise ValueError(
            f"{false_alarms_a_week} false alarms in {sweeps_a_week} sweeps; expected more than 0"
        )
    return min(false_alarms_a_week / sweeps_a_week, LARGEST_LEVEL)


def false_alarms_a_week(session: Session) -> float:
    """What the tenant accepts."""
    found = session.scalar(sa.select(DriftBudget.false_alarms_a_week))
    return DEFAULT_FALSE_ALARMS if found is None else found


def set_false_alarms_a_week(session: Session, accepted: float) -> None:
    """From the next sweep of the timetable on. Leaves an audit row. Raises `BudgetError`."""
    if not 0 < accepted <= MOST_FALSE_ALARMS:
        raise BudgetError(
            f"{accepted:g} false alarms a week; expected more than 0, and at most"
            f" {MOST_FALSE_ALARMS:g}"
        )
    values = {"false_alarms_a_week": accepted, "changed_at": sa.func.now()}
    session.execute(
        insert(DriftBudget)
        .values(tenant_id=tenant_of(session), **values)
        .on_conflict_do_update(index_elements=["tenant_id"], set_=values)
    )
    audit(session, "drift.budget.set", f"{accepted:g} false alarms a week")
