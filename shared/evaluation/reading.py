"""What a run came to, agent by agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.intervals import Interval, wilson
from shared.telemetry.histograms import Histogram


@dataclass(frozen=True)
class Progress:
    """Of the episodes of a run: all, and those that have ended in whatever way."""

    total: int
    ended: int

    @property
    def done(self) -> bool:
        return self.total > 0 and self.ended == self.total


@dataclass(frozen=True)
class AgentSummary:
    """One agent's episodes over some runs.

    `scored` leaves out what is not the agent's doing: environment errors and cancelled episodes.
    Rates and means are None where there is nothing to take them of. `cost_nanos` is the sum of
    the priced calls; `unpriced_calls` are not in it. The tokens are those that endpoints reported;
    `uncounted_calls` reported none, or not all.
    """

    model: str
    agent: str
    episodes: int
    scored: int
    successes: int
    interval: Interval | None
    environment_errors: int
    mean_steps: float | None
    input_tokens: int
    output_tokens: int
    llm_calls: int
    unpriced_calls: int
    uncounted_calls: int
    cost_nanos: int
    step_latency: Histogram
    "Milliseconds from the observation to the end of the action."

    @property
    def success_rate(self) -> float | None:
        return self.successes / self.scored if self.scored else None


def progress(session: Session, run_ids: Sequence[UUID]) -> Progress:
    row = session.execute(
        sa.text(
            "SELECT count(*), count(outcome) FROM mlops.episode_results WHERE run_id = ANY(:runs)"
        ),
        {"runs": list(run_ids)},
    ).one()
    return Progress(row[0], row[1])


_SUMMARY = sa.text(
    """
    SELECT m.name || '@' || v.version AS model, v.agent,
           count(*) AS episodes,
           count(*) FILTER (WHERE e.scored) AS scored,
           count(*) FILTER (WHERE e.outcome = 'success') AS successes,
           count(*) FILTER (WHERE e.outcome = 'environment_error') AS environment_errors,
           avg(e.steps) FILTER (WHERE e.scored)::float8 AS mean_steps,
           sum(e.input_tokens)::bigint AS input_tokens,
           sum(e.output_tokens)::bigint AS output_tokens,
           sum(e.llm_calls)::bigint AS llm_calls,
           sum(e.unpriced_calls)::bigint AS unpriced_calls,
           sum(e.uncounted_calls)::bigint AS uncounted_calls,
           sum(e.cost_nanos)::bigint AS cost_nanos
    FROM mlops.episode_results e
    JOIN mlops.model_versions v ON v.id = e.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
    WHERE e.run_id = ANY(:runs) AND e.outcome IS NOT NULL
    GROUP BY 1, 2 ORDER BY 1
    """
)

_STEPS = sa.text(
    """
    SELECT m.name || '@' || v.version AS model,
           array_agg((s->>'observe_ms')::bigint + (s->>'think_ms')::bigint
                     + (s->>'act_ms')::bigint) AS milliseconds
    FROM mlops.episodes e
    JOIN mlops.model_versions v ON v.id = e.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
    CROSS JOIN LATERAL jsonb_array_elements(e.trace) AS s
    WHERE e.run_id = ANY(:runs) AND s->'action' <> 'null'
    GROUP BY 1
    """
)


def summarize(session: Session, run_ids: Sequence[UUID]) -> list[AgentSummary]:
    """One summary per agent over the ended episodes of these runs."""
    runs = {"runs": list(run_ids)}
    latencies = {model: Histogram.from_values(ms) for model, ms in session.execute(_STEPS, runs)}
    return [
        AgentSummary(
            **row._mapping,
            interval=wilson(row.successes, row.scored),
            step_latency=latencies.get(row.model, Histogram.empty()),
        )
        for row in session.execute(_SUMMARY, runs)
    ]
