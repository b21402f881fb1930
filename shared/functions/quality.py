"""How good an answer is, by rules: the share of them that it keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from shared.functions.definition import FunctionDefinition
from shared.functions.schemas import UnusableAnswerError, read_answer


@dataclass(frozen=True)
class Assessed:
    """What the rules say of one answer."""

    rules: int
    "How many the function has: two at least, that it is long enough and not cut off."
    problems: tuple[str, ...]
    "One line for each rule that it breaks."
    data: JsonValue = None
    "The answer as JSON, where the function has a schema and the answer fits it."
    confidence: float | None = None
    "What the answer says of itself; None where it says nothing that is one."
    fits: bool = True
    "Whether it is there at all, and is what the schema asks for."

    def quality(self, score: float | None = None) -> float:
        """The share of the rules that it keeps, 0 to 1; a judge's `score` counts as one more."""
        kept = self.rules - len(self.problems)
        return kept / self.rules if score is None else (kept + score) / (self.rules + 1)

    @property
    def good(self) -> bool:
        return not self.problems


def assess(definition: FunctionDefinition, text: str, *, cut_off: bool = False) -> Assessed:
    """Judge an answer by the function's rules, and that it is not cut off at its longest."""
    rules = definition.quality
    stripped, folded = text.strip(), text.casefold()
    problems: list[str] = []
    count = 2
    if cut_off:
        problems.append("it is cut off at its longest")
    if len(stripped) < rules.min_characters:
        short = f"{len(stripped)} characters; expected at least {rules.min_characters}"
        problems.append(short if stripped else "it is empty")
    if rules.max_characters is not None:
        count += 1
        if len(stripped) > rules.max_characters:
            problems.append(f"{len(stripped)} characters; expected at most {rules.max_characters}")
    for phrase in rules.must_contain:
        count += 1
        if phrase.casefold() not in folded:
            problems.append(f"it lacks {phrase[:100]!r}")
    for phrase in rules.must_not_contain:
        count += 1
        if phrase.casefold() in folded:
            problems.append(f"it holds {phrase[:100]!r}")
    data: JsonValue = None
    fits = bool(stripped)
    if definition.response_schema is not None:
        count += 1
        try:
            data = read_answer(text, definition.response_schema)
        except UnusableAnswerError as error:
            problems.append(f"schema: {error}")
            fits = False
    return Assessed(
        rules=count,
        problems=tuple(problems),
        data=data,
        confidence=_confidence(data),
        fits=fits,
    )


def _confidence(data: JsonValue) -> float | None:
    said = data.get("confidence") if isinstance(data, Mapping) else None
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    return float(said) if 0 <= said <= 1 else None
