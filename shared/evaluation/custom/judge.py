"""The judge: a language model that is asked whether a task was solved.

What the page and the agent say is hostile: each piece stands between lines with a key that is
made from the piece itself, so that nothing in it can end it, and the prompt says that it is no
instruction. What the judge says counts only if it is one JSON object and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.evaluation.benchmark import JudgingError
from shared.evaluation.custom import prompting
from shared.evaluation.protocol import EndpointError, Judgement, LlmCall, storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.evaluation.custom.criteria import Judge

REPAIRS: Final = 1
_LONGEST_ANSWER: Final = 20_000
_ATTEMPT_PAUSES: Final = 15.0


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(max_length=_LONGEST_ANSWER)
    verdict: Literal["success", "failure"]


class NoVerdictError(ValueError):
    """The judge's answer is no verdict; the message tells it what is wrong."""


def seconds(judge: Judge) -> float:
    """The longest that a judge may take, with all tries, pauses and the one repair."""
    return (
        (1 + REPAIRS)
        * (1 + judge.model.max_retries)
        * (judge.model.timeout_seconds + _ATTEMPT_PAUSES)
    )


def read_verdict(text: str) -> _Verdict:
    """The verdict in an answer that is one JSON object and nothing else.

    Raises `NoVerdictError` for anything else: a verdict that has to be looked for could be one
    that the page has put there.
    """
    if len(text) > _LONGEST_ANSWER:
        raise NoVerdictError("it is too long")
    try:
        said = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise NoVerdictError("it is not one JSON object and nothing else") from None
    try:
        return _Verdict.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "it"
        raise NoVerdictError(f"{where}: {first['msg']}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def question(judge: Judge, goal: str, asked: str, evidence: Mapping[str, str]) -> str:
    """What the judge is asked. `evidence` is what was seen, by name; it is not trusted."""
    pieces = "\n\n".join(between_keys(name, text) for name, text in evidence.items())
    return storable(
        prompting.template("judge-question", judge.prompt_version)
        .substitute(goal=goal, question=asked, evidence=pieces or "(none)")
        .strip()
    )


def between_keys(name: str, text: str) -> str:
    """A piece of data that nothing inside of it can end."""
    key = hashlib.sha256(f"{name}\n{text}".encode("utf-8", "replace")).hexdigest()[:24]
    return f"<<<{name} {key}\n{text}\n{key}>>>"


class Judging:
    """Asks one judge once. `calls` holds all model calls made, the failed ones too."""

    def __init__(self, judge: Judge) -> None:
        # The endpoint's modules take long to import; most tasks have no judge.
        from shared.evaluation.agents.endpoint import Endpoint

        self._judge = judge
        self._endpoint = Endpoint(judge.model.parameters())
        self._said: _Verdict | None = None

    @property
    def calls(self) -> tuple[LlmCall, ...]:
        return tuple(self._endpoint.calls)

    def judgement(self) -> Judgement:
        """What came of it so far."""
        said = self._said
        return Judgement(
            model=self._judge.model.model,
            prompt_version=self._judge.prompt_version,
            prompt_sha256=self._judge.prompt_sha256,
            success=None if said is None else said.verdict == "success",
            reason="" if said is None else said.reason[:2_000],
            calls=self.calls,
        )

    async def ask(self, goal: str, asked: str, evidence: Mapping[str, str]) -> Judgement:
        """Raises `JudgingError` when there is no verdict, for whatever reason."""
        judge = self._judge
        if judge.prompt_sha256 != prompting.digest(judge.prompt_version):
            raise JudgingError(
                f"this worker's judge prompt {judge.prompt_version} is not the one that the"
                " task was defined with"
            )
        system = prompting.template("judge-system", judge.prompt_version).template.strip()
        messages: list[dict[str, str]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": question(judge, goal, asked, evidence)},
        ]
        problem = ""
        try:
            for _ in range(1 + REPAIRS):
                text = (await self._endpoint.ask(list(messages))).text
                try:
                    self._said = read_verdict(text)
                except NoVerdictError as error:
                    problem = str(error)
                    self._mark_unusable()
                    repair = prompting.template("judge-repair", judge.prompt_version)
                    messages += [
                        {"role": "assistant", "content": text[:_LONGEST_ANSWER]},
                        {"role": "user", "content": repair.substitute(problem=problem).strip()},
                    ]
                    continue
                return self.judgement()
        except EndpointError as error:
            said = f"the judge could not be asked: {error}"
            raise JudgingError(said, permanent=error.permanent) from None
        finally:
            await self._endpoint.close()
        raise JudgingError(
            f"the judge {judge.model.model!r} gave no verdict in {1 + REPAIRS} answers; the last"
            f" one: {problem}"
        )

    def _mark_unusable(self) -> None:
        calls = self._endpoint.calls
        calls[-1] = calls[-1].model_copy(update={"error_type": "invalid_answer"})
