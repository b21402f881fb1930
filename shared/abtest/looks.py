"""What the timetable has found at each look at a test, so that one sees how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.finite import finite
from shared.abtest.tables import AbLook, AbTest
from shared.abtest.verdicts import AbState, Verdict
from shared.database import tenant_of

EACH_KEPT: Final = timedelta(days=7)
"Of the days before, the last look of each is kept."
KEPT: Final = timedelta(days=400)


@dataclass(frozen=True)
class ComparedThen:
    """A variant minus the control by the success metric, in its unit.

    None is not known, and an end of the interval that is None is none.
    """

    variant: str
    metric: str
    unit: str
    state: AbState
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Look:
    """A verdict as it was; units and weights are by variant."""

    looked_at: datetime
    state: AbState
    verdict: str
    units: int
    sample_ratio_p: float | None
    units_of: Mapping[str, int]
    weights: Mapping[str, float]
    compared: tuple[ComparedThen, ...]


def look_of(test: AbTest, found: Verdict, at: datetime) -> Look:
    """What is kept of a verdict that was reached at `at` (aware)."""
    success = found.figures[0].metric if found.figures else None
    return Look(
        at,
        found.state,
        found.verdict,
        found.units,
        found.sample_ratio_sequential_p,
        found.units_of,
        {variant["name"]: variant["weight"] for variant in test.variants},
        tuple(
            ComparedThen(
                one.variant,
                one.metric,
                one.unit,
                one.state,
                one.difference,
                *finite(one.interval or (None, None)),
            )
            for one in found.comparisons
            if one.metric == success
        ),
    )


def keep(session: Session, test: AbTest, look: Look) -> None:
    """Store the look, and forget what is not kept of earlier ones: some 600 rows of a test."""
    shown: dict[str, Any] = {
        "units_of": dict(look.units_of),
        "weights": dict(look.weights),
        "compared": [asdict(one) for one in look.compared],
    }
    session.add(
        AbLook(
            tenant_id=tenant_of(session),
            test_id=test.id,
            looked_at=look.looked_at,
            state=look.state,
            verdict=look.verdict,
            units=look.units,
            sample_ratio_p=look.sample_ratio_p,
            shown=shown,
        )
    )
    session.flush()
    at = look.looked_at
    session.execute(_FORGET, {"test": test.id, "each_until": at - EACH_KEPT, "until": at - KEPT})


def looks_of(session: Session, test: AbTest) -> tuple[Look, ...]:
    """The oldest first."""
    rows = session.scalars(
        sa.select(AbLook).where(AbLook.test_id == test.id).order_by(AbLook.looked_at)
    )
    return tuple(_look(row) for row in rows)


def newest_looks(session: Session) -> dict[UUID, Look]:
    """The newest of each of the tenant's tests that was looked at."""
    newest = sa.select(AbLook.test_id, sa.func.max(AbLook.looked_at)).group_by(AbLook.test_id)
    rows = session.scalars(
        sa.select(AbLook).where(sa.tuple_(AbLook.test_id, AbLook.looked_at).in_(newest))
    )
    return {row.test_id: _look(row) for row in rows}


_FORGET: Final = sa.text(
    """
    DELETE FROM mlops.ab_looks l
    WHERE l.test_id = :test AND (
        l.looked_at < :until
        OR (l.looked_at < :each_until AND EXISTS (
            SELECT FROM mlops.ab_looks later
            WHERE later.test_id = l.test_id AND later.looked_at > l.looked_at
              AND date_trunc('day', later.looked_at, 'UTC')
                = date_trunc('day', l.looked_at, 'UTC'))))
    """
)


def _look(row: AbLook) -> Look:
    return Look(
        row.looked_at,
        AbState(row.state),
        row.verdict,
        row.units,
        row.sample_ratio_p,
        row.shown["units_of"],
        row.shown["weights"],
        tuple(
            ComparedThen(**one | {"state": AbState(one["state"])}) for one in row.shown["compared"]
        ),
    )
