"""Days that are over, added up from their hours: what a look at a month reads.

A day is marked when one of its hours is summed, and its sum, if there was one, is removed with the
same transaction: a sum that is there is that of its hours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import WholeNumber, tenant_of
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS, Words
from shared.telemetry.tables import DailyPerformance, DirtyDay, ModelPerformance
from shared.telemetry.word_counts import WordCounts

DAYS_AT_ONCE: Final = 31

_DAY: Final = timedelta(days=1)


def mark_days(session: Session, hours: Collection[datetime]) -> None:
    """Say that these hours (aware) were summed again: the sums of their days hold no longer."""
    days = sorted({hour.astimezone(UTC).date() for hour in hours})
    if not days:
        return
    session.execute(_MARK, {"days": days})
    session.execute(_FORGET, {"days": days})


# Not DO NOTHING: whoever is about to take the mark waits for this transaction, or this one for it.
_MARK: Final = sa.text(
    """
    INSERT INTO mlops.dirty_days (tenant_id, day)
    SELECT CAST(current_setting('app.tenant') AS uuid), day
    FROM unnest(CAST(:days AS date[])) AS day ORDER BY day
    ON CONFLICT (tenant_id, day) DO UPDATE SET day = excluded.day
    """
)
_FORGET: Final = sa.text(
    "DELETE FROM mlops.daily_performance WHERE day = ANY (CAST(:days AS date[]))"
)


def sum_past_days(session: Session, today: date, at_most: int = DAYS_AT_ONCE) -> tuple[date, ...]:
    """Add up the marked days before `today` (UTC), oldest first, and return which they were.

    As many as `at_most` days mean that there may be more.
    """
    days = tuple(
        session.scalars(
            sa.select(DirtyDay.day)
            .where(DirtyDay.day < today)
            .order_by(DirtyDay.day)
            .limit(at_most)
            # What is being marked right now is left for later: so nobody here waits for others.
            .with_for_update(skip_locked=True)
        )
    )
    if days:
        session.execute(sa.delete(DirtyDay).where(DirtyDay.day.in_(days)))
    for day in days:
        _sum(session, day)
    return days


_HISTOGRAMS: Final = tuple(name.value for name in HISTOGRAMS)
_WORDS: Final = tuple(name.value for name in Words)
_COUNTED: Final = ("errors_by_type", "errors_by_category", "names")
_KEY: Final = ("model", "function", "variant")
_ADDED: Final = tuple(
    column.name
    for column in DailyPerformance.__table__.columns
    if isinstance(column.type, sa.BigInteger | WholeNumber)
)


def _sum(session: Session, day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    groups: defaultdict[tuple[str, ...], list[sa.RowMapping]] = defaultdict(list)
    columns = [
        ModelPerformance.__table__.columns[n]
        for n in (*_KEY, *_ADDED, *_HISTOGRAMS, *_WORDS, *_COUNTED)
    ]
    hours = sa.select(*columns).where(
        ModelPerformance.hour >= start,
        ModelPerformance.hour < start + _DAY,
    )
    for row in session.execute(hours).mappings():
        groups[tuple(row[name] for name in _KEY)].append(row)
    fixed = {"tenant_id": tenant_of(session), "day": day}
    rows = [
        fixed | dict(zip(_KEY, key, strict=True)) | _added(hours_of_group)
        for key, hours_of_group in groups.items()
    ]
    if rows:
        session.execute(sa.insert(DailyPerformance), rows)


def _added(hours: Sequence[sa.RowMapping]) -> dict[str, Any]:
    counted: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
    for row in hours:
        for name, counts in counted.items():
            counts.update(row[name])
    return (
        {name: sum(row[name] for row in hours) for name in _ADDED}
        | {
            name: Histogram.from_bytes(b"".join(row[name] for row in hours)).to_bytes()
            for name in _HISTOGRAMS
        }
        | {
            name: WordCounts.from_bytes(b"".join(row[name] for row in hours)).to_bytes()
            for name in _WORDS
        }
        | counted
    )
