"""The stored values of a tenant's own features in both windows of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.drift.baselines import EVERY, baseline_of, baselines
from shared.drift.comparison import compare, compare_categories
from shared.drift.monitored import untrusted
from shared.drift.verdicts import CATEGORY_RULE, DEFAULT_RULE, ComparedMetric
from shared.drift.window_pair import WindowPair
from shared.drift.windows import Subject, Windows, windows_of
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.features.definitions import DataType, Feature
from shared.telemetry.features.tables import FeatureValueRow
from shared.telemetry.reading import Window

MOST_VALUES: Final = 100_000
"Of a window, the newest: a drift that matters is seen in so many."

NO_SUBJECT: Final = Subject("", "")
"Values are of entities, and not of a function or model."


def compared_features(
    session: Session,
    job: DetectDrift,
    features: Sequence[Feature],
    minimum_effects: Mapping[str, float],
) -> list[tuple[Windows, ComparedMetric]]:
    """Each feature with the values of both windows compared, by their event times.

    Of a value that was corrected the correction counts. None for a sweep of certain functions,
    models or requests, which values are not of. `minimum_effects` are those of the tenant's own
    choice, by name.
    """
    current = job.current
    if job.models or not isinstance(current, WindowOf) or current.function is not None:
        return []
    if job.baseline is not None:
        windows = windows_of(NO_SUBJECT, job.baseline, current)
    else:
        normal = baseline_of(baselines(session), EVERY, EVERY)
        before, now, problem = normal.windows(Window(current.start, current.end))
        windows = windows_of(
            NO_SUBJECT,
            WindowOf(start=before.start, end=before.end),
            WindowOf(start=now.start, end=now.end),
        )
        windows = windows if problem is None else replace(windows, problem=problem)
    if windows.baseline.function is not None or windows.baseline.model is not None:
        return []
    return [
        (windows, _compared(session, feature, windows, minimum_effects.get(feature.name)))
        for feature in features
    ]


def _compared(
    session: Session, feature: Feature, windows: Windows, minimum_effect: float | None
) -> ComparedMetric:
    old, new = (_values(session, feature, w) for w in (windows.baseline, windows.current))
    if feature.data_type is DataType.NUMBER:
        comparison = compare(
            WindowPair.from_arrays(np.array(old, dtype=float), np.array(new, dtype=float))
        )
    else:
        comparison = compare_categories(
            WindowPair.from_categories(Counter(map(str, old)), Counter(map(str, new)))
        )
    if windows.problem is not None:
        comparison = untrusted(comparison, windows.problem)
    rule = DEFAULT_RULE if feature.data_type is DataType.NUMBER else CATEGORY_RULE
    return ComparedMetric(EVERY, feature.name, comparison, rule.from_where(minimum_effect))


def _values(session: Session, feature: Feature, window: WindowOf) -> list[float | str | bool]:
    row = FeatureValueRow
    newest = (
        sa.select(row.number_value, row.text_value, row.boolean_value, row.event_time)
        .ext(distinct_on(row.entity, row.event_time))
        .where(
            row.feature == feature.name,
            row.version == feature.version,
            row.event_time >= window.start,
            row.event_time < window.end,
        )
        .order_by(row.entity, row.event_time, row.written_at.desc(), row.id.desc())
        .subquery()
    )
    found = session.execute(
        sa.select(newest).order_by(newest.c.event_time.desc()).limit(MOST_VALUES)
    )
    return [
        next(value for value in (number, text, boolean) if value is not None)
        for number, text, boolean, _ in found
    ]
