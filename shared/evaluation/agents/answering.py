"""From a model's answer to a validated action. Nothing in an answer is ever executed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.evaluation.protocol import Action, Observation, Text

_DECODER = json.JSONDecoder()
_ACTION: TypeAdapter[Action] = TypeAdapter(Action)


class UnusableAnswerError(ValueError):
    """The answer is no action on this page; the message tells the model what is wrong."""


class Answer(BaseModel):
    """What a model is asked for. `confidence` is its own estimate, None if it gave none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Action
    reasoning: Text = Field(default="", max_length=20_000)
    confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


def read_answer(text: str, observation: Observation) -> Answer:
    """The first JSON object in `text` that is an answer, or a bare action, for this page.

    Raises UnusableAnswerError when there is none, or when it names an element that is not there.
    """
    problem = "it holds no JSON object"
    for candidate in _objects(text):
        try:
            answer = _answer(candidate)
        except ValidationError as error:
            problem = _first_problem(error)
            continue
        _check_elements(answer.action, observation)
        return answer
    raise UnusableAnswerError(problem)


def _answer(candidate: dict[str, object]) -> Answer:
    if "action" not in candidate and "kind" in candidate:
        return Answer(action=_ACTION.validate_python(candidate))
    return Answer.model_validate(candidate)


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Every outermost JSON object in the text, whatever stands around it."""
    start = text.find("{")
    while start != -1:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):  # no JSON, or a number of thousands of digits
            end = start + 1
        else:
            if isinstance(value, dict):
                yield value
        start = text.find("{", end)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the object"
    return f"{where}: {first['msg']}"


def _check_elements(action: Action, observation: Observation) -> None:
    there = {element.id for element in observation.elements}
    for name in ("element", "onto"):
        wanted = getattr(action, name, None)
        if wanted is not None and wanted not in there:
            raise UnusableAnswerError(f"{name} {wanted} is not in the list of elements")
