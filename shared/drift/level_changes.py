"""When something changed: each metric of a function and model hour by hour, by both detectors."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import IN_BINARY
from shared.drift.quantities import percent, quantity
from shared.drift.seasons import (
    Counted,
    Series,
    clearest_change,
    departures,
    share_departures,
    spread_of,
)
from shared.drift.sequential import Change, ChangeReport, Detector, detect_changes
from shared.drift.windows import Subject
from shared.hours import HOUR
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import SHARE_UNIT, Metric, Share
from shared.telemetry.reading import Window
from shared.telemetry.tables import ModelPerformance

LEAST_OF_AN_HOUR: Final = 5
"Values of an hour without which it says nothing of the metric's level."
MEASURED: Final = (Metric.LLM_LATENCY, Metric.STEP_LATENCY, Metric.TOKENS, Metric.CONFIDENCE)

SAME_CHANGE: Final = timedelta(hours=6)
"Two detectors that place a change so near to each other have seen one."

MOST_CLEAR: Final = 6
"Changes that are taken out of what is usual: a level that wanders has no end of them."

T = TypeVar("T")


@dataclass(frozen=True)
class Course:
    """A metric of a function and model by the hour, and the changes that each detector found."""

    subject: Subject
    metric: str
    reports: tuple[ChangeReport, ...]


def courses(
    session: Session,
    window: Window,
    function: str | None = None,
    model: str | None = None,
    metrics: Collection[str] | None = None,
) -> tuple[Course, ...]:
    """The changes of level in a window of whole hours (aware), by function, model and metric.

    Shares by the hour, and the medians of what is measured, each against what such hours usually
    have (see `seasons`), so that neither the day nor the weekend is a change. A filter that is
    None is none. What has too few values in every hour is among them, with that as the reason.
    Raises `DetectorUnavailableError` without `river`.
    """
    followed = [one for one in (*Share, *MEASURED) if metrics is None or one in metrics]
    if not followed:
        return ()
    found: list[Course] = []
    for subject, by_hour in _by_hour(session, window, function, model, followed):
        found += _courses(subject, by_hour)
    return tuple(sorted(found, key=lambda course: (course.subject, course.metric)))


def _courses(subject: Subject, by_hour: _ByHour) -> Iterator[Course]:
    for metric, counts in by_hour.shares.items():
        counted = _whole(counts)
        reports = tuple(changes_of_share(counted, detector) for detector in Detector)
        yield Course(subject, metric, reports)
    for metric, middles in by_hour.medians.items():
        series = _whole(middles)
        reports = tuple(changes_of_level(series, detector) for detector in Detector)
        yield Course(subject, metric, reports)
    for metric, hours in by_hour.few.items():
        if metric not in by_hour.shares and metric not in by_hour.medians:
            yield Course(subject, metric, tuple(_too_few(hours, one) for one in Detector))


def _too_few(hours: int, detector: Detector) -> ChangeReport:
    reason = f"no hour holds {LEAST_OF_AN_HOUR} values, without which it says nothing of a level"
    return ChangeReport(detector, (), known=0, unknown=hours, reason=reason)


@dataclass(frozen=True)
class SeenChange:
    """One change of level, as the detector has it that knew first, and who saw it."""

    change: Change
    seen_by: tuple[tuple[Detector, timedelta], ...]
    "Each with how long it took until it knew, the first one first."


def seen_changes(course: Course) -> tuple[SeenChange, ...]:
    """The changes of a course in order of time: one where both detectors place it within hours."""
    by_detection = sorted(
        ((change, report.detector) for report in course.reports for change in report.changes),
        key=lambda seen: seen[0].detected_at,
    )
    found: list[list[tuple[Change, Detector]]] = []
    for change, detector in by_detection:
        same = [
            group
            for group in found
            if abs(change.changed_at - group[0][0].changed_at) <= SAME_CHANGE
            and all(detector is not other for _, other in group)
        ]
        if same:
            same[0].append((change, detector))
        else:
            found.append([(change, detector)])
    found.sort(key=lambda group: group[0][0].changed_at)
    return tuple(
        SeenChange(group[0][0], tuple((detector, change.delay) for change, detector in group))
        for group in found
    )


def level_said(metric: str, level: float) -> str:
    """`791 ms`, `3.1 %`: a level of a course with its unit."""
    if metric in list(Share):
        return percent(level)
    return quantity(level, BY_NAME[metric].unit)


def changes_of_level(series: Series, detector: Detector) -> ChangeReport:
    """Where the level of what is measured changed; the levels are those of a usual hour.

    Usual hours are learned anew with the clearest changes taken out.
    Simulated in 200 series of 28 days of hours each (normal values, eight hours a day 9 spreads
    higher): changes found in a series that has none; and of one change at any hour of the 11th to
    the 25th day how often it was placed within a day, its median delay, and further changes.

        no change                      ADWIN                Page-Hinkley
        all days alike                 0                    0.01
        weekends 2 spreads lower       0                    0.01

        one change
        by 1 spread                    97 %; 46 h; 0.03     96 %; 32 h; 0.04
        by 2, and such weekends        99 %; 17 h; 0.01     99 %; 13 h; 0.01

    Medians of few values at night and many by day (12 to 96 of a gamma) are not of one spread: 0.05
    by Page-Hinkley in series without a change, and none by ADWIN.
    """
    departing = _departing(lambda changed_at: departures(series, changed_at))
    found = detect_changes(departing.series, detector, departing.spread)
    pairs = zip(series, departing.series, strict=True)
    usual = [
        value - departure
        for (_, value), (_, departure) in pairs
        if value is not None and departure is not None
    ]
    level = sum(usual) / len(usual) if usual else 0.0
    return replace(
        found,
        changes=tuple(
            replace(change, before=change.before + level, after=change.after + level)
            for change in found.changes
        ),
    )


def changes_of_share(counted: Counted, detector: Detector) -> ChangeReport:
    """Where a share changed; before and after are the shares of all that came between changes.

    As `changes_of_level`, by `seasons.share_departures`, of which the spread is at least 1:

        no change                      ADWIN                Page-Hinkley
        20 an hour, 2 %                0                    0.01
        so, and 6 at weekends          0                    0.01
        10 an hour, 10 %               0                    0.01
        200, 10 %, at weekends 20 %    0                    0.01

        one change
        20 an hour, from 2 to 8 %      97 %; 24 h; 0.03     98 %; 29 h; 0.02
        200 an hour, from 10 to 15 %   100 %; 14 h; 0       99 %; 12 h; 0.01
    """
    departing = _departing(lambda changed_at: share_departures(counted, changed_at), 1.0)
    found = detect_changes(departing.series, detector, departing.spread)
    if found.known == 0 and any(counts is not None for _, counts in counted):
        return replace(found, reason="all hours had the same share")
    begins = [datetime.min.replace(tzinfo=UTC), *(change.changed_at for change in found.changes)]
    return replace(
        found,
        changes=tuple(
            replace(
                change,
                before=_share(counted, begin, change.changed_at),
                after=_share(counted, change.changed_at, change.detected_at + HOUR),
            )
            for begin, change in zip(begins, found.changes, strict=False)
        ),
    )


@dataclass(frozen=True)
class _Departing:
    """What departs from the usual, where the clearest changes of level are known."""

    changed_at: tuple[datetime, ...]
    series: Series
    spread: float | None


def _departing(
    departures_given: Callable[[Sequence[datetime]], Series], least_spread: float = 0.0
) -> _Departing:
    """One change after the other is taken out, the clearest first, as long as one is clear."""
    found: tuple[datetime, ...] = ()
    while True:
        series = departures_given(found)
        spread = spread_of(series)
        if spread is not None:
            spread = max(spread, least_spread)
            clearest = clearest_change(series, found, spread) if len(found) < MOST_CLEAR else None
            if clearest is not None:
                found = tuple(sorted((*found, clearest)))
                continue
        return _Departing(found, series, spread)


def _share(counted: Counted, start: datetime, end: datetime) -> float:
    between = [counts for at, counts in counted if counts is not None and start <= at < end]
    whole = sum(n for _, n in between)
    return sum(k for k, _ in between) / whole if whole else math.nan


@dataclass(frozen=True)
class _ByHour:
    """The shares, and the medians of what is measured, of one function and model, by metric."""

    shares: defaultdict[str, dict[datetime, tuple[int, int]]]
    medians: defaultdict[str, dict[datetime, float]]
    few: Counter[str]
    "In how many hours there are values and too few."


_AT_ONCE: Final = 2_000
"Hours that are held before they are looked at: those of all functions would be millions."


def _by_hour(
    session: Session,
    window: Window,
    function: str | None,
    model: str | None,
    followed: Collection[Share | Metric],
) -> Iterator[tuple[Subject, _ByHour]]:
    """One function and model after the other, as they are read."""
    table = ModelPerformance
    measured = [metric for metric in MEASURED if metric in followed]
    packed = [
        sa.func.string_agg(getattr(table, metric), sa.literal(b"", sa.LargeBinary))
        for metric in measured
    ]
    counts = (
        table.tasks,
        table.successes,
        table.actions + table.llm_calls,
        table.action_errors + table.llm_errors,
    )
    # As they are, sums would come as decimals.
    added = [sa.cast(sa.func.sum(count), sa.BigInteger) for count in counts]
    key = (table.function, table.model, table.hour)
    query = (
        sa.select(*key, *added, *packed)
        .where(table.hour >= window.start, table.hour < window.end)
        .group_by(*key)
        .order_by(*key)
        .execution_options(yield_per=_AT_ONCE)
    )
    for column, wanted in ((table.function, function), (table.model, model)):
        if wanted is not None:
            query = query.where(column == wanted)
    read = session.execute(query, execution_options=IN_BINARY)
    for (of_function, of_model), rows in groupby(read, key=itemgetter(0, 1)):
        found = _ByHour(defaultdict(dict), defaultdict(dict), Counter())
        for _, _, hour, tasks, successes, done, errors, *histograms in rows:
            at = hour.astimezone(UTC)
            for share, part, whole in (
                (Share.SUCCESS, successes, tasks),
                (Share.ERROR_RATE, errors, done),
            ):
                if share in followed and whole >= LEAST_OF_AN_HOUR:
                    found.shares[share.value][at] = part, whole
                elif share in followed and whole:
                    found.few[share.value] += 1
            for metric, of_hour in zip(measured, histograms, strict=True):
                histogram = Histogram.from_bytes(of_hour)
                middle = histogram.quantile(0.5)
                if middle is not None and histogram.total >= LEAST_OF_AN_HOUR:
                    unit = SHARE_UNIT if metric is Metric.CONFIDENCE else 1
                    found.medians[metric.value][at] = middle / unit
                elif histogram.total:
                    found.few[metric.value] += 1
        yield Subject(of_function, of_model), found


def _whole(by_hour: Mapping[datetime, T]) -> Sequence[tuple[datetime, T | None]]:
    """Every hour from the first to the last, unknown where there was too little."""
    first, last = min(by_hour), max(by_hour)
    return [
        (at, by_hour.get(at))
        for at in (first + n * HOUR for n in range((last - first) // HOUR + 1))
    ]
