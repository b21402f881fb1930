"""The stored values of a tenant's own features in both windows of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.drift import own_variation
from shared.drift.baselines import EVERY, baseline_of, baselines
from shared.drift.comparison import compare, compare_categories
from shared.drift.effects import Counts
from shared.drift.monitored import untrusted
from shared.drift.movement import change
from shared.drift.showing import Categories, Category, Distribution
from shared.drift.verdicts import CATEGORY_RULE, DEFAULT_RULE, MOST_VALUES, ComparedMetric
from shared.drift.window_pair import WindowPair
from shared.drift.windows import Subject, Windows, piece_length, windows_of
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.features.definitions import DataType, Feature
from shared.telemetry.features.tables import FeatureValueRow
from shared.telemetry.pieces import MOST_PIECES
from shared.telemetry.reading import Window
from shared.visible import visible

NO_SUBJECT: Final = Subject("", "")
"Values are of entities, and not of a function or model."


def compared_features(
    session: Session,
    job: DetectDrift,
    features: Sequence[Feature],
    minimum_effects: Mapping[str, float],
) -> list[tuple[Windows, ComparedMetric]]:
    """Each feature with the values of both windows compared, by their event times.

    Of a value that was corrected the correction counts. What days of the baseline differ by
    themselves is allowed for, as of other metrics. None for a sweep of certain functions,
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


def moved_feature(session: Session, feature: Feature, windows: Windows) -> str | None:
    """From what to what it moved, as `movement.change` says it; None where a window is empty."""
    return change(shape_of_feature(session, feature, windows.baseline, windows.current))


def shape_of_feature(
    session: Session, feature: Feature, baseline: WindowOf, current: WindowOf
) -> Distribution | Categories:
    """What both windows held of it, as people are shown it: of the values that are compared."""
    old, new = (_values(session, feature, w) for w in (baseline, current))
    if feature.data_type is DataType.NUMBER:
        positions = np.unique(np.concatenate((old.values, new.values)))
        before, now = (
            np.bincount(np.searchsorted(positions, one.values), minlength=positions.size)
            for one in (old, new)
        )
        return Distribution(positions, before, now, feature.unit)
    was, is_now = Counter(old.values.tolist()), Counter(new.values.tolist())
    values = sorted(was.keys() | is_now.keys())
    return Categories(tuple(Category(_named(v), was[v], is_now[v]) for v in values))


def _named(text: str) -> str:
    """In one line, and not endless."""
    return " ".join(visible(text[:_NAME_LENGTH]).split())


_NAME_LENGTH: Final = 60


def _compared(
    session: Session, feature: Feature, windows: Windows, minimum_effect: float | None
) -> ComparedMetric:
    old, new = (_values(session, feature, w) for w in (windows.baseline, windows.current))
    is_number = feature.data_type is DataType.NUMBER
    if is_number:
        comparison = compare(WindowPair.from_arrays(old.values, new.values))
    else:
        comparison = compare_categories(
            WindowPair.from_categories(Counter(old.values.tolist()), Counter(new.values.tolist()))
        )
    if windows.problem is not None:
        comparison = untrusted(comparison, windows.problem)
    rule = (DEFAULT_RULE if is_number else CATEGORY_RULE).from_where(minimum_effect)
    if comparison.reason is None:
        pieces, whole = _in_pieces(old, windows)
        of_each = own_variation.of_values if is_number else own_variation.of_categories
        rule = own_variation.allowed_for(rule, of_each(pieces, whole, rule.minimum_values))
    return ComparedMetric(EVERY, feature.name, comparison, rule)


@dataclass(frozen=True, eq=False)
class _Values:
    """What a feature was within a window, in no order: one event time for each value."""

    values: npt.NDArray[Any]
    "Numbers, or texts."
    times: npt.NDArray[np.float64]
    "Seconds since 1970."


def _in_pieces(baseline: _Values, windows: Windows) -> tuple[Counts, Counts]:
    """Counts (k, m) of the k newest pieces of a baseline over its m values, and of all of it.

    The last piece ends where the baseline does; one of which there is nothing is none.
    """
    length = piece_length(windows.baseline, windows.current)
    distinct, which = np.unique(baseline.values, return_inverse=True)
    whole = np.bincount(which, minlength=distinct.size)
    ago = windows.baseline.end.timestamp() - baseline.times
    # A piece holds its beginning, and not its end.
    piece = np.ceil(ago / length.total_seconds()).astype(np.int64) - 1
    number = min((windows.baseline.end - windows.baseline.start) // length, MOST_PIECES)
    kept = piece < number
    cells = np.bincount(piece[kept] * distinct.size + which[kept], minlength=number * distinct.size)
    pieces = cells.reshape(number, distinct.size)
    return pieces[pieces.any(axis=1)], whole


def _values(session: Session, feature: Feature, window: WindowOf) -> _Values:
    """All of a window, or `MOST_VALUES` of them: those whose key has the smallest hashes.

    So a value is drawn whatever it is and whenever it came, and the same ones each time.
    """
    row = FeatureValueRow
    newest = (
        sa.select(row.number_value, row.text_value, row.boolean_value, row.event_time, row.entity)
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
    at = newest.c.event_time
    microseconds = sa.cast(sa.func.extract("epoch", at) * 1_000_000, sa.BigInteger)
    found = session.execute(
        sa.select(newest.c.number_value, newest.c.text_value, newest.c.boolean_value, at)
        .order_by(sa.func.hashtextextended(newest.c.entity, microseconds), newest.c.entity, at)
        .limit(MOST_VALUES)
    ).all()
    values = [
        next(value for value in (number, text, boolean) if value is not None)
        for number, text, boolean, _ in found
    ]
    times = np.array([at.timestamp() for *_, at in found], dtype=np.float64)
    if feature.data_type is DataType.NUMBER:
        return _Values(np.array(values, dtype=np.float64), times)
    return _Values(np.array([str(value) for value in values], dtype=object), times)
