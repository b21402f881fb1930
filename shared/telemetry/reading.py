"""Looking at the past: sums and histograms of a window, from the rollups alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from shared.database import IN_BINARY, WholeNumber, among
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS, Metric, OfOutcome, Words
from shared.telemetry.tables import DailyPerformance, DirtyDay, ModelPerformance
from shared.telemetry.word_counts import WordCounts

DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """The hours that begin at `start` or later and before `end`. ValueError if there can be none.

    Both are aware datetimes.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window without a time zone; expected aware datetimes")
        if self.end <= self.start:
            raise ValueError(f"a window that ends at {self.end}; expected after {self.start}")


class Group(StrEnum):
    """What rollups are added up by; the value is the column of `model_performance`."""

    MODEL = "model"
    FUNCTION = "function"
    VARIANT = "variant"


@dataclass(frozen=True)
class Sums:
    """What one model, function or variant did in a window.

    `tasks` are those that ended, and whose end says something of the agent. `cost_nanos` is the
    sum of the priced calls; `unpriced_calls` says how many are not in it, `simulated_calls` how
    many are in it at a price that is stated as simulated. The tokens of `uncounted_calls` are
    not known and in no sum. Errors are counted by `kind.error_type` and by category, names (of
    actions and language models) by `action.click`; where nobody asked for them they are empty.
    """

    tasks_started: int
    tasks: int
    successes: int
    actions: int
    action_errors: int
    page_loads: int
    llm_calls: int
    llm_errors: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    uncounted_calls: int
    cost_nanos: int
    unpriced_calls: int
    simulated_calls: int
    errors_by_type: Mapping[str, int] = field(default_factory=dict)
    errors_by_category: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)


_COUNTED = ("errors_by_type", "errors_by_category", "names")
SUMMED = tuple(name for name in Sums.__dataclass_fields__ if name not in _COUNTED)


def added_up(rows: sa.Subquery) -> list[sa.ColumnElement[int]]:
    """The sums of `SUMMED`."""
    return [
        sa.type_coerce(summed, WholeNumber)
        if name == "cost_nanos"
        else sa.cast(summed, sa.BigInteger)
        for name, summed in ((name, sa.func.sum(rows.c[name])) for name in SUMMED)
    ]


def histograms(
    session: Session,
    window: Window,
    metric: Metric,
    model: str | None = None,
    function: str | None = None,
    variant: str | None = None,
    by: Group = Group.MODEL,
) -> dict[str, Histogram]:
    """The histogram of `metric` for each model (or what `by` says) that has rows in the window.

    A filter that is None is none. A model that has rows and no values has an empty histogram.
    """
    rows = rows_of_window(window, (metric.value,), by, (model, function, variant))
    # Packed histograms end to end are their sum.
    packed = sa.func.string_agg(rows.c[metric.value], sa.literal(b"", sa.LargeBinary))
    found = session.execute(
        sa.select(rows.c.name, packed).group_by(rows.c.name), execution_options=IN_BINARY
    )
    return {name: Histogram.from_bytes(counts) for name, counts in found}


def sums(
    session: Session,
    window: Window,
    model: str | None = None,
    function: str | None = None,
    variant: str | None = None,
    by: Group = Group.MODEL,
) -> dict[str, Sums]:
    """The sums for each model (or what `by` says) that has rows in the window.

    A filter that is None is none.
    """
    filters = (model, function, variant)
    rows = rows_of_window(window, SUMMED, by, filters)
    found = session.execute(sa.select(rows.c.name, *added_up(rows)).group_by(rows.c.name)).all()
    by_type, by_category = (
        _errors(session, window, name, by, filters)
        for name in ("errors_by_type", "errors_by_category")
    )
    return {
        name: Sums(
            **dict(zip(SUMMED, values, strict=True)),
            errors_by_type=by_type.get(name, {}),
            errors_by_category=by_category.get(name, {}),
        )
        for name, *values in found
    }


