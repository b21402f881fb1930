"""What came of a request, told to its caller and as the telemetry that every agent sends.

A request is a task: it has a start, model calls and an end. Its `variant` is the one that the unit
was assigned, also where the fallback answered: that stands in the attribute `answered_by` of the
calls and in the task's outcome. Of the query only measures are stored, of the answer nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import uuid5

from pydantic import JsonValue
from sqlalchemy.orm import Session

from shared.costs.pricing import call_cost
from shared.evaluation.emission import judge_of
from shared.evaluation.protocol import LlmCall
from shared.functions.asking import Answered, Prepared, Try, timed
from shared.functions.assigning import UnitFrom
from shared.functions.definition import FunctionError
from shared.functions.failing import Cause, cause_of
from shared.money import known_nanos
from shared.telemetry.events import (
    Event,
    LlmCallEvent,
    QueryMeasures,
    TaskEndEvent,
    TaskStartEvent,
)
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.texts import measure_text
from shared.telemetry.units import unit_digest

ANSWERED: Final = "answered"
FALLBACK: Final = "fallback"
POOR: Final = "poor_answer"
"There is an answer that breaks a rule."
NO_ANSWER: Final = "no_answer"


class NoAnswerError(FunctionError):
    """Neither the variant nor the fallback has answered; the message is one line."""

    def __init__(
        self,
        message: str,
        invocation: Invocation,
        *,
        permanent: bool,
        cause: Cause,
        retry_after: float | None,
    ) -> None:
        super().__init__(message)
        self.invocation = invocation
        self.permanent = permanent
        "Whether trying again will not help."
        self.cause = cause
        self.retry_after = retry_after
        "Seconds that the last endpoint asks to wait; None where it does not say."


@dataclass(frozen=True)
class Invocation:
    """One request of a function and what came of it. What is not known is None, never 0."""

    id: str
    function: str
    "`name@version`."
    unit: str
    unit_from: UnitFrom
    variant: str
    "The one that the unit was assigned, also where the fallback answered."
    assigned_by: str
    answered_by: str | None
    "None where nobody did."
    outcome: str
    text: str | None
    data: JsonValue
    "The answer as JSON, where the function has a schema and the answer fits it."
    confidence: float | None
    quality: float | None
    "The share of the function's rules that the answer keeps; not known where a judge is missing."
    judge_score: float | None
    "0 to 1; None without a judge, and where it gave none."
    judge_reason: str | None
    "The judge's, or why it gave no score."
    problems: tuple[str, ...]
    "Of the answer; of each try that gave none its error."
    latency_ms: int
    "From the request to the end, tries and pauses included."
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_nanos: int | None
    "Of the calls that have a price; None where none has one."
    simulated: bool
    "Whether a price of it is a simulated one."
    unpriced_calls: int
    cost_reason: str | None
    "Why the first of them has none."

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def record(
    session: Session, prepared: Prepared, answered: Answered, *, attempt: int = 1
) -> Invocation:
    """Store the telemetry of a request in the session's transaction, and say what came of it.

    The same request and attempt again stores nothing twice.
    """
    made = _Events(prepared, answered, attempt)
    events = made.all
    costs = {
        event.event_id: call_cost(prepared.prices, event)
        for event in events
        if isinstance(event, LlmCallEvent)
    }
    store(session, events, lambda event: costs[event.event_id], datetime.now(UTC))
    return _invocation(prepared, answered, made.outcome, list(costs.values()))


def answer_of(invocation: Invocation, answered: Answered) -> Invocation:
    """The invocation. Raises `NoAnswerError` where there is no answer."""
    if invocation.text is not None:
        return invocation
    raise NoAnswerError(
        f"function {invocation.function} gave no answer: {'; then '.join(invocation.problems)}",
        invocation,
        permanent=all(one.permanent for one in answered.tries),
        cause=cause_of(answered),
        retry_after=answered.tries[-1].retry_after,
    )


def _invocation(
    prepared: Prepared, answered: Answered, outcome: str, costs: list[CallCost]
) -> Invocation:
    chosen, judged = answered.chosen, answered.judged
    calls = [call for one in (*answered.tries, judged) if one is not None for call in one.calls]
    unpriced = [cost for cost in costs if cost.nanos is None]
    assessed = chosen.assessed
    return Invocation(
        id=str(prepared.id),
        function=prepared.function.key,
        unit=prepared.unit.id,
        unit_from=prepared.unit.origin,
        variant=prepared.assigned.variant,
        assigned_by=prepared.assigned.why,
        answered_by=None if chosen.text is None else chosen.variant.name,
        outcome=outcome,
        text=chosen.text,
        data=None if assessed is None else assessed.data,
        confidence=None if assessed is None else assessed.confidence,
        quality=_quality(chosen, prepared, answered),
        judge_score=None if judged is None else judged.score,
        judge_reason=None if judged is None else judged.reason,
        problems=_problems(answered),
        latency_ms=round(answered.seconds * 1000),
        calls=len(calls),
        input_tokens=_sum(call.input_tokens for call in calls),
        output_tokens=_sum(call.output_tokens for call in calls),
        cost_nanos=known_nanos(sum(cost.nanos or 0 for cost in costs), len(costs), len(unpriced)),
        simulated=any(cost.simulated for cost in costs),
        unpriced_calls=len(unpriced),
        cost_reason=unpriced[0].reason if unpriced else None,
    )


def _quality(one: Try, prepared: Prepared, answered: Answered) -> float | None:
    """Of a try's answer; None without one, and where it lacks the score of its judge."""
    if one.assessed is None:
        return None
    if prepared.function.definition.judge is None:
        return one.assessed.quality()
    if not (one.text or "").strip():
        # No judge need be asked what nothing is worth.
        return one.assessed.quality(0.0)
    score = None if answered.judged is None else answered.judged.score
    return None if score is None or one is not answered.chosen else one.assessed.quality(score)


