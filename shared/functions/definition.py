"""What an LLM function is: a name, variants that each ask a model, and what a good answer is."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.evaluation.agents.parameters import EndpointParameters
from shared.functions.prompt import TemplateError, placeholders
from shared.jobs.contracts import AbSplit, one_line, storable_definition
from shared.telemetry.events import is_name

NAME: Final = r"^[a-z0-9](?:[a-z0-9_.-]{0,98}[a-z0-9])?$"
"In addresses, keys and telemetry alike."
LONGEST_NAME: Final = 100
MOST_VARIANTS: Final = 100
LONGEST_TEMPLATE: Final = 100_000
LONGEST_ANSWER: Final = 1_000_000
"Characters that a rule may allow."
SCHEMA_BYTES: Final = 100_000


class FunctionError(ValueError):
    """A function is not there, not fit, or cannot be asked like this; the message is one line."""


class UnknownFunctionError(FunctionError):
    """There is no function, or no version of it, of that name."""


Name = Annotated[str, Field(pattern=NAME)]


def _is_a_template(text: str) -> str:
    try:
        placeholders(text)
    except TemplateError as error:
        raise ValueError(str(error)) from None
    return text


Template = Annotated[
    str, Field(min_length=1, max_length=LONGEST_TEMPLATE), AfterValidator(_is_a_template)
]
"`$query` and `${customer}` stand for the query and for keys of the context; `$$` is a dollar."

Phrase = Annotated[str, Field(min_length=1, max_length=1_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _named(model: str) -> str:
    if not is_name(model):
        raise ValueError("must be a name without control characters")
    return model


class FunctionVariant(EndpointParameters):
    """One way to answer: a model at an endpoint, the prompt, and the parameters."""

    name: Name
    prompt: Template = "$query"
    "Template of the user's message."
    system: Template | None = None
    "Template of the system's message; none when left out."
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    structured_output: bool = False
    "Sends the response schema as `response_format`, which not every endpoint knows."

    @field_validator("model")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return _named(value)


class FunctionJudge(EndpointParameters):
    """The language model that gives each answer a score, and what it is asked."""

    question: str = Field(min_length=1, max_length=10_000)
    "About the answer; the judge is shown it and the query."

    @field_validator("model")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return _named(value)


class QualityRules(_Part):
    """What a good answer is, besides that it is not empty and fits the response schema."""

    min_characters: int = Field(default=1, ge=1, le=LONGEST_ANSWER)
    max_characters: int | None = Field(default=None, ge=1, le=LONGEST_ANSWER)
    must_contain: tuple[Phrase, ...] = Field(default=(), max_length=100)
    "Without regard to case."
    must_not_contain: tuple[Phrase, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_characters is not None and self.max_characters < self.min_characters:
            raise ValueError("max_characters must be at least min_characters")
        return self


def _is_shallow(schema: object) -> object:
    from shared.functions.schemas import check_depth

    check_depth(schema)
    return schema


def _is_a_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    from shared.functions.schemas import check_schema

    if len(json.dumps(schema)) > SCHEMA_BYTES:
        raise ValueError(f"a schema has at most {SCHEMA_BYTES} bytes")
    check_schema(schema)
    return schema


Schema = Annotated[dict[str, JsonValue], BeforeValidator(_is_shallow), AfterValidator(_is_a_schema)]


class FunctionDefinition(_Part):
    """A version of a function. It is never changed: a change is the next version."""

    name: Name
    description: str = Field(default="", max_length=2_000)
    variants: tuple[FunctionVariant, ...] = Field(min_length=1, max_length=MOST_VARIANTS)
    "Without a test all units get the first."
    test: AbSplit | None = None
    "The A/B test that decides; its variants must be some of these, by name."
    fallback: str | None = None
    "The variant that is asked once where the assigned one gives no answer that can be used."
    deadline_seconds: float = Field(default=60, gt=0, le=600)
    "For all of an answer, with every try and the fallback."
    response_schema: Schema | None = None
    "JSON Schema 2020-12 of the answer; a number `confidence` of 0 to 1 in it is recorded."
    quality: QualityRules = QualityRules()
    judge: FunctionJudge | None = None
    "Its score counts as one more rule."

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [variant.name for variant in self.variants]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two variants are named {twice!r}; names must be distinct")
        if self.fallback is not None and self.fallback not in names:
            raise ValueError(f"fallback {self.fallback[:100]!r} is no variant; there is: {names}")
        return self

    @model_validator(mode="after")
    def _can_be_stored(self) -> Self:
        storable_definition(self.model_dump(mode="json"))
        return self

    @model_validator(mode="after")
    def _schema_is_there(self) -> Self:
        for variant in self.variants:
            if variant.structured_output and self.response_schema is None:
                raise ValueError(
                    f"variant {variant.name!r} has structured_output, which needs a response_schema"
                )
        return self

    def variant(self, name: str) -> FunctionVariant:
        """Raises `FunctionError` where there is none of that name."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise FunctionError(f"function {self.name!r} has no variant {name[:100]!r}")

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says: two of the same digest answer alike."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def parse(document: Any) -> FunctionDefinition:
    """A definition from its JSON. Raises `FunctionError` with the first mistake and its place."""
    if not isinstance(document, dict):
        raise FunctionError("a function is a mapping with `name` and `variants`")
    try:
        return FunctionDefinition.model_validate(document)
    except ValidationError as error:
        raise FunctionError(one_line(error)) from None
