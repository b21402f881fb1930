"""The named queries that every figure of a card comes from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import sqlalchemy as sa


class Query(StrEnum):
    """A figure names one of these with its parameters, so that it can be computed again."""

    EPISODES_BY_TASK = "episodes_by_task"
    PERFORMANCE = "performance"
    COST = "cost"
    NEWEST_SWEEP = "newest_sweep"
    NONE = "none"
    "Of figures that are a rule of the card itself."


STATEMENTS: Final = {
    Query.EPISODES_BY_TASK: sa.text(
        """
        SELECT t.benchmark, t.name AS task, t.difficulty,
               count(*) FILTER (WHERE e.scored) AS scored,
               count(*) FILTER (WHERE e.outcome = 'success') AS successes,
               count(*) FILTER (WHERE e.outcome = 'environment_error') AS environment_errors,
               coalesce(sum(e.steps) FILTER (WHERE e.scored), 0)::bigint AS steps,
               min(e.finished_at) AS first, max(e.finished_at) AS last
        FROM mlops.episode_results e JOIN mlops.evaluation_tasks t ON t.id = e.task_id
        WHERE e.model_version_id = CAST(:model_version_id AS uuid) AND e.outcome IS NOT NULL
        GROUP BY t.benchmark, t.name, t.difficulty ORDER BY t.benchmark, t.name
        """
    ),
    Query.PERFORMANCE: sa.text(
        """
        SELECT count(*) AS rollups, min(hour) AS first, max(hour) AS last,
               coalesce(string_agg(step_latency_ms, ''), '') AS step_latency_ms,
               coalesce(string_agg(llm_latency_ms, ''), '') AS llm_latency_ms,
               coalesce(string_agg(tokens, ''), '') AS tokens,
               coalesce(sum(llm_calls), 0)::bigint AS llm_calls,
               coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
               coalesce(sum(output_tokens), 0)::bigint AS output_tokens
        FROM mlops.model_performance WHERE model = :model
        """
    ),
    Query.COST: sa.text(
        """
        SELECT count(*) AS days, min(starts_on)::timestamptz AS first,
               max(starts_on)::timestamptz AS last,
               coalesce(sum(llm_calls), 0)::bigint AS llm_calls,
               coalesce(sum(unpriced_calls), 0)::bigint AS unpriced_calls,
               coalesce(sum(simulated_calls), 0)::bigint AS simulated_calls,
               coalesce(sum(cost_nanos), 0) AS cost_nanos,
               coalesce(sum(successes), 0)::bigint AS successes
        FROM mlops.cost_tracking WHERE model = :model AND period = 'day'
        """
    ),
    # A metric's verdict and reason are the same in all its tests; one test has the effect that
    # decides, and that one has a minimum.
    Query.NEWEST_SWEEP: sa.text(
        """
        SELECT function, metric, min(verdict) AS verdict, min(reason) AS reason,
               min(p_adjusted) AS p_adjusted,
               min(effect_size) FILTER (WHERE minimum_effect IS NOT NULL) AS effect_size,
               min(effect_name) FILTER (WHERE minimum_effect IS NOT NULL) AS effect_name,
               min(n_baseline) AS n_baseline, min(n_current) AS n_current,
               min(baseline->>'start')::timestamptz AS first,
               -- A window may be asked for that ends in the hour to come; no data is of then.
               least(max(current->>'end')::timestamptz, max(created_at)) AS last
        FROM mlops.drift_detection
        WHERE model = :model AND (function, sweep_id) IN (
            SELECT function, sweep_id FROM mlops.drift_subjects WHERE model = :model)
        GROUP BY function, metric ORDER BY function, metric
        """
    ),
}
