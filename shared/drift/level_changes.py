"""When something changed: each metric of a function and model hour by hour, by both detectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.sequential import ChangeReport, Detector, detect_changes
from shared.drift.windows import Subject
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import SHARE_UNIT, Metric, Share
from shared.telemetry.reading import Window
from shared.telemetry.tables import ModelPerformance

LEAST_OF_AN_HOUR: Final = 5
"Values of an hour without which it says nothing of the metric's level."
MEASURED: Final = (Metric.LLM_LATENCY, Metric.STEP_LATENCY, Metric.TOKENS, Metric.CONFIDENCE)

Series = Sequence[tuple[datetime, float | None]]

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Course:
    """A metric of a function and model by the hour, and the changes that each detector found."""

    subject: Subject
    metric: str
    reports: tuple[ChangeReport, ...]


def courses(
    session: Session, window: Window, function: str | None = None, model: str | None = None
) -> tuple[Course, ...]:
    """The changes of level in a window of whole hours (aware), by function, model and metric.

    Shares by the hour, and the medians of what is measured. What such an hour of the day usually
    has is taken off first, so that a day's rise and fall is no change. Raises
    `DetectorUnavailableError` without `river`.
    """
    return tuple(
        Course(
            subject,
            metric,
            tuple(detect_changes(without_days(series), detector) for detector in Detector),
        )
        for (subject, metric), series in _by_hour(session, window, function, model)
    )


def without_days(series: Series) -> Series:
    """The values less the median of their hour of the day (UTC), and plus that of all."""
    by_hour: defaultdict[int, list[float]] = defaultdict(list)
    for at, value in series:
        if value is not None:
            by_hour[at.hour].append(value)
    usual = {hour: median(values) for hour, values in by_hour.items()}
    known = [value for values in by_hour.values() for value in values]
    level = median(known) if known else 0.0
    return [(at, None if value is None else value - usual[at.hour] + level) for at, value in series]


def _by_hour(
    session: Session, window: Window, function: str | None, model: str | None
) -> Iterator[tuple[tuple[Subject, str], Series]]:
    table = ModelPerformance
    packed = [
        sa.func.string_agg(getattr(table, metric), sa.literal(b"", sa.LargeBinary))
        for metric in MEASURED
    ]
    counts = (
        table.tasks,
        table.successes,
        table.actions + table.llm_calls,
        table.action_errors + table.llm_errors,
    )
    query = (
        sa.select(table.function, table.model, table.hour, *map(sa.func.sum, counts), *packed)
        .where(table.hour >= window.start, table.hour < window.end)
        .group_by(table.function, table.model, table.hour)
    )
    for column, wanted in ((table.function, function), (table.model, model)):
        if wanted is not None:
            query = query.where(column == wanted)
    found: defaultdict[tuple[Subject, str], dict[datetime, float]] = defaultdict(dict)
    for of_function, of_model, hour, tasks, successes, done, errors, *histograms in session.execute(
        query
    ):
        subject, at = Subject(of_function, of_model), hour.astimezone(UTC)
        for share, part, whole in (
            (Share.SUCCESS, successes, tasks),
            (Share.ERROR_RATE, errors, done),
        ):
            if whole >= LEAST_OF_AN_HOUR:
                found[subject, share.value][at] = float(part / whole)
        for metric, counted in zip(MEASURED, histograms, strict=True):
            histogram = Histogram.from_bytes(counted)
            middle = histogram.quantile(0.5)
            if middle is not None and histogram.total >= LEAST_OF_AN_HOUR:
                unit = SHARE_UNIT if metric is Metric.CONFIDENCE else 1
                found[subject, metric.value][at] = middle / unit
    for key, by_hour in sorted(found.items(), key=lambda item: item[0]):
        yield key, _whole(by_hour)


def _whole(by_hour: Mapping[datetime, float]) -> Series:
    """Every hour from the first to the last, unknown where there was too little."""
    first, last = min(by_hour), max(by_hour)
    return [
        (at, by_hour.get(at))
        for at in (first + n * _HOUR for n in range((last - first) // _HOUR + 1))
    ]
