"""One episode in the database: what it is to be, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.emission import Emitter, episode_events, timed_calls
from shared.evaluation.protocol import EpisodeResult, LlmCall, Outcome, Task
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.claims import Claim
from shared.jobs.contracts import IngestEvents
from shared.jobs.execution import Cancelled, Ending, Failed, Succeeded, TryAgain
from shared.jobs.submission import enqueue
from shared.registry.models import key
from shared.registry.tables import ModelVersion

EVENTS_PER_BATCH = 5_000

CallPrice = Callable[[LlmCall, datetime], int | None]
"Nano-dollars of a call made at a time, None when it cannot be known."


@dataclass(frozen=True)
class EpisodePlan:
    """Everything that is needed to run one episode."""

    id: UUID
    task: Task
    seed: int
    agent: str
    parameters: Mapping[str, Any]
    model: str
    function: str
    variant: str


class _Spent(NamedTuple):
    actions: int
    llm_calls: int
    unpriced_calls: int
    uncounted_calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int


def load(session: Session, episode_id: UUID) -> EpisodePlan:
    """Raises `LookupError` when this tenant has no such episode."""
    row = session.execute(
        sa.select(Episode, EvaluationTask, ModelVersion, BenchmarkRun)
        .join(EvaluationTask, EvaluationTask.id == Episode.task_id)
        .join(ModelVersion, ModelVersion.id == Episode.model_version_id)
        .join(BenchmarkRun, BenchmarkRun.id == Episode.run_id)
        .where(Episode.id == episode_id)
    ).one_or_none()
    if row is None:
        raise LookupError(f"no episode {episode_id}")
    episode, task, version, run = row
    return EpisodePlan(
        id=episode.id,
        task=Task.model_validate({name: getattr(task, name) for name in Task.model_fields}),
        seed=episode.seed,
        agent=version.agent,
        parameters=version.parameters,
        model=key(version),
        function=run.function,
        variant=episode.variant or "",
    )


def record(
    session: Session,
    episode: EpisodePlan,
    result: EpisodeResult,
    claim: Claim,
    *,
    started_at: datetime,
    price: CallPrice,
) -> Ending:
    """Write the result and send its telemetry, all in the transaction that ends the job.

    What an attempt spent is added up over the attempts: a retried episode has cost what all its
    tries cost. Its outcome is that of the last.
    """
    spent = _spent(result, started_at, price)
    session.execute(
        sa.update(Episode)
        .where(Episode.id == episode.id)
        .values(
            outcome=result.outcome.value,
            reason=result.reason,
            raw_reward=result.raw_reward,
            violations=result.violations,
            answer=result.answer,
            goal=result.goal,
            steps=len(result.steps),
            duration_ms=result.duration_ms,
            attempt=claim.attempt,
            worker=claim.worker,
            trace=[step.model_dump(mode="json", exclude={"calls"}) for step in result.steps],
            finished_at=started_at + timedelta(milliseconds=result.duration_ms),
            **{name: getattr(Episode, name) + value for name, value in spent._asdict().items()},
        )
    )
    emitter = Emitter(
        episode_id=episode.id,
        attempt=claim.attempt,
        model=episode.model,
        function=episode.function,
        variant=episode.variant,
    )
    events = episode_events(emitter, episode.task, result, started_at)
    stored = [event.model_dump(mode="json") for event in events]
    for first in range(0, len(stored), EVENTS_PER_BATCH):
        enqueue(session, IngestEvents(events=tuple(stored[first : first + EVENTS_PER_BATCH])))
    return _ending(result, claim)


def _spent(result: EpisodeResult, started_at: datetime, price: CallPrice) -> _Spent:
    timed = list(timed_calls(result, started_at))
    calls = [call for call, _ in timed]
    prices = [price(call, at) for call, at in timed]
    return _Spent(
        actions=sum(step.action is not None for step in result.steps),
        llm_calls=len(calls),
        unpriced_calls=prices.count(None),
        uncounted_calls=sum(None in (call.input_tokens, call.output_tokens) for call in calls),
        input_tokens=sum(call.input_tokens or 0 for call in calls),
        output_tokens=sum(call.output_tokens or 0 for call in calls),
        cost_nanos=sum(nanos for nanos in prices if nanos is not None),
    )


def _ending(result: EpisodeResult, claim: Claim) -> Ending:
    summary: dict[str, Any] = {"outcome": result.outcome.value, "reason": result.reason}
    match result.outcome:
        case Outcome.CANCELLED:
            return Cancelled(summary)
        case Outcome.ENVIRONMENT_ERROR if not claim.last_attempt:
            return TryAgain(result.reason)
        case Outcome.ENVIRONMENT_ERROR:
            return Failed(result.reason, summary)
        case Outcome.AGENT_ERROR:
            # It is scored: tried again it would be two episodes in the sums, and one in the run.
            return Failed(result.reason, {**summary, "final": True})
        case _:
            return Succeeded(summary)