def _problems(answered: Answered) -> tuple[str, ...]:
    """Of the answer that was chosen, after the errors of what was tried before it."""
    chosen = answered.chosen
    errors = [f"{one.variant.name}: {one.error}" for one in answered.tries if one.error]
    if chosen.assessed is not None:
        errors += [f"{chosen.variant.name}: {said}" for said in chosen.assessed.problems]
    return tuple(errors)


def _sum(counts: Any) -> int | None:
    """Of those that are known; None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class _Events:
    """The events of one attempt at a request."""

    def __init__(self, prepared: Prepared, answered: Answered, attempt: int) -> None:
        self._prepared = prepared
        self._answered = answered
        self._attempt = attempt

    @cached_property
    def outcome(self) -> str:
        chosen = self._answered.chosen
        if chosen.text is None or chosen.assessed is None:
            return NO_ANSWER
        if not chosen.assessed.good:
            return POOR
        own = chosen.variant.name == self._prepared.assigned.variant
        return ANSWERED if own else FALLBACK

    @cached_property
    def all(self) -> list[Event]:
        answered, chosen = self._answered, self._answered.chosen
        assigned = answered.tries[0].variant
        assessed = chosen.assessed
        ended = answered.began + timedelta(seconds=answered.seconds)
        good = self.outcome in (ANSWERED, FALLBACK)
        return [
            TaskStartEvent(**self._common("task_start", 0, answered.began, assigned.model)),
            *self._calls(),
            TaskEndEvent(
                **self._common("task_end", 0, ended, assigned.model),
                success=good,
                outcome=self.outcome,
                error_type=None if good else self.outcome,
                latency_ms=round(answered.seconds * 1000),
                confidence=None if assessed is None else assessed.confidence,
                attributes=self._attributes(None if chosen.text is None else chosen),
            ),
        ]

    def _calls(self) -> list[LlmCallEvent]:
        query = self._prepared.query
        measured = measure_text(query)
        measures = QueryMeasures(
            characters=measured.measured,
            words=measured.words,
            word_characters=measured.word_characters,
            letters=measured.letters,
            hashes=list(measured.hashes),
        )
        numbered = [
            (one, call, at, call is one.calls[-1])
            for one in self._answered.tries
            for call, at in timed(one.calls, one.began)
        ]
        judged = self._answered.judged
        asked = [] if judged is None else list(timed(judged.calls, judged.began))
        return [
            LlmCallEvent(
                **self._common("llm_call", number, at, one.variant.model),
                **_reported(call),
                query_length=len(query),
                query_measures=measures,
                quality=_quality(one, self._prepared, self._answered) if last else None,
                attributes=self._attributes(one),
            )
            for number, (one, call, at, last) in enumerate(numbered)
        ] + [
            # What judging costs is no variant's cost.
            LlmCallEvent(
                **self._common("judge_call", number, at, self._judge_model())
                | {"variant": "", "unit_id": None},
                **_reported(call),
            )
            for number, (call, at) in enumerate(asked)
        ]

    def _common(self, kind: str, number: int, at: datetime, model: str) -> dict[str, Any]:
        """What every event has. The identifier is made of what it is, so a resend is absorbed."""
        prepared = self._prepared
        return {
            "event_id": uuid5(prepared.id, f"{self._attempt}/{kind}/{number}"),
            "occurred_at": at,
            "model": model,
            "function": prepared.function.definition.name,
            "variant": prepared.assigned.variant,
            "unit_id": unit_digest(prepared.unit.id) if prepared.assigned.by_test else None,
            "task_id": prepared.id,
        }

    def _judge_model(self) -> str:
        judge = self._prepared.function.definition.judge
        return judge_of(None if judge is None else judge.model)

    def _attributes(self, answering: Try | None) -> dict[str, Any]:
        prepared = self._prepared
        return {
            "function_version": prepared.function.version,
            "answered_by": None if answering is None else answering.variant.name,
            "unit_from": prepared.unit.origin.value,
        }


def _reported(call: LlmCall) -> dict[str, Any]:
    return call.model_dump(exclude={"waited_ms", "query_length"})
