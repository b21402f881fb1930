"""What was spent in a day, a week and a month, and how much of it is not known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.tables import CostTracking
from shared.database import WholeNumber
from shared.money import known_nanos


@dataclass(frozen=True)
class PeriodCost:
    """The cost of one period (UTC), in nano-dollars.

    `cost_nanos` is the sum of the priced calls; None if calls were made and none of them has a
    price, or if nothing was summed for the period yet, because unknown is not zero.
    `unpriced_calls` are not in it; `simulated_calls` are in it at a price that is stated as
    simulated.
    """

    period: Period
    starts_on: date
    cost_nanos: int | None
    llm_calls: int
    unpriced_calls: int
    simulated_calls: int
    tasks: int
    successes: int


@dataclass(frozen=True)
class Totals:
    """The day, the week and the month that hold one date."""

    day: PeriodCost
    week: PeriodCost
    month: PeriodCost


def totals(
    session: Session, on: date, model: str | None = None, function: str | None = None
) -> Totals:
    """The cost of the periods that hold `on`, of all models and functions or of one."""
    return Totals(
        day=_total(session, Period.DAY, on, model, function),
        week=_total(session, Period.WEEK, on, model, function),
        month=_total(session, Period.MONTH, on, model, function),
    )


_SUMMED = ("cost_nanos", "llm_calls", "unpriced_calls", "simulated_calls", "tasks", "successes")


def _total(
    session: Session, period: Period, on: date, model: str | None, function: str | None
) -> PeriodCost:
    starts_on = period.start(on)
    query = sa.select(
        *(
            sa.type_coerce(
                sa.func.coalesce(sa.func.sum(CostTracking.__table__.columns[name]), 0),
                WholeNumber,
            ).label(name)
            for name in _SUMMED
        ),
        sa.func.count().label("rows"),
    ).where(CostTracking.period == period.value, CostTracking.starts_on == starts_on)
    if model is not None:
        query = query.where(CostTracking.model == model)
    if function is not None:
        query = query.where(CostTracking.function == function)
    found = dict(session.execute(query).mappings().one())
    cost, summed = found.pop("cost_nanos"), found.pop("rows") > 0
    known = known_nanos(cost, found["llm_calls"], found["unpriced_calls"]) if summed else None
    return PeriodCost(period=period, starts_on=starts_on, cost_nanos=known, **found)
