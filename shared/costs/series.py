"""The hourly costs of a tenant's models and functions, from the rollups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.hourly import HourCost, HourlySeries
from shared.telemetry.tables import ModelPerformance

Subject = tuple[str, str]
"Model and function."


def series_by_subject(
    session: Session, starts_at: datetime, ends_at: datetime
) -> Mapping[Subject, HourlySeries]:
    """The hours (aware, on the hour) of each model and function that made calls in them."""
    hours: defaultdict[Subject, list[HourCost]] = defaultdict(list)
    for model, function, *hour in _hours(session, starts_at, ends_at, by_subject=True):
        hours[model, function].append(_cost(*hour))
    return {
        subject: HourlySeries.from_hours(found, starts_at, ends_at)
        for subject, found in hours.items()
    }


def series_of_all(session: Session, starts_at: datetime, ends_at: datetime) -> HourlySeries:
    """The hours of all models and functions together."""
    hours = _hours(session, starts_at, ends_at, by_subject=False)
    return HourlySeries.from_hours((_cost(*hour) for hour in hours), starts_at, ends_at)


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
                sa.cast(sa.func.sum(summed), sa.BigInteger)
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
    # Where no call has a price, what they cost is not known; and is not nothing.
    return HourCost(hour, None if unpriced == calls else nanos, calls, unpriced)