def computed_at(
    session: Session,
    window: Window,
    model: str | None = None,
    function: str | None = None,
    variant: str | None = None,
) -> datetime | None:
    """When the newest of the window's sums was made; None if it has none. A None filter is none."""
    hours = ModelPerformance.__table__
    wanted = {"model": model, "function": function, "variant": variant}
    newest: datetime | None = session.scalar(
        sa.select(sa.func.max(hours.c.computed_at)).where(
            hours.c.hour >= window.start,
            hours.c.hour < window.end,
            *(hours.c[name] == value for name, value in wanted.items() if value is not None),
        )
    )
    return newest


Only = Collection[tuple[str, str]]
"Functions and models that alone are read."


def by_model_and_function(
    session: Session,
    window: Window,
    metrics: Sequence[Metric | OfOutcome],
    only: Only | None = None,
) -> dict[tuple[str, str], tuple[Sums, Mapping[Metric | OfOutcome, Histogram]]]:
    """The sums, and the histograms of `metrics`, for each model and function in the window.

    One statement; the errors of these sums are not counted by what they were.
    """
    wanted = (*SUMMED, *(metric.value for metric in metrics))
    columns = (Group.FUNCTION.value, *wanted)
    rows = rows_of_window(window, columns, Group.MODEL, (None, None, None), only=only)
    of = (rows.c.name, rows.c[Group.FUNCTION.value])
    nothing = sa.literal(b"", sa.LargeBinary)
    packed = [sa.func.string_agg(rows.c[metric.value], nothing) for metric in metrics]
    found: dict[tuple[str, str], tuple[Sums, Mapping[Metric | OfOutcome, Histogram]]] = {}
    for model, function, *values in session.execute(
        sa.select(*of, *added_up(rows), *packed).group_by(*of), execution_options=IN_BINARY
    ):
        counts, histograms = values[: len(SUMMED)], values[len(SUMMED) :]
        found[model, function] = (
            Sums(**dict(zip(SUMMED, counts, strict=True))),
            {
                metric: Histogram.from_bytes(one)
                for metric, one in zip(metrics, histograms, strict=True)
            },
        )
    return found


@dataclass(frozen=True)
class Seen:
    """What one model did within one function in a window, errors by what they were included."""

    sums: Sums
    histograms: Mapping[Metric | OfOutcome, Histogram]


def by_function_and_model(
    session: Session,
    window: Window,
    metrics: Sequence[Metric | OfOutcome],
    only: Only | None = None,
) -> dict[tuple[str, str], Seen]:
    """As `by_model_and_function`, with errors by type, and names; by function, then model."""
    by_type, names = (
        _counted_by_model_and_function(session, window, column, only)
        for column in ("errors_by_type", "names")
    )
    return {
        (function, model): Seen(
            replace(
                sums,
                errors_by_type=by_type.get((model, function), {}),
                names=names.get((model, function), {}),
            ),
            histograms,
        )
        for (model, function), (sums, histograms) in by_model_and_function(
            session, window, metrics, only
        ).items()
    }


def word_counts(
    session: Session, window: Window, words: Words, of: Collection[tuple[str, str]]
) -> dict[tuple[str, str], WordCounts]:
    """Words of each (function, model) among `of`: of those that have any."""
    of_function = Group.FUNCTION.value
    rows = rows_of_window(window, (of_function, words.value), Group.MODEL, (None, None, None))
    key = (rows.c[of_function], rows.c.name)
    packed = sa.func.string_agg(rows.c[words.value], sa.literal(b"", sa.LargeBinary))
    found = session.execute(
        sa.select(*key, packed)
        .where(among(key, of), sa.func.octet_length(rows.c[words.value]) > 0)
        .group_by(*key),
        execution_options=IN_BINARY,
    )
    return {(function, model): WordCounts.from_bytes(counts) for function, model, counts in found}


