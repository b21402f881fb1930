"""Hours that changed, summed again: one row per hour x tenant x model x function x variant.

An hour is replaced and never added to, so summing it twice gives the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.telemetry.histograms import Histogram
from shared.telemetry.tables import ModelPerformance

HOURS_AT_ONCE: Final = 500
"How many hours one transaction sums: batches for the same hours wait for its end."

CONFIDENCE_UNIT: Final = 10_000
"Confidence from 0 to 1 is counted in ten-thousandths."


class Metric(StrEnum):
    """What is counted in a histogram; the value is the column of `model_performance`."""

    STEP_LATENCY = "step_latency_ms"
    LLM_LATENCY = "llm_latency_ms"
    PAGE_LOAD = "page_load_ms"
    QUERY_LENGTH = "query_length"
    CONFIDENCE = "confidence"
    TOKENS = "tokens"
    DOM_NODES = "dom_nodes"


_VALUES: Final[Mapping[Metric, str]] = {
    Metric.STEP_LATENCY: "CASE WHEN kind = 'action' THEN latency_ms END",
    Metric.LLM_LATENCY: "CASE WHEN kind = 'llm_call' THEN latency_ms END",
    Metric.PAGE_LOAD: "CASE WHEN kind = 'page_load' THEN latency_ms END",
    Metric.QUERY_LENGTH: "query_length",
    Metric.CONFIDENCE: f"CAST(round(confidence * {CONFIDENCE_UNIT}) AS bigint)",
    Metric.TOKENS: "input_tokens + output_tokens",
    Metric.DOM_NODES: "dom_nodes",
}

# The values of a group travel end to end as big-endian 64-bit integers and are binned here: that
# is one pass over the hour, and several times faster than grouping by value in SQL.
_PACKED: Final = ", ".join(
    f"coalesce(string_agg(int8send({value}), ''), '') AS {metric}"
    for metric, value in _VALUES.items()
)

Key = tuple[str, str, str]
"Model, function and variant."


def roll_up_dirty_hours(session: Session, at_most: int = HOURS_AT_ONCE) -> tuple[datetime, ...]:
    """Sum the tenant's changed hours again, oldest first, and return which they were.

    Their marks go with the same transaction. As many as `at_most` hours mean that there may be
    more. Needs READ COMMITTED, PostgreSQL's default: each statement sees what was committed
    before it began.
    """
    hours = tuple(session.scalars(_LOCK_MARKS, {"at_most": at_most}).all())
    if hours:
        # The marks are locked first and the events read by later statements: a batch that held a
        # mark has then committed and is seen, and one that comes now waits and marks again.
        session.execute(_TAKE_MARKS, {"hours": list(hours)})
    for hour in hours:
        _roll_up(session, hour)
    return hours


_LOCK_MARKS: Final = sa.text(
    "SELECT hour FROM mlops.dirty_hours ORDER BY hour LIMIT :at_most FOR UPDATE"
)
_TAKE_MARKS: Final = sa.text(
    "DELETE FROM mlops.dirty_hours WHERE hour = ANY (CAST(:hours AS timestamptz[]))"
)

# Episodes whose end says nothing of the agent are neither successes nor failures.
_SUMS: Final = sa.text(
    f"""
    SELECT model, function, variant,
        count(*) FILTER (WHERE kind = 'episode' AND success IS NOT NULL) AS episodes,
        count(*) FILTER (WHERE kind = 'episode' AND success) AS successes,
        count(*) FILTER (WHERE kind = 'action') AS actions,
        count(*) FILTER (WHERE kind = 'action' AND NOT success) AS action_errors,
        count(*) FILTER (WHERE kind = 'page_load') AS page_loads,
        count(*) FILTER (WHERE kind = 'llm_call') AS llm_calls,
        count(*) FILTER (WHERE kind = 'llm_call' AND NOT success) AS llm_errors,
        CAST(coalesce(sum(input_tokens), 0) AS bigint) AS input_tokens,
        CAST(coalesce(sum(cached_input_tokens), 0) AS bigint) AS cached_input_tokens,
        CAST(coalesce(sum(output_tokens), 0) AS bigint) AS output_tokens,
        CAST(coalesce(sum(cost_nanos), 0) AS bigint) AS cost_nanos,
        count(*) FILTER (WHERE kind = 'llm_call' AND cost_nanos IS NULL) AS unpriced_calls,
        count(*) FILTER (WHERE kind = 'llm_call' AND price_simulated) AS simulated_calls,
        {_PACKED}
    FROM mlops.events WHERE occurred_at >= :start AND occurred_at < :end
    GROUP BY model, function, variant
    """  # noqa: S608 (the expressions above)
)

_ERRORS: Final = sa.text(
    """
    SELECT model, function, variant, kind || '.' || error_type AS error, count(*) AS number
    FROM mlops.events
    WHERE occurred_at >= :start AND occurred_at < :end AND error_type IS NOT NULL
    GROUP BY model, function, variant, kind, error_type
    """
)


def _roll_up(session: Session, hour: datetime) -> None:
    window = {"start": hour, "end": hour + timedelta(hours=1)}
    sums = session.execute(_SUMS, window).mappings().all()
    errors: defaultdict[Key, dict[str, int]] = defaultdict(dict)
    for model, function, variant, error, number in session.execute(_ERRORS, window):
        errors[model, function, variant][error] = number
    session.execute(sa.delete(ModelPerformance).where(ModelPerformance.hour == hour))
    if not sums:
        return
    fixed = {"tenant_id": tenant_of(session), "hour": hour}
    rows = []
    for row in sums:
        counted = {metric.value: _histogram(row[metric.value]).to_bytes() for metric in Metric}
        found = errors[row["model"], row["function"], row["variant"]]
        rows.append(fixed | dict(row) | counted | {"errors_by_type": found})
    session.execute(sa.insert(ModelPerformance), rows)


def _histogram(packed: bytes) -> Histogram:
    return Histogram.from_values(np.frombuffer(packed, dtype=">i8"))
