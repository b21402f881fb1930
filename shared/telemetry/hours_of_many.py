"""What many functions and models did hour by hour, in one statement for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.database import IN_BINARY
from shared.hours import HOUR
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import Metric
from shared.telemetry.reading import Seen, Sums, Window
from shared.telemetry.tables import ModelPerformance

_SUMMED: Final = tuple(one.name for one in fields(Sums) if one.default_factory is MISSING)


def hours_of_many(
    session: Session, window: Window, metrics: Sequence[Metric], of: Collection[tuple[str, str]]
) -> dict[tuple[str, str], dict[datetime, Seen]]:
    """By (function, model) among `of`, and by each whole hour (UTC) of the window that has rows.

    Errors of these sums are not counted by what they were. The index begins with the hour, so that
    each hour of each is looked up in it, and nobody else's are gone through. All that is read is
    held: `of` should be hundreds and not thousands.
    """
    table = ModelPerformance.__table__
    wanted = (*_SUMMED, "names", *(metric.value for metric in metrics))
    key = (table.c.hour, table.c.model, table.c.function)
    rows = session.execute(
        sa.select(table.c.function, table.c.model, table.c.hour, *(table.c[one] for one in wanted))
        .where(
            # For the planner, which takes the hours of a series for more than there are, and would
            # go through the rows of all tenants.
            table.c.hour >= window.start,
            table.c.hour < window.end,
            _is_looked_up(key, window, of),
        )
        .order_by(table.c.function, table.c.model, table.c.hour),
        execution_options=IN_BINARY,
    )
    found: dict[tuple[str, str], dict[datetime, Seen]] = {}
    for (function, model, hour), variants in groupby(rows, key=itemgetter(0, 1, 2)):
        of_subject = found.setdefault((function, model), {})
        of_subject[hour.astimezone(UTC)] = _together([row[3:] for row in variants], metrics)
    return found


def _is_looked_up(
    key: Sequence[sa.ColumnElement[Any]], window: Window, of: Collection[tuple[str, str]]
) -> sa.ColumnElement[bool]:
    functions, models = zip(*of, strict=True) if of else ((), ())
    subjects = (
        sa.func.unnest(
            sa.literal(list(functions), ARRAY(sa.Text)), sa.literal(list(models), ARRAY(sa.Text))
        )
        .table_valued("function", "model", name="subject")
        .render_derived()
    )
    hours = (
        sa.func.generate_series(window.start, window.end - HOUR, HOUR)
        .table_valued(sa.column("hour", sa.TIMESTAMP(timezone=True)), name="hours")
        .render_derived()
    )
    each = sa.select(hours.c.hour, subjects.c.model, subjects.c.function)
    return sa.tuple_(*key).in_(each.select_from(hours.join(subjects, sa.true())))


def _together(variants: Sequence[Sequence[Any]], metrics: Sequence[Metric]) -> Seen:
    """The sums, names and histograms of an hour's rows, one for each variant, added up."""
    columns = list(zip(*variants, strict=True))
    names: Counter[str] = Counter()
    for one in columns[len(_SUMMED)]:
        names.update(one)
    packed = columns[len(_SUMMED) + 1 :]
    sums: dict[str, Any] = {name: sum(of) for name, of in zip(_SUMMED, columns, strict=False)}
    return Seen(
        Sums(**sums, names=names),
        {
            metric: Histogram.from_bytes(b"".join(of))
            for metric, of in zip(metrics, packed, strict=True)
        },
    )
