"""From a model's answer to a validated action. Nothing in an answer is ever executed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.evaluation.agents.actions import SAID_WITH
from shared.evaluation.protocol import Action, Observation, Text

MOST_OBJECTS: Final = 50
"So many JSON objects of an answer are looked at."
MOST_READ: Final = 500_000
"So many characters of an answer are decoded in all, again and again where one does not end."
_COST_OF_A_FAILURE: Final = 500
"In characters: an error counts the lines before it."
_DEEPEST: Final = 100_000
"Charged for nesting that a decoder gives up on: it may have read a lot by then."

_DRAWN_ID: Final = re.compile(r"\[(\d{1,9})\]|element=\"(\d{1,9})\"")
_DECODER: Final = json.JSONDecoder()
_ACTION: Final[TypeAdapter[Action]] = TypeAdapter(Action)


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
    The time it takes is bounded, however long and odd the text.
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


def read_tool_call(
    name: str, arguments: str | dict[str, Any] | None, observation: Observation
) -> Answer:
    """The call of the function `name` as an answer for this page. Raises UnusableAnswerError."""
    fields = arguments if isinstance(arguments, dict) else _arguments(arguments or "{}")
    said = {key: fields[key] for key in SAID_WITH if key in fields}
    own = {key: value for key, value in fields.items() if key not in SAID_WITH}
    try:
        answer = Answer.model_validate({**said, "action": {**own, "kind": name}})
    except ValidationError as error:
        raise UnusableAnswerError(_first_problem(error)) from None
    _check_elements(answer.action, observation)
    return answer


def _arguments(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text) if len(text) <= MOST_READ else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UnusableAnswerError("the arguments are no JSON object")
    return fields


def _answer(candidate: dict[str, object]) -> Answer:
    if "action" not in candidate and "kind" in candidate:
        return Answer(action=_ACTION.validate_python(candidate))
    return Answer.model_validate(candidate)


def _objects(text: str) -> Iterator[dict[str, object]]:
    """The outermost JSON objects in the text, whatever stands around them, as far as is read."""
    text = text[:MOST_READ]
    found, left, start = 0, MOST_READ, text.find("{")
    while start != -1 and left > 0 and found < MOST_OBJECTS:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            # A string that does not end was looked for to the end of the text.
            stopped = len(text) if error.msg.startswith("Unterminated") else error.pos
            left -= max(stopped - start, _COST_OF_A_FAILURE)
            end = start + 1
        except RecursionError:
            left -= _DEEPEST
            end = start + 1
        except ValueError:  # a number of thousands of digits
            left -= len(text) - start
            end = start + 1
        else:
            left -= end - start
            found += 1
            yield value
        start = text.find("{", end)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the object"
    return f"{where}: {first['msg']}"


def _drawn(observation: Observation) -> set[int]:
    """Ids that the tree or the HTML shows: the list of elements may end earlier."""
    shown = (observation.tree or "") + (observation.dom or "")
    return {int(one or other) for one, other in _DRAWN_ID.findall(shown)}


def _check_elements(action: Action, observation: Observation) -> None:
    there = {element.id for element in observation.elements} | _drawn(observation)
    for name in ("element", "onto"):
        wanted = getattr(action, name, None)
        if wanted is not None and wanted not in there:
            raise UnusableAnswerError(f"{name} {wanted} is not in the list of elements")
