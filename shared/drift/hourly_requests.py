"""Requests by the hour of every function and model, beside the same hours of earlier weeks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.baselines import BaselineKind, baseline_of, baselines
from shared.drift.monitored import untrusted
from shared.drift.volume import (
    HOURS_PER_WEEK,
    MOST_WEEKS,
    Bools,
    HourlyRequests,
    Ints,
    VolumeComparison,
    compare_volume,
)
from shared.drift.windows import Subject
from shared.hours import HOUR, hour_of
from shared.jobs.contracts import LastRequests, WindowOf
from shared.telemetry.reading import Window
from shared.telemetry.tables import DirtyHour, ModelPerformance


@dataclass(frozen=True, eq=False)
class RequestVolume:
    """The last `hours` of `series`, compared with the same hours of earlier weeks."""

    series: HourlyRequests
    hours: int
    compared: VolumeComparison


def request_volumes(
    session: Session, current: WindowOf | LastRequests
) -> Mapping[Subject, RequestVolume]:
    """How the requests of each function and model in the window compare with earlier weeks.

    An hour that is not over, or not summed, is unknown; one of which nothing came had none. Who
    made no request is not among them; a window that is longer than a week, or counted in requests,
    has no season, and nobody is.

    Where a window was accepted as normal, what came since is compared, and the earlier weeks at the
    level that it had of what was expected of it, if that was another.
    """
    if isinstance(current, LastRequests):
        return {}
    end = current.end.astimezone(UTC)
    hours = (end - current.start.astimezone(UTC)) // HOUR
    if not 1 <= hours <= HOURS_PER_WEEK:
        return {}
    start = end - timedelta(hours=hours + MOST_WEEKS * HOURS_PER_WEEK)
    over = _over(session, start, end)
    own = baselines(session)
    found = {}
    for subject, requests in _by_hour(session, start, over, current.function):
        # Before its first request it may not have been there.
        known = over & (np.arange(over.size) >= (requests > 0).argmax())
        series = HourlyRequests(start, requests, known)
        normal = baseline_of(own, subject.function, subject.model)
        windows = normal.windows(Window(current.start, current.end))
        compared_hours = (windows.current.end - windows.current.start) // HOUR
        if normal.kind is BaselineKind.ACCEPTED and normal.window is not None:
            series = _at_accepted_level(series, normal.window)
        compared = compare_volume(series, compared_hours)
        if windows.problem is not None:
            comparison = untrusted(compared.comparison, windows.problem)
            compared = replace(compared, comparison=comparison)
        found[subject] = RequestVolume(series, compared_hours, compared)
    return found


_EMPTY: Final = HourlyRequests(
    datetime(2000, 1, 1, tzinfo=UTC), np.zeros(0, np.int64), np.zeros(0, np.bool_)
)
NO_REQUEST: Final = RequestVolume(_EMPTY, 1, compare_volume(_EMPTY))
"Of who is not among them: nothing is known."


def _at_accepted_level(series: HourlyRequests, accepted: Window) -> HourlyRequests:
    """The weeks before `accepted` as if they had had its level, where that was clearly another.

    Of what was accepted the last day at most.
    """
    start, end = accepted.start.astimezone(UTC), accepted.end.astimezone(UTC)
    hours = min((end - start) // HOUR, 24)
    seen = compare_volume(series.until(end), hours)
    if seen.observed is None or seen.expected is None or seen.low is None or seen.high is None:
        return series
    if seen.low <= seen.observed <= seen.high:
        return series
    return series.at_level(seen.observed / max(seen.expected, 1.0), start)


def _over(session: Session, start: datetime, end: datetime) -> Bools:
    """Which hours from `start` up to `end` are over and summed."""
    over = np.zeros((end - start) // HOUR, dtype=np.bool_)
    now = session.execute(sa.select(sa.func.now())).scalar_one().astimezone(UTC)
    last = min(end, hour_of(now))
    over[: max((last - start) // HOUR, 0)] = True
    waiting = session.scalars(
        sa.select(DirtyHour.hour).where(DirtyHour.hour >= start, DirtyHour.hour < end)
    )
    for hour in waiting:
        over[(hour - start) // HOUR] = False
    return over


def _by_hour(
    session: Session, start: datetime, over: Bools, function: str | None
) -> Iterator[tuple[Subject, Ints]]:
    """Requests of each subject that made any, by the hours that are `over`."""
    table = ModelPerformance
    end = start + over.size * HOUR
    of_hour = (
        sa.select(
            table.function,
            table.model,
            sa.cast(sa.func.extract("epoch", table.hour - start) / 3600, sa.Integer).label("hour"),
            sa.cast(sa.func.sum(table.llm_calls), sa.BigInteger).label("requests"),
        )
        .where(table.hour >= start, table.hour < end, table.llm_calls > 0)
        .group_by(table.function, table.model, table.hour)
    )
    if function is not None:
        of_hour = of_hour.where(table.function == function)
    rows = of_hour.subquery()
    # An hour a row would be thousands of rows for each of them.
    together = sa.select(
        rows.c.function,
        rows.c.model,
        sa.func.array_agg(rows.c.hour),
        sa.func.array_agg(rows.c.requests),
    ).group_by(rows.c.function, rows.c.model)
    for name, model, hours, counts in session.execute(together):
        requests = np.zeros(over.size, dtype=np.int64)
        requests[hours] = counts
        requests *= over
        if requests.any():
            yield Subject(name, model), requests
