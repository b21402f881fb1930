"""An episode as telemetry: the same events that an agent in production would send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from shared.evaluation.protocol import EpisodeResult, LlmCall, Outcome, Step, Task
from shared.telemetry.events import (
    ActionEvent,
    Event,
    LlmCallEvent,
    PageLoadEvent,
    TaskEndEvent,
    TaskStartEvent,
)


@dataclass(frozen=True)
class Emitter:
    """Whose events they are. The attempt makes a retry's events other ones: both were paid for."""

    episode_id: UUID
    attempt: int
    model: str
    function: str
    variant: str
    unit_id: UUID | None = None
    "The digest of the unit that an A/B test has assigned."

    def common(self, kind: str, number: int, at: datetime) -> dict[str, Any]:
        """What every event has. The identifier is made of what it is, so a resend is absorbed."""
        return {
            "event_id": uuid5(self.episode_id, f"{self.attempt}/{kind}/{number}"),
            "occurred_at": at,
            "model": self.model,
            "function": self.function,
            "variant": self.variant,
            "unit_id": self.unit_id,
            "task_id": self.episode_id,
        }


def timed_calls(result: EpisodeResult, started_at: datetime) -> Iterator[tuple[LlmCall, datetime]]:
    """Each model call of an attempt with the time it began at: cost is reckoned at that time."""
    at = started_at + timedelta(milliseconds=result.page_load_ms or 0)
    for step, began in timed_steps(result, started_at):
        yield from _one_after_another(step.calls, began + timedelta(milliseconds=step.observe_ms))
        at = began + timedelta(milliseconds=_duration_ms(step))
    yield from _one_after_another(result.unfinished_calls, at)


def _one_after_another(
    calls: tuple[LlmCall, ...], at: datetime
) -> Iterator[tuple[LlmCall, datetime]]:
    for call in calls:
        at += timedelta(milliseconds=call.waited_ms)
        yield call, at
        at += timedelta(milliseconds=call.latency_ms)


def timed_steps(result: EpisodeResult, started_at: datetime) -> Iterator[tuple[Step, datetime]]:
    """Each step of an attempt with the time it began at."""
    at = started_at + timedelta(milliseconds=result.page_load_ms or 0)
    for step in result.steps:
        yield step, at
        at += timedelta(milliseconds=_duration_ms(step))


def episode_events(
    emitter: Emitter, task: Task, result: EpisodeResult, started_at: datetime
) -> list[Event]:
    """The events of one attempt: its start, page load, model calls, actions, and its end."""
    events: list[Event] = [TaskStartEvent(**emitter.common("task_start", 0, started_at))]
    if result.page_load_ms is not None:
        events.append(
            PageLoadEvent(
                **emitter.common("page_load", 0, started_at),
                url=result.url,
                latency_ms=result.page_load_ms,
            )
        )
    for number, (call, at) in enumerate(timed_calls(result, started_at)):
        events.append(
            LlmCallEvent(
                **emitter.common("llm_call", number, at),
                **call.model_dump(exclude={"waited_ms"}),
                attributes=_attributes(call),
            )
        )
    ended = started_at + timedelta(milliseconds=result.duration_ms)
    judged = (call for judgement in result.judgements for call in judgement.calls)
    for number, call in enumerate(judged):
        events.append(
            LlmCallEvent(
                **emitter.common("judge_call", number, ended)
                | {"model": judge_name(call), "variant": "", "unit_id": None},
                **call.model_dump(exclude={"waited_ms"}),
                attributes=_attributes(call),
            )
        )
    for step, at in timed_steps(result, started_at):
        if step.action is not None:
            events.append(
                ActionEvent(
                    **emitter.common("action", step.index, at),
                    action=step.action.kind,
                    success=step.error is None,
                    error_type=None if step.error is None else "action_failed",
                    error_message=step.error,
                    latency_ms=_duration_ms(step),
                    dom_nodes=step.dom_nodes,
                )
            )
    success = result.outcome is Outcome.SUCCESS
    # An agent that did not solve its task has failed in no way that has a category.
    broken = not success and result.outcome is not Outcome.FAILURE
    events.append(
        TaskEndEvent(
            **emitter.common("episode", 0, started_at + timedelta(milliseconds=result.duration_ms)),
            success=success if result.outcome.scored else None,
            outcome=result.outcome.value,
            error_type=None if success else result.outcome.value,
            error_message=result.reason if broken else None,
            latency_ms=result.duration_ms,
            confidence=_confidence(result, started_at),
            attributes={"task": f"{task.benchmark}/{task.name}"},
        )
    )
    return events


def _confidence(result: EpisodeResult, started_at: datetime) -> float | None:
    """The mean of what the agent's calls said; None if none of them did."""
    calls = (call for call, _ in timed_calls(result, started_at))
    said = [call.confidence for call in calls if call.confidence is not None]
    return sum(said) / len(said) if said else None


def _attributes(call: LlmCall) -> dict[str, Any]:
    """What a call has no column for, where there is something to say."""
    return {"waited_ms": call.waited_ms} if call.waited_ms else {}


def judge_name(call: LlmCall) -> str:
    """Under which a judge's calls are summed: what judging costs is no agent's cost."""
    return judge_of(call.llm_model)


def judge_of(llm_model: str | None) -> str:
    """The same, of the language model that judges."""
    return f"judge:{llm_model}"[:200]


def _duration_ms(step: Step) -> int:
    return step.observe_ms + step.think_ms + step.act_ms
