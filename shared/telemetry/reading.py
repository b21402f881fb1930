"""Looking at the past: sums and histograms of a window, from the rollups alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from shared.telemetry.histograms import Histogram
from shared.telemetry.rollups import Metric
from shared.telemetry.tables import ModelPerformance


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
    not known and in no sum. Errors are counted by `kind.error_type` and by category.
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


_COUNTED = ("errors_by_type", "errors_by_category")
_SUMMED = tuple(name for name in Sums.__dataclass_fields__ if name not in _COUNTED)


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
    group = ModelPerformance.__table__.columns[by.value]
    column = ModelPerformance.__table__.columns[metric.value]
    # Packed histograms end to end are their sum.
    packed = sa.func.string_agg(column, sa.literal(b"", sa.LargeBinary))
    rows = session.execute(
        sa.select(group, packed)
        .where(*_conditions(window, model, function, variant))
        .group_by(group)
    )
    return {name: Histogram.from_bytes(found) for name, found in rows}


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
    group = ModelPerformance.__table__.columns[by.value]
    added = [
        sa.cast(sa.func.sum(ModelPerformance.__table__.columns[name]), sa.BigInteger)
        for name in _SUMMED
    ]
    conditions = _conditions(window, model, function, variant)
    rows = session.execute(sa.select(group, *added).where(*conditions).group_by(group)).all()

    by_type, by_category = (_errors(session, name, group, conditions) for name in _COUNTED)
    return {
        name: Sums(
            **dict(zip(_SUMMED, values, strict=True)),
            errors_by_type=by_type.get(name, {}),
            errors_by_category=by_category.get(name, {}),
        )
        for name, *values in rows
    }


def _errors(
    session: Session,
    column: str,
    group: sa.ColumnElement[str],
    conditions: list[sa.ColumnElement[bool]],
) -> dict[str, dict[str, int]]:
    """The sums of a column of counts, by group and by what is counted."""
    counts = ModelPerformance.__table__.columns[column]
    error = sa.func.jsonb_each(counts).table_valued("key", sa.column("value", JSONB))
    number = sa.func.sum(sa.cast(error.c.value, sa.BigInteger))
    counted = session.execute(
        sa.select(group, error.c.key, sa.cast(number, sa.BigInteger))
        .select_from(sa.join(ModelPerformance, error, sa.true()))
        .where(*conditions)
        .group_by(group, error.c.key)
    )
    errors: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, kind, found in counted:
        errors[name][kind] = found
    return errors


def _conditions(
    window: Window, model: str | None, function: str | None, variant: str | None
) -> list[sa.ColumnElement[bool]]:
    conditions = [ModelPerformance.hour >= window.start, ModelPerformance.hour < window.end]
    if model is not None:
        conditions.append(ModelPerformance.model == model)
    if function is not None:
        conditions.append(ModelPerformance.function == function)
    if variant is not None:
        conditions.append(ModelPerformance.variant == variant)
    return conditions
