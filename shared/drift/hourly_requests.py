"""Requests by the hour of every function and model, beside the same hours of earlier weeks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import among
from shared.drift.baselines import BaselineKind, SetBaseline, baseline_of, baselines
from shared.drift.monitored import untrusted
from shared.drift.volume import (
    MOST_WEEKS,
    Bools,
    HourlyRequests,
    VolumeComparison,
    compare_volume,
)
from shared.drift.windows import Subject
from shared.hours import HOUR, hour_of
from shared.jobs.contracts import LastRequests, WindowOf
from shared.telemetry.reading import Window
from shared.telemetry.tables import DirtyHour, ModelPerformance

_WEEK: Final = timedelta(weeks=1)


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
    if isinstance(current, LastRequests) or current.end - current.start > _WEEK:
        return {}
    start = current.start.astimezone(UTC) - MOST_WEEKS * _WEEK
    over = _over(session, start, current.end.astimezone(UTC))
    own = baselines(session)
    return {
        subject: _compared(own, subject, current, _at_normal_level(own, subject, series))
        for subject, series in _by_hour(session, start, over, current.function).items()
    }


def request_volumes_against(
    session: Session, current: WindowOf, before: datetime, only: Collection[Subject]
) -> Mapping[Subject, RequestVolume]:
    """As `request_volumes`, of `only`, beside the hours before `before` (aware) and no later ones.

    The window is taken to be so many whole weeks earlier that it is of the week after that: its
    hours keep their places in the week. What came between is unknown.
    """
    if current.end - current.start > _WEEK:
        return {}
    start, end = current.start.astimezone(UTC), current.end.astimezone(UTC)
    known_to = min(before.astimezone(UTC), start)
    moved_to = start - (start - known_to) // _WEEK * _WEEK
    first = moved_to - MOST_WEEKS * _WEEK
    over = np.zeros((moved_to - first) // HOUR, dtype=np.bool_)
    over[: (known_to - first) // HOUR] = _over(session, first, known_to)
    over_now = _over(session, start, end)
    now = _by_hour(session, start, over_now, None, only)
    own = baselines(session)
    found = {}
    for subject, series in _by_hour(session, first, over, None, only).items():
        earlier = _at_normal_level(own, subject, series)
        # Whoever was there before and made none since is known to have made none.
        came = now[subject].requests if subject in now else np.zeros(over_now.size, np.int64)
        requests, known = (earlier.requests, came), (earlier.known, over_now)
        spliced = HourlyRequests(first, np.concatenate(requests), np.concatenate(known))
        found[subject] = _compared(own, subject, current, spliced)
    return found


def _compared(
    own: Sequence[SetBaseline], subject: Subject, current: WindowOf, series: HourlyRequests
) -> RequestVolume:
    """The end of `series`, which is that of `current`, or of what came since it was accepted."""
    normal = baseline_of(own, subject.function, subject.model)
    windows = normal.windows(Window(current.start, current.end))
    hours = (windows.current.end - windows.current.start) // HOUR
    compared = compare_volume(series, hours)
    if windows.problem is not None:
        comparison = untrusted(compared.comparison, windows.problem)
        compared = replace(compared, comparison=comparison)
    return RequestVolume(series, hours, compared)


def _at_normal_level(
    own: Sequence[SetBaseline], subject: Subject, series: HourlyRequests
) -> HourlyRequests:
    normal = baseline_of(own, subject.function, subject.model)
    accepted = normal.window if normal.kind is BaselineKind.ACCEPTED else None
    return series if accepted is None else _at_accepted_level(series, accepted)


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
    session: Session,
    start: datetime,
    over: Bools,
    function: str | None,
    only: Collection[Subject] | None = None,
) -> Mapping[Subject, HourlyRequests]:
    """Requests of each subject that made any, of the hours that are `over` since its first one.

    Before that it may not have been there. A filter that is None is none.
    """
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
    if only is not None:
        pairs = [(one.function, one.model) for one in sorted(only)]
        of_hour = of_hour.where(among((table.function.expression, table.model.expression), pairs))
    rows = of_hour.subquery()
    # An hour a row would be thousands of rows for each of them.
    together = sa.select(
        rows.c.function,
        rows.c.model,
        sa.func.array_agg(rows.c.hour),
        sa.func.array_agg(rows.c.requests),
    ).group_by(rows.c.function, rows.c.model)
    found = {}
    for name, model, hours, counts in session.execute(together):
        requests = np.zeros(over.size, dtype=np.int64)
        requests[hours] = counts
        requests *= over
        if requests.any():
            known = over & (np.arange(over.size) >= (requests > 0).argmax())
            found[Subject(name, model)] = HourlyRequests(start, requests, known)
    return found