_NO_SUMS: Final[dict[str, Any]] = dict.fromkeys(SUMMED, 0)
NOTHING_SEEN: Final = Seen(Sums(**_NO_SUMS), dict.fromkeys(HISTOGRAMS, Histogram.empty()))
"What there is of nobody."


Filters = tuple[str | None, str | None, str | None]
"Model, function and variant."


def _errors(
    session: Session, window: Window, column: str, by: Group, filters: Filters
) -> dict[str, dict[str, int]]:
    """The sums of a column of counts, by group and by what is counted."""
    rows = rows_of_window(window, (column,), by, filters)
    errors: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, kind, found in counts_in(session, rows, column, (rows.c.name,)):
        errors[name][kind] = found
    return errors


def _counted_by_model_and_function(
    session: Session, window: Window, column: str, only: Only | None
) -> dict[tuple[str, str], dict[str, int]]:
    of_function = Group.FUNCTION.value
    rows = rows_of_window(window, (of_function, column), Group.MODEL, (None, None, None), only=only)
    errors: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    groups = (rows.c.name, rows.c[of_function])
    for model, function, kind, found in counts_in(session, rows, column, groups):
        errors[model, function][kind] = found
    return errors


def counts_in(
    session: Session, rows: sa.Subquery, column: str, groups: Sequence[sa.ColumnElement[Any]]
) -> Iterator[tuple[Any, ...]]:
    """The groups, what is counted in the JSON of a column, and how many there were."""
    error = sa.func.jsonb_each(rows.c[column]).table_valued("key", sa.column("value", JSONB))
    number = sa.cast(sa.func.sum(sa.cast(error.c.value, sa.BigInteger)), sa.BigInteger)
    found = session.execute(
        sa.select(*groups, error.c.key, number)
        .select_from(sa.join(rows, error, sa.true()))
        .group_by(*groups, error.c.key)
    )
    return (tuple(row) for row in found)


def rows_of_window(
    window: Window,
    columns: Sequence[str],
    by: Group,
    filters: Filters,
    no_days_from: datetime | None = None,
    only: Only | None = None,
) -> sa.Subquery:
    """Rows that make up the window, each with its group as `name`, when it `begins`, and `columns`.

    Days that lie in it as a whole are read as days, and those that are not summed up, and the
    ends of the window, as hours, as all is from `no_days_from` on. It is one statement, so that a
    day that is summed meanwhile is not missed in both.
    """
    first, last = whole_days(window)
    if no_days_from is not None:
        last = min(last, no_days_from.astimezone(UTC).date())
    hours, days = ModelPerformance.__table__, DailyPerformance.__table__

    def of(table: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
        wanted = zip(("model", "function", "variant"), filters, strict=True)
        begins = (
            hours.c.hour if table is hours else sa.cast(days.c.day, sa.TIMESTAMP(timezone=True))
        )
        return sa.select(
            table.c[by.value].label("name"),
            begins.label("begins"),
            *(table.c[column] for column in columns),
        ).where(
            *conditions,
            *(table.c[name] == value for name, value in wanted if value is not None),
            *(() if only is None else (among((table.c.function, table.c.model), only),)),
        )

    if first >= last:
        return of(hours, hours.c.hour >= window.start, hours.c.hour < window.end).subquery()
    day = sa.cast(DirtyDay.day, sa.TIMESTAMP(timezone=True))
    return sa.union_all(
        of(hours, hours.c.hour >= window.start, hours.c.hour < midnight(first)),
        of(hours, hours.c.hour >= midnight(last), hours.c.hour < window.end),
        of(
            hours,
            DirtyDay.day >= first,
            DirtyDay.day < last,
            hours.c.hour >= day,
            hours.c.hour < day + timedelta(days=1),
        ),
        of(days, days.c.day >= first, days.c.day < last),
    ).subquery()


def whole_days(window: Window) -> tuple[date, date]:
    """The first day (UTC) that lies in the window as a whole, and the first after such days."""
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    first = start.date() if start == midnight(start.date()) else start.date() + timedelta(days=1)
    return first, end.date()


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
