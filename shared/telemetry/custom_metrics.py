"""Metrics that senders have named, added up over a window from their hourly rollups."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.reading import Window
from shared.telemetry.tables import CustomMetric


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one model, function, variant and host in a window.

    `standard_deviation` is that of these `n` values, not an estimate.
    """

    name: str
    model: str
    function: str
    variant: str
    host: str
    n: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    latest: float
    latest_at: datetime


def custom_metrics(
    session: Session, window: Window, name: str | None = None
) -> tuple[MetricSummary, ...]:
    """The metrics of the window in order of name, or the one of this name."""
    query = sa.select(CustomMetric).where(
        CustomMetric.hour >= window.start, CustomMetric.hour < window.end
    )
    if name is not None:
        query = query.where(CustomMetric.name == name)
    hours: defaultdict[tuple[str, ...], list[CustomMetric]] = defaultdict(list)
    for row in session.scalars(query):
        hours[row.name, row.model, row.function, row.variant, row.host].append(row)
    return tuple(_added(key, rows) for key, rows in sorted(hours.items()))


def _added(key: tuple[str, ...], hours: Sequence[CustomMetric]) -> MetricSummary:
    name, model, function, variant, host = key
    n = sum(hour.n for hour in hours)
    mean = math.fsum(hour.n * hour.mean for hour in hours) / n
    # Within the hours and between them (the law of total variance).
    variance = math.fsum(h.n * (h.variance + (h.mean - mean) ** 2) for h in hours) / n
    newest = max(hours, key=lambda hour: hour.latest_at)
    return MetricSummary(
        name, model, function, variant, host, n, mean, math.sqrt(variance),
        min(hour.minimum for hour in hours), max(hour.maximum for hour in hours),
        newest.latest, newest.latest_at,
    )  # fmt: skip
