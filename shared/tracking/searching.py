"""Runs that a filter finds, in the order that is asked for."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.tracking.errors import FilterError
from shared.tracking.filters import (
    AllOf,
    Comparison,
    Condition,
    Field,
    IsThere,
    Not,
    OneOf,
    Value,
    parse_filter,
    parse_order,
)
from shared.tracking.runs import RunStatus
from shared.tracking.tables import Experiment, ExperimentRun, RunMetric

MOST_RUNS: Final = 10_000


@dataclass(frozen=True)
class Found:
    """A run, the name of its experiment, and its metrics by name."""

    run: ExperimentRun
    experiment: str
    metrics: dict[str, RunMetric]


def search_runs(
    session: Session,
    condition: str = "",
    *,
    experiments: Sequence[UUID] | None = None,
    order_by: str = "started_at desc",
    limit: int = 100,
) -> list[Found]:
    """The runs that `condition` holds for; of what is unknown nothing holds.

    Raises `FilterError`.
    """
    if not 1 <= limit <= MOST_RUNS:
        raise FilterError(f"limit {limit}: expected 1 to {MOST_RUNS}")
    query = sa.select(ExperimentRun, Experiment.name).join(
        Experiment, Experiment.id == ExperimentRun.experiment_id
    )
    if condition.strip():
        # A condition of something unknown is neither true nor false, and its opposite too.
        query = query.where(_sql(parse_filter(condition)))
    if experiments is not None:
        asked = sa.literal(list(experiments), ARRAY(sa.Uuid))
        query = query.where(ExperimentRun.experiment_id == sa.any_(asked))
    field, descending = parse_order(order_by)
    column = _column(field)
    column = _column(field)
    ordered = (column.desc() if descending else column.asc()).nulls_last()
    rows = session.execute(
        query.order_by(ordered, ExperimentRun.started_at.desc(), ExperimentRun.id).limit(limit)
    ).all()
    metrics = metrics_of(session, [run.id for run, _ in rows])
    return [Found(run, name, metrics[run.id]) for run, name in rows]


def metrics_of(session: Session, run_ids: Sequence[UUID]) -> dict[UUID, dict[str, RunMetric]]:
    """The metrics of each run, by name."""
    found: dict[UUID, dict[str, RunMetric]] = {run_id: {} for run_id in run_ids}
    asked = sa.literal(list(run_ids), ARRAY(sa.Uuid))
    for metric in session.scalars(
        sa.select(RunMetric).where(RunMetric.run_id == sa.any_(asked)).order_by(RunMetric.name)
    ):
        found[metric.run_id][metric.name] = metric
    return found


def _sql(condition: Condition) -> sa.ColumnElement[bool]:
    match condition:
        case AllOf(parts):
            return sa.and_(*map(_sql, parts))
        case OneOf(parts):
            return sa.or_(*map(_sql, parts))
        case Not(part):
            return sa.not_(_sql(part))
        case IsThere(field, no):
            there = _column(field).is_not(None)
            return sa.not_(there) if no else there
        case Comparison(field, sign, values):
            return _compared(field, sign, values)


def _compared(field: Field, sign: str, values: Sequence[Value]) -> sa.ColumnElement[bool]:
    kind = _KINDS.get(field.name, str) if not field.group else None
    if field.group == "metrics":
        kind = float
    if sign in ("like", "ilike"):
        if kind not in (None, str) or not isinstance(values[0], str):
            raise FilterError(f"{field} {sign}: expected a field of text, and text")
        column = _column(field)
        return column.like(values[0]) if sign == "like" else column.ilike(values[0])
    if kind is not None:
        wanted = [_of_kind(field, kind, value) for value in values]
        return _operated(_column(field), sign, wanted)
    # Params and tags are what they were given as: a number is compared with numbers alone.
    types = {type(value) for value in values}
    if len(types) > 1:
        raise FilterError(f"{field} in (...): expected values of one type")
    return _operated(_typed(field, types.pop()), sign, list(values))


def _operated(
    column: sa.ColumnElement[Any], sign: str, values: Sequence[Any]
) -> sa.ColumnElement[bool]:
    if sign == "in":
        return column.in_(values)
    holds: sa.ColumnElement[bool] = _OPERATORS[sign](column, values[0])
    if sign in (">", ">=") and isinstance(column.type, sa.Double):
        # PostgreSQL takes NaN for greater than all numbers; here it is greater than none.
        return sa.and_(holds, column != math.nan)
    return holds


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


_KINDS: Final = {
    "success": bool,
    "started_at": datetime,
    "ended_at": datetime,
    "duration": float,
    "id": UUID,
    "parent": UUID,
}
_ATTRIBUTES: Final[dict[str, sa.ColumnElement[Any]]] = {
    "name": ExperimentRun.name.expression,
    "id": ExperimentRun.id.expression,
    "experiment": Experiment.name.expression,
    "parent": ExperimentRun.parent_id.expression,
    "status": ExperimentRun.status.expression,
    "success": ExperimentRun.success.expression,
    "started_at": ExperimentRun.started_at.expression,
    "ended_at": ExperimentRun.ended_at.expression,
    "duration": sa.cast(
        sa.extract("epoch", ExperimentRun.ended_at - ExperimentRun.started_at), sa.Double
    ),
}


def _column(field: Field) -> sa.ColumnElement[Any]:
    if field.group == "metrics":
        return (
            sa.select(sa.cast(RunMetric.value, sa.Double))
            .where(
                RunMetric.tenant_id == ExperimentRun.tenant_id,
                RunMetric.run_id == ExperimentRun.id,
                RunMetric.name == field.name,
            )
            .correlate(ExperimentRun)
            .scalar_subquery()
        )
    if field.group:
        text: sa.ColumnElement[Any] = _json(field)[field.name].astext
        return text
    return _ATTRIBUTES[field.name]


def _typed(field: Field, kind: type) -> sa.ColumnElement[Any]:
    """The param or tag where it is of that kind, else NULL."""
    name, column = {str: "string", float: "number", bool: "boolean"}[kind], _json(field)[field.name]
    text = column.astext
    types: dict[type, Any] = {
        str: text,
        float: sa.cast(text, sa.Double),
        bool: sa.cast(text, sa.Boolean),
    }
    return sa.case((sa.func.jsonb_typeof(column) == name, types[kind]))


def _json(field: Field) -> Any:
    return ExperimentRun.params if field.group == "params" else ExperimentRun.tags


def _of_kind(field: Field, kind: type, value: Value) -> Any:
    try:
        if kind is datetime and isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        if kind is UUID and isinstance(value, str):
            return UUID(value)
    except ValueError:
        pass
    if kind is str and isinstance(value, str):
        if field.name == "status" and value not in set(RunStatus):
            raise FilterError(f"status {value!r:.40}: expected one of {', '.join(RunStatus)}")
        return value
    if kind in (float, bool) and type(value) is kind:
        return value
    expected = {
        float: "a number",
        bool: "true or false",
        str: "text in 'single quotes'",
        datetime: "a time like '2026-11-01' or '2026-11-01T12:00:00+00:00'",
        UUID: "an identifier in 'single quotes'",
    }[kind]
    raise FilterError(f"{field} compared with {value!r:.60}: expected {expected}")
