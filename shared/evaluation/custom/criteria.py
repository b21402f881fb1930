"""When a custom task is solved: criteria that combine, as they stand in a definition.

Each criterion is a mapping. What it says must all hold, so that

    success_criteria: {url: {prefix: /cart}, element: {selector: "#total", has_text: "3"}}

asks for both; `all`, `any` and `not` combine further.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, PlainValidator, field_validator, model_validator

from shared.evaluation.agents.parameters import OPENAI_URL, LlmParameters
from shared.evaluation.custom import prompting
from shared.evaluation.custom.parts import Part, Pattern, Short, Words, placeholders

CRITERIA_AT_MOST: Final = 100
_ANSWERED: Final = ("answer", "judge")
KINDS: Final = ("url", "visited", "element", "javascript", "answer", "scorer", "judge")


def _short(key: str, *kinds: type) -> Any:
    """Lets a part be written as one value that stands for its `key`."""

    def expand(given: Any) -> Any:
        bare = isinstance(given, kinds) and not isinstance(given, bool)
        return {key: given} if bare else given

    return model_validator(mode="before")(expand)


class AddressMatch(Part):
    """An address; a plain text is `exact`. What begins with `/` is on the start's own origin."""

    exact: Short | None = None
    prefix: Short | None = None
    glob: Short | None = None
    "`*` stands for anything but `/`, `**` for anything."
    regex: Pattern | None = None
    "Found anywhere in the whole address."

    _expand = _short("exact", str)

    @field_validator("exact", "prefix", "glob")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        starts = ("/", "http://", "https://", "{{", "*")
        if value is not None and not value.startswith(starts):
            raise ValueError("must begin with http://, https://, or / for the start's own origin")
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self._exactly_one_of("exact", "prefix", "glob", "regex")


class TextMatch(Part):
    """A text, with its whitespace folded."""

    exact: Words | None = None
    contains: Short | None = None
    regex: Pattern | None = None
    ignore_case: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self._exactly_one_of("exact", "contains", "regex")


class HasText(TextMatch):
    """What an element shows; a plain text is `contains`."""

    _expand = _short("contains", str)


class HasValue(TextMatch):
    """What a field holds; a plain text is `exact`."""

    _expand = _short("exact", str)


class ElementMatch(Part):
    """An element of the page in front: one that matches all of it is enough."""

    selector: Short
    "CSS, looked for in the page itself, not in its frames or shadow roots."
    visible: Literal[True, False, "any"] = True
    "False: there must be no visible one that matches the rest. Any: hidden ones count as well."
    has_text: HasText | None = None
    has_value: HasValue | None = None
    count: int | None = Field(default=None, ge=0, le=100_000)
    "So many must match, and no more."

    _expand = _short("selector", str)

    @model_validator(mode="after")
    def _count_or_absence(self) -> Self:
        if self.count is not None and self.visible is False:
            raise ValueError("says both count and visible: false; count: 0 is the same")
        return self


class JavaScript(Part):
    """An expression that is true or false; a plain text is the `expression`."""

    expression: Words = Field(min_length=1)
    world: Literal["isolated", "page"] = "isolated"
    "Isolated: sees the document and storage, no variable of the page, which cannot fake it."

    _expand = _short("expression", str)


def _number(value: object) -> float | str:
    if isinstance(value, str) and placeholders(value) and value.strip().startswith("{{"):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number, or a value such as '{{price}}'")
    if not abs(value) < float("inf"):
        raise ValueError("must be finite")
    return float(value)


class AnswerMatch(Part):
    """What the agent must answer; a plain text is `exact`, a plain number is `number`."""

    exact: Words | None = None
    contains: Short | None = None
    regex: Pattern | None = None
    ignore_case: bool = False
    number: Annotated[float | str, PlainValidator(_number)] | None = None
    "The only number in the answer."
    tolerance: float = Field(default=0, ge=0, allow_inf_nan=False)
    "How far the number may be off."

    _expand_text = _short("exact", str)
    _expand_number = _short("number", int, float)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.tolerance and self.number is None:
            raise ValueError("has a tolerance and no number")
        return self._exactly_one_of("exact", "contains", "regex", "number")


class Scorer(Part):
    """A Python scorer by its entry point in the group `browser_mlops.scorers`."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\w][\w.\-]*$")]
    parameters: dict[str, JsonValue] = Field(default_factory=dict)

    _expand = _short("name", str)


class JudgeModel(Part):
    """The language model that judges, as an agent's endpoint is given."""

    model: Short
    base_url: Short = OPENAI_URL
    api_key_env: str | None = "OPENAI_API_KEY"
    provider: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    timeout_seconds: float = 60
    max_retries: int = 2
    max_concurrency: int | None = None
    requests_per_minute: int | None = None

    _expand = _short("model", str)

    @model_validator(mode="after")
    def _is_an_endpoint(self) -> Self:
        self.parameters()
        return self

    def parameters(self) -> LlmParameters:
        return LlmParameters.model_validate(self.model_dump())


class Judge(Part):
    """A language model that is asked whether the task was solved."""

    question: Words = Field(min_length=1, max_length=10_000)
    model: JudgeModel
    shows: tuple[Literal["answer", "url", "visited", "text"], ...] = Field(
        default=("answer", "url", "text"), min_length=1
    )
    max_page_characters: int = Field(default=20_000, ge=100, le=200_000)
    prompt_version: str = prompting.NEWEST
    prompt_sha256: str = ""
    "Filled in; what a definition says is checked, so that all workers ask the same."

    @model_validator(mode="before")
    @classmethod
    def _pin_the_prompt(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("prompt_sha256"):
            return given
        version = given.get("prompt_version", prompting.NEWEST)
        known = version in prompting.versions()
        return {**given, "prompt_sha256": prompting.digest(version)} if known else given

    @field_validator("prompt_version")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if value not in prompting.versions():
            raise ValueError(f"must be one of {', '.join(prompting.versions())}")
        return value


class Criterion(Part):
    """All that it says must hold. `final`: only looked at when the agent answers."""

    all: tuple[Criterion, ...] | None = Field(default=None, min_length=1)
    any: tuple[Criterion, ...] | None = Field(default=None, min_length=1)
    not_: Criterion | None = Field(default=None, alias="not")
    url: AddressMatch | None = None
    visited: AddressMatch | None = None
    element: ElementMatch | None = None
    javascript: JavaScript | None = None
    answer: AnswerMatch | None = None
    scorer: Scorer | None = None
    judge: Judge | None = None
    final: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self._given("all", "any", "not_", *KINDS):
            raise ValueError(f"says nothing: it takes all, any, not, {', '.join(KINDS)}")
        return self

    def parts(self) -> Iterator[tuple[tuple[str | int, ...], Criterion]]:
        """The criteria that this one is combined of, with the way to each."""
        for name in ("all", "any"):
            for number, part in enumerate(getattr(self, name) or ()):
                yield (name, number), part
        if self.not_ is not None:
            yield ("not",), self.not_

    def walk(
        self, where: tuple[str | int, ...] = ()
    ) -> Iterator[tuple[tuple[str | int, ...], Criterion]]:
        """This criterion and all that it is combined of, with the way to each."""
        yield where, self
        for step, part in self.parts():
            yield from part.walk((*where, *step))

    @property
    def needs_answer(self) -> bool:
        """Whether something of it can only be said once the agent has answered."""
        return any(one.final or one._given(*_ANSWERED) for _, one in self.walk())


def is_on_own_origin(address: str) -> bool:
    """Whether an address of a match is meant on the origin of the task's start."""
    return address.startswith("/") and not address.startswith("//")
