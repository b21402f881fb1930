"""What goes wrong: errors by category with their trend, and what they say, from the rollups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from shared.telemetry.errors import ErrorCategory
from shared.telemetry.reading import Window
from shared.telemetry.tables import ErrorMessage, ModelPerformance


@dataclass(frozen=True)
class CategoryCount:
    """Errors of one category in a window, and in the window of the same length before it.

    `by_hour` holds the hours that have any.
    """

    category: ErrorCategory
    n: int
    before: int
    by_hour: Mapping[datetime, int]


@dataclass(frozen=True)
class MessageCount:
    """A message, its numbers and identifiers folded, and how often it was said."""

    message: str
    category: ErrorCategory
    model: str
    function: str
    n: int
    latest_at: datetime


@dataclass(frozen=True)
class ErrorReport:
    """`tried` counts model calls, actions, page loads and ended tasks: what could have failed.

    It is None before there are any rollups of the window, which is not the same as no errors.
    """

    window: Window
    tried: int | None
    tried_before: int | None
    categories: tuple[CategoryCount, ...]
    messages: tuple[MessageCount, ...]

    @property
    def errors(self) -> int:
        return sum(category.n for category in self.categories)


def analyze_errors(session: Session, window: Window, messages: int = 10) -> ErrorReport:
    """The tenant's errors in a window, the most frequent first, with so many top `messages`."""
    before = Window(window.start - (window.end - window.start), window.start)
    now, then = _by_category(session, window), _by_category(session, before)
    counts = [
        CategoryCount(
            category=category,
            n=sum(now[category].values()),
            before=sum(then[category].values()),
            by_hour=now[category],
        )
        for category in ErrorCategory
        if now[category] or then[category]
    ]
    return ErrorReport(
        window=window,
        tried=_tried(session, window),
        tried_before=_tried(session, before),
        categories=tuple(sorted(counts, key=lambda count: (-count.n, -count.before))),
        messages=_messages(session, window, messages),
    )


def _by_category(session: Session, window: Window) -> defaultdict[ErrorCategory, Counter[datetime]]:
    error = sa.func.jsonb_each(ModelPerformance.errors_by_category).table_valued(
        "key", sa.column("value", JSONB)
    )
    number = sa.cast(sa.func.sum(sa.cast(error.c.value, sa.BigInteger)), sa.BigInteger)
    rows = session.execute(
        sa.select(ModelPerformance.hour, error.c.key, number)
        .select_from(sa.join(ModelPerformance, error, sa.true()))
        .where(ModelPerformance.hour >= window.start, ModelPerformance.hour < window.end)
        .group_by(ModelPerformance.hour, error.c.key)
    )
    found: defaultdict[ErrorCategory, Counter[datetime]] = defaultdict(Counter)
    for hour, category, n in rows:
        found[ErrorCategory(category)][hour] += n
    return found


def _tried(session: Session, window: Window) -> int | None:
    could_fail = (
        ModelPerformance.llm_calls
        + ModelPerformance.actions
        + ModelPerformance.page_loads
        + ModelPerformance.tasks
    )
    tried = session.scalar(
        sa.select(sa.func.sum(could_fail)).where(
            ModelPerformance.hour >= window.start, ModelPerformance.hour < window.end
        )
    )
    return None if tried is None else int(tried)


def _messages(session: Session, window: Window, at_most: int) -> tuple[MessageCount, ...]:
    total = sa.cast(sa.func.sum(ErrorMessage.n), sa.BigInteger)
    said = (
        ErrorMessage.message,
        ErrorMessage.category,
        ErrorMessage.model,
        ErrorMessage.function,
    )
    rows = session.execute(
        sa.select(*said, total, sa.func.max(ErrorMessage.latest_at))
        .where(ErrorMessage.hour >= window.start, ErrorMessage.hour < window.end)
        .group_by(*said)
        .order_by(total.desc(), *said)
        .limit(at_most)
    )
    return tuple(
        MessageCount(message, ErrorCategory(category), model, function, n, latest)
        for message, category, model, function, n, latest in rows
    )
