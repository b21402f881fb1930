"""What sweeps have found, as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import among
from shared.drift.tables import DriftDetection, DriftSubject, SweepKind
from shared.drift.verdicts import DriftState
from shared.jobs.contracts import WindowOf


@dataclass(frozen=True)
class StoredTest:
    """One test of a metric; where it has no p-value the finding's reason says why."""

    name: str
    statistic: float | None
    p_value: float | None
    p_adjusted: float | None
    effect_name: str | None
    effect_size: float | None


@dataclass(frozen=True)
class StoredFinding:
    """What a sweep said of one metric of a function and model.

    `p_adjusted` is the smallest of its tests', None where none could be made; it is significant up
    to `threshold`. The effect is the one that decides, and matters from `minimum_effect` on.
    """

    sweep_id: UUID
    created_at: datetime
    function: str
    model: str
    metric: str
    state: DriftState
    effect_name: str | None
    effect_size: float | None
    minimum_effect: float | None
    p_adjusted: float | None
    threshold: float
    n_baseline: int
    n_current: int
    reason: str
    baseline: WindowOf
    current: WindowOf
    tests: tuple[StoredTest, ...]
    usual_effect: float | None = None
    "How far days of the baseline were from the rest of it."
    change: str | None = None
    "From what to what, where it drifts or is about to; `reason` begins with it."


@dataclass(frozen=True)
class SubjectSweep:
    """The sweep that is shown of a function and model."""

    function: str
    model: str
    kind: SweepKind
    sweep_id: UUID
    swept_at: datetime
    newer_at: datetime | None
    "When a sweep of the other kind looked at it since; None if none did."


def newest_sweeps(
    session: Session,
    function: str | None = None,
    model: str | None = None,
    preferred: SweepKind | None = SweepKind.TIMETABLE,
) -> tuple[SubjectSweep, ...]:
    """Of each function and model the newest sweep of the `preferred` kind, else of the other.

    None prefers none: the newest of all. A filter that is None is none.
    """
    rows = session.scalars(
        sa.select(DriftSubject)
        .where(*_filters(DriftSubject.__table__, function, model, None))
        .order_by(
            DriftSubject.function,
            DriftSubject.model,
            (DriftSubject.kind == preferred).desc(),
            DriftSubject.swept_at.desc(),
        )
    )
    found: dict[tuple[str, str], SubjectSweep] = {}
    for row in rows:
        key = row.function, row.model
        if key not in found:
            found[key] = SubjectSweep(
                *key, SweepKind(row.kind), row.sweep_id, row.swept_at, newer_at=None
            )
        elif row.swept_at > found[key].swept_at:
            found[key] = replace(found[key], newer_at=row.swept_at)
    return tuple(found.values())


def newest_findings(
    session: Session,
    function: str | None = None,
    model: str | None = None,
    metric: str | None = None,
    preferred: SweepKind | None = SweepKind.TIMETABLE,
) -> tuple[StoredFinding, ...]:
    """What the sweeps of `newest_sweeps` said."""
    sweeps = newest_sweeps(session, function, model, preferred)
    table = DriftDetection.__table__
    return _found(
        session,
        among(
            [table.c.sweep_id, table.c.function, table.c.model],
            [(one.sweep_id, one.function, one.model) for one in sweeps],
        ),
        *_filters(DriftDetection.__table__, None, None, metric),
    )


def findings_of(session: Session, sweep_id: UUID) -> tuple[StoredFinding, ...]:
    """All of one sweep; none where it found nothing to compare, or is not there."""
    return _found(session, DriftDetection.sweep_id == sweep_id)


def _filters(
    table: sa.FromClause, function: str | None, model: str | None, metric: str | None
) -> list[sa.ColumnElement[bool]]:
    wanted = {"function": function, "model": model, "metric": metric}
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


_row: Final = DriftDetection
_OF_METRIC: Final[tuple[Any, ...]] = (
    _row.sweep_id,
    _row.function,
    _row.model,
    _row.metric,
    _row.created_at,
    _row.verdict,
    _row.threshold,
    _row.n_baseline,
    _row.n_current,
    _row.reason,
    _row.change,
    # Windows are few, and many findings are of each: as text they are told apart without reading.
    sa.cast(_row.baseline, sa.Text).label("baseline"),
    sa.cast(_row.current, sa.Text).label("current"),
)
"The same in all tests of a metric."
_OF_TEST: Final[tuple[Any, ...]] = (
    _row.test,
    _row.statistic,
    _row.p_value,
    _row.p_adjusted,
    _row.effect_name,
    _row.effect_size,
    _row.minimum_effect,
    _row.usual_effect,
)
_ORDER: Final = (
    _row.function,
    _row.model,
    _row.metric,
    _row.created_at,
    _row.sweep_id,
    _row.test,
)


def _found(session: Session, *conditions: sa.ColumnElement[bool]) -> tuple[StoredFinding, ...]:
    rows = session.execute(sa.select(*_OF_METRIC, *_OF_TEST).where(*conditions).order_by(*_ORDER))
    window = cache(WindowOf.model_validate_json)
    return tuple(
        _finding(list(tests), window)
        for _, tests in groupby(rows, key=lambda row: (row[0], row[1], row[2], row[3]))
    )


def _finding(rows: Sequence[sa.Row[Any]], window: Callable[[str], WindowOf]) -> StoredFinding:
    """The verdict and its reason are the metric's, the same in all of its tests."""
    first = rows[0]
    # The one effect that decides has a minimum.
    decisive = next((row for row in rows if row.minimum_effect is not None), None)
    p_values = [row.p_adjusted for row in rows if row.p_adjusted is not None]
    return StoredFinding(
        sweep_id=first.sweep_id,
        created_at=first.created_at,
        function=first.function,
        model=first.model,
        metric=first.metric,
        state=DriftState(first.verdict),
        effect_name=None if decisive is None else decisive.effect_name,
        effect_size=None if decisive is None else decisive.effect_size,
        minimum_effect=None if decisive is None else decisive.minimum_effect,
        p_adjusted=min(p_values, default=None),
        threshold=first.threshold,
        n_baseline=first.n_baseline,
        n_current=first.n_current,
        reason=first.reason,
        baseline=window(first.baseline),
        current=window(first.current),
        tests=tuple(StoredTest(*row[_TESTS:_EFFECTS]) for row in rows),
        usual_effect=None if decisive is None else decisive.usual_effect,
        change=first.change,
    )


_TESTS: Final = len(_OF_METRIC)
_EFFECTS: Final = _TESTS + len(fields(StoredTest))
