"""What the parts of a definition have in common: their base, their texts, their templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

import regex
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

_TEMPLATE: Final = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")

MATCH_SECONDS: Final = 1.0
"Longest that one regular expression may look at one text: some never come to an end."


class Part(BaseModel):
    """Base of all parts: unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    def _given(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    def _exactly_one_of(self, *names: str) -> Self:
        given = self._given(*names)
        if len(given) != 1:
            found = "none of them is there" if not given else f"there are {' and '.join(given)}"
            raise ValueError(f"needs exactly one of {', '.join(names)}, and {found}")
        return self


def mistakes_of(title: str, found: list[tuple[tuple[str | int, ...], str]]) -> ValidationError:
    """One error that says all of `found` (where, what): pydantic takes it apart again."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("definition", "{said}", {"said": said}),
                loc=where,
                input=None,
            )
            for where, said in found
        ],
        hide_input=True,
    )


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which cannot be stored")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which cannot be stored") from None
    return text


def _compiled(pattern: str) -> str:
    # With every value it stays the same expression: values are put in as plain text.
    try:
        regex.compile(_TEMPLATE.sub("x", pattern))
    except regex.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"is no regular expression: {error.msg}{place}") from None
    except (OverflowError, RecursionError):
        raise ValueError("is no regular expression that could be used: it is too large") from None
    return pattern


def _scalar(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a text or a number")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise ValueError("must be finite")
    return _storable(str(value))


Storable = Annotated[str, AfterValidator(_storable)]
Words = Annotated[Storable, StringConstraints(max_length=100_000)]
Short = Annotated[Words, StringConstraints(min_length=1, max_length=2_000)]
Pattern = Annotated[Short, AfterValidator(_compiled)]
Scalar = Annotated[str, PlainValidator(_scalar)]
"Given as text or number, kept as text."


def placeholders(text: str) -> list[str]:
    """The names that a text asks for, as `{{name}}`, in order."""
    return _TEMPLATE.findall(text)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{{name}}` replaced; a name without a value stays as it is."""
    return _TEMPLATE.sub(lambda found: values.get(found[1], found[0]), text)


def fill_pattern(pattern: str, values: Mapping[str, str]) -> str:
    """The same for a regular expression, where a value stands for itself."""
    return fill(pattern, {name: re.escape(value) for name, value in values.items()})


def fill_json(value: Any, values: Mapping[str, str]) -> Any:
    """The same for every text in a JSON value; keys stay."""
    match value:
        case str():
            return fill(value, values)
        case list() | tuple():
            return [fill_json(one, values) for one in value]
        case dict():
            return {key: fill_json(one, values) for key, one in value.items()}
    return value


def texts_in(value: Any, where: tuple[str | int, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """Every text in a JSON value with the way to it."""
    match value:
        case str():
            return [(where, value)]
        case list() | tuple():
            return [hit for n, one in enumerate(value) for hit in texts_in(one, (*where, n))]
        case dict():
            return [hit for key, one in value.items() for hit in texts_in(one, (*where, key))]
    return []
