"""The hourly costs of a tenant's models and functions, from the rollups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.hourly import MOST_NANOS, HourCost, HourlySeries
from shared.database import WholeNumber
from shared.money import known_nanos
from shared.telemetry.tables import DirtyHour, ModelPerformance

_HOUR: Final = timedelta(hours=1)

Subject = tuple[str, str]
"Model and function."


def series_by_subject(
    session: Session, starts_at: datetime, ends_at: datetime
) -> Mapping[Subject, HourlySeries]:
    """The hours (aware, on the hour) of each model and function that made calls in them."""
    hours: defaultdict[Subject, dict[datetime, HourCost]] = defaultdict(dict)
    for model, function, *hour in _hours(session, starts_at, ends_at, by_subject=True):
        found = _cost(*hour)
        hours[model, function][found.starts_at] = found
    first = _first_hours(session)
    unsummed = _unsummed(session, starts_at, ends_at)
    series = {}
    for subject, found_hours in hours.items():
        # Before its first call nothing is known of what it costs: that is not zero.
        begins = max(starts_at, first[subject])
        known = found_hours | {hour: unknown(hour) for hour in unsummed if hour >= begins}
        series[subject] = HourlySeries.from_hours(known.values(), begins, ends_at)
    return series


def series_of_all(session: Session, starts_at: datetime, ends_at: datetime) -> HourlySeries:
    """The hours of all models and functions together; those before the first call are unknown."""
    found = [_cost(*hour) for hour in _hours(session, starts_at, ends_at, by_subject=False)]
    hours = {hour.starts_at: hour for hour in found}
    begun = first_hour(session) or ends_at
    before = range(max(0, round((min(begun, ends_at) - starts_at) / _HOUR)))
    blank = [starts_at + n * _HOUR for n in before] + _unsummed(session, starts_at, ends_at)
    return HourlySeries.from_hours(
        (hours | {hour: unknown(hour) for hour in blank}).values(), starts_at, ends_at
    )


def unknown(hour: datetime) -> HourCost:
    """An hour of which nothing is known."""
    return HourCost(hour, None, 0)


def _first_hours(session: Session) -> dict[Subject, datetime]:
    subject = (ModelPerformance.model, ModelPerformance.function)
    rows = session.execute(
        sa.select(*subject, sa.func.min(ModelPerformance.hour))
        .where(ModelPerformance.llm_calls > 0)
        .group_by(*subject)
    )
    return {(model, function): hour for model, function, hour in rows}


def _unsummed(session: Session, starts_at: datetime, ends_at: datetime) -> list[datetime]:
    """Hours with events that are in no rollup yet: what is summed of them is not all."""
    return list(
        session.scalars(
            sa.select(DirtyHour.hour).where(DirtyHour.hour >= starts_at, DirtyHour.hour < ends_at)
        )
    )


def first_hour(session: Session) -> datetime | None:
    """The first hour with a model call; None before there is one."""
    return session.scalar(
        sa.select(sa.func.min(ModelPerformance.hour)).where(ModelPerformance.llm_calls > 0)
    )


def _hours(
    session: Session, starts_at: datetime, ends_at: datetime, *, by_subject: bool
) -> sa.Result[*tuple[Any, ...]]:
    subject = (ModelPerformance.model, ModelPerformance.function) if by_subject else ()
    return session.execute(
        sa.select(
            *subject,
            ModelPerformance.hour,
            *(
                sa.type_coerce(sa.func.sum(summed), WholeNumber)
                for summed in (
                    ModelPerformance.cost_nanos,
                    ModelPerformance.llm_calls,
                    ModelPerformance.unpriced_calls,
                )
            ),
        )
        .where(
            ModelPerformance.hour >= starts_at,
            ModelPerformance.hour < ends_at,
            ModelPerformance.llm_calls > 0,
        )
        .group_by(*subject, ModelPerformance.hour)
    )


def _cost(hour: datetime, nanos: int, calls: int, unpriced: int) -> HourCost:
    return HourCost(hour, known_nanos(min(nanos, MOST_NANOS), calls, unpriced), calls, unpriced)
