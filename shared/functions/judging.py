"""The judge of an answer: a language model that gives it a score.

Query and answer are hostile to it, as a page is to the judge of a task (see
`shared.evaluation.custom.judge`): each stands between lines with a key of its own, and what the
judge says counts only if it is one JSON object and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.evaluation.agents.endpoint import Endpoint
from shared.evaluation.custom.judge import between_keys
from shared.evaluation.protocol import EndpointError, LlmCall, storable
from shared.functions.definition import FunctionJudge
from shared.functions.schemas import UnusableAnswerError

PROMPT_VERSION: Final = "v1"
LOWEST: Final = 1
HIGHEST: Final = 5
_LONGEST_VERDICT: Final = 20_000
_LONGEST_REASON: Final = 1_000


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(max_length=_LONGEST_VERDICT)
    score: int = Field(ge=LOWEST, le=HIGHEST)


@dataclass(frozen=True)
class Judged:
    """What a judge says of one answer."""

    began: datetime
    calls: tuple[LlmCall, ...]
    score: float | None
    "0 to 1; None where it gave none."
    reason: str
    "The judge's, or why there is no score."


def read_score(text: str) -> tuple[float, str]:
    """The score, 0 to 1, and the reason. Raises `UnusableAnswerError` for anything else: a score
    that has to be looked for could be one that the answer has put there."""
    if len(text) > _LONGEST_VERDICT:
        raise UnusableAnswerError("it is too long")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableAnswerError("it is not one JSON object and nothing else") from None
    try:
        said = _Verdict.model_validate(found)
    except ValidationError:
        raise UnusableAnswerError(
            f"it is no reason with a score of {LOWEST} to {HIGHEST}"
        ) from None
    return (said.score - LOWEST) / (HIGHEST - LOWEST), said.reason[:_LONGEST_REASON]


def messages(judge: FunctionJudge, query: str, answer: str) -> list[dict[str, str]]:
    """What the judge is asked."""
    pieces = "\n\n".join(
        between_keys(name, text) for name, text in (("query", query), ("answer", answer))
    )
    asked = f"The question:\n{judge.question}\n\n{pieces}\n\nAnswer with the JSON object alone."
    return [
        {"role": "system", "content": _system()},
        {"role": "user", "content": storable(asked)},
    ]


async def judge_answer(judge: FunctionJudge, endpoint: Endpoint, query: str, answer: str) -> Judged:
    """Ask for a score, within the time that one call of the judge has. Closes the endpoint."""
    began = datetime.now(UTC)
    endpoint.begin_within(judge.timeout_seconds)
    score, reason = None, ""
    try:
        reply = await endpoint.ask(list(messages(judge, query, answer)))
        score, reason = read_score(storable(reply.text))
    except EndpointError as error:
        reason = f"the judge could not be asked: {error}"
    except UnusableAnswerError as error:
        reason = f"the judge gave no score: {error}"
        marked = endpoint.calls[-1].model_copy(update={"error_type": "invalid_answer"})
        endpoint.calls[-1] = marked
    finally:
        await endpoint.close()
    return Judged(began, tuple(endpoint.calls), score, reason)


@cache
def _system() -> str:
    source = resources.files(__package__).joinpath("prompts", f"judge-system.{PROMPT_VERSION}.txt")
    return source.read_text(encoding="utf-8").strip()
