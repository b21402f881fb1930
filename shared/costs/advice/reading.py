"""What advice is drawn from, out of PostgreSQL.

Sums and histograms are rollups. What rollups do not hold (which endpoint was asked, which calls
were made again) is one look at the newest calls, of which there is a limit; episodes are another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.advice.observed import CallGroup, RecentCalls, TaskCost, Traffic, Trial, Trials
from shared.telemetry.metrics import Metric
from shared.telemetry.reading import Window, by_model_and_function, sums
from shared.tenancy.tables import Tenant

CALLS_LOOKED_AT: Final = 200_000
"The newest ones: about a second to read."
EPISODES_LOOKED_AT: Final = 200_000
EVIDENCE: Final = timedelta(days=90)
"How far back benchmark runs count as evidence, or as far as the window if that is longer."


@dataclass(frozen=True)
class EndedEpisode:
    """One that has ended; `split` says that an A/B test chose its model."""

    model: str
    task: str
    "With its benchmark and, for a task that is defined anew, its definition: a task's identity."
    function: str
    seed: int
    split: bool
    scored: bool
    success: bool
    nanos: int
    calls: int
    unpriced_calls: int
    finished_at: datetime


def read_traffic(session: Session, window: Window) -> tuple[Traffic, ...]:
    """What each model did within each function, from rollups."""
    metrics = (Metric.QUERY_LENGTH, Metric.TOKENS)
    found = by_model_and_function(session, window, metrics)
    return tuple(
        Traffic(model, function, counted, *(histograms[metric] for metric in metrics))
        for (model, function), (counted, histograms) in sorted(found.items(), key=lambda it: it[0])
    )


# An attempt is whatever number the sender says; a text is none.
_CALLS: Final = sa.text(
    """
    WITH recent AS (
        SELECT occurred_at, model, function, provider, llm_model, input_tokens,
               cached_input_tokens AS cached, cost_nanos, price_simulated,
               error_type, error_type IS NOT NULL AS failed,
               input_tokens IS NOT NULL AND cached_input_tokens IS NOT NULL AS counted,
               CASE jsonb_typeof(attributes->'attempt')
                   WHEN 'number' THEN CAST(attributes->>'attempt' AS numeric) > 1 ELSE false END
                   AND error_type IS NULL AS repeated
        FROM mlops.events
        WHERE kind = 'llm_call' AND occurred_at >= :start AND occurred_at < :end
        ORDER BY occurred_at DESC LIMIT :at_most
    )
    SELECT model, function, provider, llm_model, count(*) AS calls,
           count(*) FILTER (WHERE price_simulated) AS simulated,
           count(*) FILTER (WHERE counted) AS counted,
           coalesce(sum(input_tokens) FILTER (WHERE counted), 0)::bigint AS input_tokens,
           coalesce(sum(cached) FILTER (WHERE counted), 0)::bigint AS cached_tokens,
           count(*) FILTER (WHERE input_tokens IS NOT NULL AND cached IS NULL) AS silent,
           count(*) FILTER (WHERE failed) AS failed,
           coalesce(sum(cost_nanos) FILTER (WHERE failed), 0)::bigint AS failed_nanos,
           count(*) FILTER (WHERE failed AND cost_nanos IS NULL) AS failed_unpriced,
           count(*) FILTER (WHERE repeated) AS repeated,
           coalesce(sum(cost_nanos) FILTER (WHERE repeated), 0)::bigint AS repeated_nanos,
           count(*) FILTER (WHERE repeated AND cost_nanos IS NULL) AS repeated_unpriced,
           mode() WITHIN GROUP (ORDER BY error_type) AS commonest_error,
           min(occurred_at) AS oldest
    FROM recent GROUP BY model, function, provider, llm_model
    ORDER BY model, function, provider, llm_model
    """
)


def recent_calls(
    session: Session, window: Window, now: datetime, at_most: int = CALLS_LOOKED_AT
) -> RecentCalls:
    """The newest `at_most` calls of the window that are still stored, in groups."""
    # Hours before it are closed, and their events removed; their rollups stay.
    kept_from = session.execute(sa.select(Tenant.events_from)).scalar_one()
    start = window.start if kept_from is None else max(window.start, kept_from)
    rows = session.execute(
        _CALLS, {"start": start, "end": window.end, "at_most": at_most}
    ).mappings()
    groups, oldest = [], []
    for row in rows:
        values = dict(row)
        oldest.append(values.pop("oldest"))
        groups.append(CallGroup(**values))
    if sum(group.calls for group in groups) >= at_most:
        # A moment at least, so that there is time to relate them to.
        since = min(min(oldest), window.end - timedelta(seconds=1))
        return RecentCalls(tuple(groups), since, _passed(window, now, since), complete=False)
    if start > window.start:
        return RecentCalls(tuple(groups), start, _passed(window, now, start), complete=False)
    return RecentCalls(tuple(groups), window.start, window.end, complete=True)


def _passed(window: Window, now: datetime, since: datetime) -> datetime:
    """The end of the window, or `now` where that is earlier."""
    return max(min(window.end, now), since + timedelta(seconds=1))


_EPISODES: Final = sa.text(
    """
    SELECT m.name || '@' || v.version AS model,
           t.benchmark || '/' || t.name || CASE t.digest WHEN '' THEN '' ELSE '#' || t.digest END
               AS task,
           r.function, e.seed, r.specification->>'ab' IS NOT NULL AS split, e.scored,
           e.outcome = 'success' AS success, e.cost_nanos AS nanos, e.llm_calls AS calls,
           e.unpriced_calls, e.finished_at
    FROM mlops.episode_results e
    JOIN mlops.benchmark_runs r ON r.id = e.run_id
    JOIN mlops.evaluation_tasks t ON t.id = e.task_id
    JOIN mlops.model_versions v ON v.id = e.model_version_id
    JOIN mlops.models m ON m.id = v.model_id
    WHERE e.outcome IS NOT NULL AND e.finished_at >= :since AND e.finished_at < :end
    ORDER BY e.finished_at DESC, e.id LIMIT :at_most
    """
)


def episodes(session: Session, window: Window) -> tuple[EndedEpisode, ...]:
    """The ended episodes of the window and of the `EVIDENCE` before its end, the newest first."""
    rows = session.execute(
        _EPISODES,
        {"since": _evidence_from(window), "end": window.end, "at_most": EPISODES_LOOKED_AT},
    )
    return tuple(EndedEpisode(**row._mapping) for row in rows)


def trials(ended: Iterable[EndedEpisode]) -> dict[str, Trials]:
    """Of each model, task and seed the newest scored episode, by model.

    Episodes whose model an A/B test chose are left out: no other model was to try the same.
    """
    found: dict[str, dict[tuple[str, int], Trial]] = {}
    for one in ended:
        if one.scored and not one.split:
            trial = Trial(one.success, one.nanos, one.calls, one.unpriced_calls)
            found.setdefault(one.model, {}).setdefault((one.task, one.seed), trial)
    return dict(found)


def task_costs(ended: Iterable[EndedEpisode], window: Window) -> tuple[TaskCost, ...]:
    """What each model spent in the window on each benchmark task, scored or not."""
    groups: dict[tuple[str, str, str], list[EndedEpisode]] = {}
    for one in ended:
        if one.finished_at >= window.start:
            groups.setdefault((one.task, one.model, one.function), []).append(one)
    return tuple(TaskCost(*key, *_summed(groups[key])) for key in sorted(groups))


def _summed(some: Sequence[EndedEpisode]) -> tuple[int, int, int, int, int]:
    return (
        sum(one.scored for one in some),
        sum(one.scored and one.success for one in some),
        sum(one.nanos for one in some),
        sum(one.calls for one in some),
        sum(one.unpriced_calls for one in some),
    )


def benchmark_functions(ended: Iterable[EndedEpisode]) -> frozenset[str]:
    """The functions under which benchmark runs have recorded what they did."""
    return frozenset(one.function for one in ended)


def simulated_models(session: Session, window: Window) -> frozenset[str]:
    """The models that had a call at a simulated price where the evidence comes from."""
    found = sums(session, Window(_evidence_from(window), window.end))
    return frozenset(model for model, summed in found.items() if summed.simulated_calls)


def _evidence_from(window: Window) -> datetime:
    return min(window.start, window.end - EVIDENCE)
