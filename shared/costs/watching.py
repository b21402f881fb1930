"""Looking at the hours that are over: which cost more than they should, and where it will end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.anomalies import HourVerdicts, judge
from shared.costs.forecasting import Forecast, forecast
from shared.costs.series import first_hour, series_by_subject, series_of_all
from shared.hours import hour_of

HISTORY: Final = timedelta(weeks=9)
"So much before the first hour that is judged."
_FORECAST_HISTORY: Final = timedelta(weeks=13)


@dataclass(frozen=True)
class Judged:
    """The verdicts on the hours of one model and function, oldest first."""

    model: str
    function: str
    hours: tuple[HourVerdicts, ...]


def judge_hours(session: Session, since: datetime, until: datetime) -> Iterator[Judged]:
    """Judge the hours from `since` up to `until` (aware, on the hour) of all that made calls.

    A model and function begins with its first call: no call before it says anything of its cost.
    """
    begun = first_hour(session)
    if begun is None or begun >= until:
        return
    for (model, function), series in sorted(
        series_by_subject(session, max(begun, since - HISTORY), until).items()
    ):
        yield Judged(model, function, judge(series, max(since, series.starts_at)))


def forecast_period(
    session: Session, period: Period, now: datetime, confidence: float = 0.9
) -> Forecast | None:
    """What the week or month that holds `now` (aware) will have cost the tenant at its end.

    None where no call was ever reported. Hours count once they are over.
    """
    hour = hour_of(now)
    begun = first_hour(session)
    if begun is None:
        return None
    starts_at, ends_at = (
        datetime(day.year, day.month, day.day, tzinfo=UTC)
        for day in (period.start(hour.date()), period.end(hour.date()))
    )
    history = min(starts_at, max(begun, hour - _FORECAST_HISTORY))
    return forecast(series_of_all(session, history, hour), starts_at, ends_at, confidence)
