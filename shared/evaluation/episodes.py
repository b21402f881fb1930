"""One episode in the database: what it is to be, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from shared.content_store import Stored
from shared.evaluation.agents.replay import with_recording
from shared.evaluation.artifacts import record_stored
from shared.evaluation.emission import Emitter, episode_events, timed_calls
from shared.evaluation.protocol import EpisodeResult, LlmCall, Outcome, Task
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.claims import Claim
from shared.jobs.contracts import IngestEvents, Recording
from shared.jobs.execution import Cancelled, Ending, Failed, Succeeded, TryAgain
from shared.jobs.submission import enqueue
from shared.registry.models import key
from shared.registry.tables import ModelVersion
from shared.telemetry.units import unit_digest

EVENTS_PER_BATCH = 5_000

CallPrice = Callable[[LlmCall, datetime], int | None]
"Nano-dollars of a call made at a time, None when it cannot be known."


@dataclass(frozen=True)
class EpisodePlan:
    """Everything that is needed to run one episode."""

    id: UUID
    run_id: UUID
    task: Task
    definition: Mapping[str, Any] | None
    "Of a custom task."
    seed: int
    agent: str
    parameters: Mapping[str, Any]
    model: str
    function: str
    variant: str
    unit_id: UUID | None
    "The digest of the unit that an A/B test has assigned."
    recording: Recording
    budget_nanos: int | None
    "What the whole run may cost; None without a limit."
    cost_nanos: int
    "Of this episode's earlier attempts, with what their judges cost."


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
        run_id=run.id,
        task=Task.model_validate({name: getattr(task, name) for name in Task.model_fields}),
        definition=task.definition,
        seed=episode.seed,
        agent=version.agent,
        parameters=with_recording(session, version.agent, version.parameters),
        model=key(version),
        function=run.function,
        variant=episode.variant or "",
        unit_id=_unit(episode),
        recording=Recording(run.specification.get("recording", Recording.NONE)),
        budget_nanos=run.budget_nanos,
        cost_nanos=episode.cost_nanos
        + sum(judgement["cost_nanos"] for judgement in episode.judgements or ()),
    )


def _unit(episode: Episode) -> UUID | None:
    """None of one that takes no part in a test."""
    if episode.variant is None or episode.unit_id is None:
        return None
    return unit_digest(episode.unit_id)


def record(
    session: Session,
    episode: EpisodePlan,
    result: EpisodeResult,
    claim: Claim,
    *,
    started_at: datetime,
    price: CallPrice,
    stored: Sequence[Stored] = (),
) -> Ending:
    """Write the result and send its telemetry, all in the transaction that ends the job.

    `stored` are the files that were made of it.

    What an attempt spent is added up over the attempts: a retried episode has cost what all its
    tries cost. Its outcome is that of the last.
    """
    prices = [price(call, at) for call, at in timed_calls(result, started_at)]
    spent = _spent(result, prices)
    record_stored(session, stored)
    session.execute(
        sa.update(Episode)
        .where(Episode.id == episode.id)
        .values(
            outcome=result.outcome.value,
            reason=result.reason,
            raw_reward=result.raw_reward,
            violations=sa.null() if result.violations is None else result.violations,
            answer=result.answer,
            judgements=_judgements(result, claim, started_at, price),
            recording=result.recording,
            goal=result.goal,
            steps=len(result.steps),
            duration_ms=result.duration_ms,
            attempt=claim.attempt,
            worker=claim.worker,
            trace=_trace(result, prices),
            finished_at=started_at + timedelta(milliseconds=result.duration_ms),
            **{name: getattr(Episode, name) + value for name, value in spent._asdict().items()},
        )
    )
    if result.outcome is not Outcome.BUDGET_EXCEEDED or result.page_load_ms is not None:
        _send_events(session, episode, result, claim, started_at)
    return _ending(result, claim)


def not_begun(reason: str) -> EpisodeResult:
    """What becomes of an episode that a budget does not allow: `reason` says which."""
    return EpisodeResult(
        outcome=Outcome.BUDGET_EXCEEDED,
        reason=f"not begun: {reason}",
        raw_reward=None,
        goal="",
        page_load_ms=None,
        url="",
        steps=(),
        duration_ms=0,
    )


def _send_events(
    session: Session,
    episode: EpisodePlan,
    result: EpisodeResult,
    claim: Claim,
    started_at: datetime,
) -> None:
    emitter = Emitter(
        episode_id=episode.id,
        attempt=claim.attempt,
        model=episode.model,
        function=episode.function,
        variant=episode.variant,
        unit_id=episode.unit_id,
    )
    events = episode_events(emitter, episode.task, result, started_at)
    stored = [event.model_dump(mode="json") for event in events]
    for first in range(0, len(stored), EVENTS_PER_BATCH):
        enqueue(session, IngestEvents(events=tuple(stored[first : first + EVENTS_PER_BATCH])))


def calls_of(result: EpisodeResult) -> tuple[LlmCall, ...]:
    """All model calls of an attempt, in the order of `timed_calls`."""
    return (*(call for step in result.steps for call in step.calls), *result.unfinished_calls)


def _spent(result: EpisodeResult, prices: Sequence[int | None]) -> _Spent:
    calls = calls_of(result)
    return _Spent(
        actions=sum(step.action is not None for step in result.steps),
        llm_calls=len(calls),
        unpriced_calls=prices.count(None),
        uncounted_calls=sum(None in (call.input_tokens, call.output_tokens) for call in calls),
        input_tokens=sum(call.input_tokens or 0 for call in calls),
        output_tokens=sum(call.output_tokens or 0 for call in calls),
        cost_nanos=sum(nanos for nanos in prices if nanos is not None),
    )


def _trace(result: EpisodeResult, prices: Sequence[int | None]) -> list[dict[str, Any]]:
    """The steps as they are stored: of their model calls what they took, all together.

    A sum is null where one of the calls does not say; `models` is empty where there was none.
    """
    of_calls = iter(prices)
    trace = []
    for step in result.steps:
        calls = step.calls
        spent = {
            "models": sorted({call.llm_model for call in calls}),
            "calls": len(calls),
            "failed_calls": sum(call.error_type is not None for call in calls),
            "input_tokens": _sum_if_known([call.input_tokens for call in calls]),
            "output_tokens": _sum_if_known([call.output_tokens for call in calls]),
            "cost_nanos": _sum_if_known([next(of_calls) for _ in calls]),
        }
        trace.append(step.model_dump(mode="json", exclude={"calls"}) | {"spent": spent})
    return trace


def _sum_if_known(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _judgements(result: EpisodeResult, claim: Claim, started_at: datetime, price: CallPrice) -> Any:
    """Those of earlier attempts, which were paid for as well, and those of this one."""
    if not result.judgements:
        return Episode.judgements
    at = started_at + timedelta(milliseconds=result.duration_ms)
    said = []
    for judgement in result.judgements:
        prices = [price(call, at) for call in judgement.calls]
        said.append(
            {
                **judgement.model_dump(mode="json", exclude={"calls"}),
                "attempt": claim.attempt,
                "llm_calls": len(prices),
                "unpriced_calls": prices.count(None),
                "cost_nanos": sum(nanos for nanos in prices if nanos is not None),
            }
        )
    empty = sa.cast([], JSONB)
    return sa.func.coalesce(Episode.judgements, empty).op("||")(sa.cast(said, JSONB))


def _ending(result: EpisodeResult, claim: Claim) -> Ending:
    summary: dict[str, Any] = {"outcome": result.outcome.value, "reason": result.reason}
    match result.outcome:
        case Outcome.CANCELLED:
            return Cancelled(summary)
        case Outcome.ENVIRONMENT_ERROR if not claim.last_attempt and not result.permanent:
            return TryAgain(result.reason)
        case Outcome.ENVIRONMENT_ERROR:
            return Failed(result.reason, summary)
        case Outcome.BUDGET_EXCEEDED:
            # Another attempt would not have more to spend: only a resumed run has.
            return Failed(result.reason, summary)
        case Outcome.AGENT_ERROR:
            # It is scored: tried again it would be two episodes in the sums, and one in the run.
            return Failed(result.reason, {**summary, "final": True})
        case _:
            return Succeeded(summary)
