"""Hours that changed, summed again: one row per hour x tenant x model x function x variant.

An hour is replaced and never added to, so summing it twice gives the same rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.telemetry.errors import ErrorCategory
from shared.telemetry.histograms import Histogram
from shared.telemetry.tables import CustomMetric, ErrorMessage, ModelPerformance

HOURS_AT_ONCE: Final = 500
"How many hours one transaction sums: batches for the same hours wait for its end."

SHARE_UNIT: Final = 10_000
"Confidence and quality, from 0 to 1, are counted in ten-thousandths."

MESSAGES_AN_HOUR: Final = 200
"Different error messages of a tenant that are counted apart, the most frequent ones."


class Metric(StrEnum):
    """What is counted in a histogram; the value is the column of `model_performance`."""

    STEP_LATENCY = "step_latency_ms"
    LLM_LATENCY = "llm_latency_ms"
    FIRST_TOKEN = "first_token_ms"  # noqa: S105 (no password)
    PAGE_LOAD = "page_load_ms"
    QUERY_LENGTH = "query_length"
    CONFIDENCE = "confidence"
    QUALITY = "quality"
    TOKENS = "tokens"
    DOM_NODES = "dom_nodes"


_VALUES: Final[Mapping[Metric, str]] = {
    Metric.STEP_LATENCY: "CASE WHEN kind = 'action' THEN latency_ms END",
    Metric.LLM_LATENCY: "CASE WHEN kind = 'llm_call' THEN latency_ms END",
    Metric.PAGE_LOAD: "CASE WHEN kind = 'page_load' THEN latency_ms END",
    Metric.FIRST_TOKEN: "first_token_ms",
    Metric.QUERY_LENGTH: "query_length",
    Metric.CONFIDENCE: f"CAST(round(confidence * {SHARE_UNIT}) AS bigint)",
    Metric.QUALITY: f"CAST(round(quality * {SHARE_UNIT}) AS bigint)",
    Metric.TOKENS: "coalesce(total_tokens, input_tokens + output_tokens)",
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

# Tasks whose end says nothing of the agent are neither successes nor failures.
_SUMS: Final = sa.text(
    f"""
    SELECT model, function, variant,
        count(*) FILTER (WHERE kind = 'task_start') AS tasks_started,
        count(*) FILTER (WHERE kind = 'task_end' AND success IS NOT NULL) AS tasks,
        count(*) FILTER (WHERE kind = 'task_end' AND success) AS successes,
        count(*) FILTER (WHERE kind = 'action') AS actions,
        count(*) FILTER (WHERE kind = 'action' AND NOT success) AS action_errors,
        count(*) FILTER (WHERE kind = 'page_load') AS page_loads,
        count(*) FILTER (WHERE kind = 'llm_call') AS llm_calls,
        count(*) FILTER (WHERE kind = 'llm_call' AND NOT success) AS llm_errors,
        CAST(coalesce(sum(input_tokens), 0) AS bigint) AS input_tokens,
        CAST(coalesce(sum(cached_input_tokens), 0) AS bigint) AS cached_input_tokens,
        CAST(coalesce(sum(cache_write_tokens), 0) AS bigint) AS cache_write_tokens,
        CAST(coalesce(sum(output_tokens), 0) AS bigint) AS output_tokens,
        CAST(coalesce(sum(reasoning_tokens), 0) AS bigint) AS reasoning_tokens,
        count(*) FILTER (WHERE kind = 'llm_call' AND total_tokens IS NULL
                         AND (input_tokens IS NULL OR output_tokens IS NULL)) AS uncounted_calls,
        CAST(coalesce(sum(cost_nanos), 0) AS bigint) AS cost_nanos,
        count(*) FILTER (WHERE kind = 'llm_call' AND cost_nanos IS NULL) AS unpriced_calls,
        count(*) FILTER (WHERE kind = 'llm_call' AND price_simulated) AS simulated_calls,
        {_PACKED}
    FROM mlops.events WHERE occurred_at >= :start AND occurred_at < :end
        AND kind NOT IN ('metric', 'system')
    GROUP BY model, function, variant
    """  # noqa: S608 (the expressions above)
)

_ERRORS: Final = sa.text(
    """
    SELECT model, function, variant, kind, error_type, error_category, count(*) AS number
    FROM mlops.events
    WHERE occurred_at >= :start AND occurred_at < :end
        AND (error_type IS NOT NULL OR error_category IS NOT NULL)
    GROUP BY model, function, variant, kind, error_type, error_category
    """
)

# What is not among the most frequent is counted together: a sender whose messages are all
# different must not make the rollup as large as the events.
_MESSAGES: Final = sa.text(
    """
    INSERT INTO mlops.error_messages
        (tenant_id, hour, model, function, variant, kind, category, message, n, latest_at)
    SELECT CAST(current_setting('app.tenant') AS uuid), :start, model, function, variant, kind,
        error_category, CASE WHEN place <= :at_most THEN error_shape ELSE :others END AS message,
        sum(n), max(latest_at)
    FROM (
        SELECT model, function, variant, kind, error_category, error_shape, count(*) AS n,
            max(occurred_at) AS latest_at, row_number() OVER (ORDER BY count(*) DESC) AS place
        FROM mlops.events
        WHERE occurred_at >= :start AND occurred_at < :end AND error_shape IS NOT NULL
        GROUP BY model, function, variant, kind, error_category, error_shape
    ) AS counted
    GROUP BY model, function, variant, kind, error_category, message
    """
)

# A sample of a machine is as many metrics as it holds numbers.
_CUSTOM: Final = sa.text(
    """
    INSERT INTO mlops.custom_metrics (tenant_id, hour, model, function, variant, host, name,
        n, mean, variance, minimum, maximum, latest, latest_at)
    SELECT CAST(current_setting('app.tenant') AS uuid), :start, model, function, variant, host,
        name, count(*), avg(value), coalesce(var_pop(value), 0), min(value), max(value),
        (array_agg(value ORDER BY occurred_at DESC, event_id))[1], max(occurred_at)
    FROM (
        SELECT model, function, variant, '' AS host, name, value, occurred_at, event_id
        FROM mlops.events
        WHERE occurred_at >= :start AND occurred_at < :end AND kind = 'metric'
        UNION ALL
        SELECT model, function, variant, host, 'system.' || sampled.key,
            CAST(sampled.value AS double precision), occurred_at, event_id
        FROM mlops.events CROSS JOIN LATERAL jsonb_each_text(attributes) AS sampled
        WHERE occurred_at >= :start AND occurred_at < :end AND kind = 'system'
            AND sampled.key IN ('cpu_percent', 'memory_percent', 'memory_bytes', 'disk_percent')
    ) AS measured
    GROUP BY model, function, variant, host, name
    """
)

_OTHER_MESSAGES: Final = "(other messages)"


def _roll_up(session: Session, hour: datetime) -> None:
    window = {"start": hour, "end": hour + timedelta(hours=1)}
    sums = session.execute(_SUMS, window).mappings().all()
    by_type: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    by_category: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for found in session.execute(_ERRORS, window):
        key = found.model, found.function, found.variant
        if found.error_type is not None:
            by_type[key][f"{found.kind}.{found.error_type}"] += found.number
        by_category[key][found.error_category or ErrorCategory.OTHER] += found.number
    for table in (ModelPerformance, ErrorMessage, CustomMetric):
        session.execute(sa.delete(table).where(table.hour == hour))
    session.execute(_CUSTOM, window)
    if by_category:
        session.execute(
            _MESSAGES, window | {"at_most": MESSAGES_AN_HOUR, "others": _OTHER_MESSAGES}
        )
    if not sums:
        return
    fixed = {"tenant_id": tenant_of(session), "hour": hour}
    rows = []
    for row in sums:
        counted = {metric.value: _histogram(row[metric.value]).to_bytes() for metric in Metric}
        key = row["model"], row["function"], row["variant"]
        errors = {"errors_by_type": by_type[key], "errors_by_category": by_category[key]}
        rows.append(fixed | dict(row) | counted | errors)
    session.execute(sa.insert(ModelPerformance), rows)


def _histogram(packed: bytes) -> Histogram:
    return Histogram.from_values(np.frombuffer(packed, dtype=">i8"))
