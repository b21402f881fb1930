"""JSON Schema of answers, by the `jsonschema` package, without what could reach out or hang.

A reference stays within its schema: nothing is fetched. Patterns run in the `regex` package with
a time limit: those of `re` can take for ever on an answer that a model was led to give. So can a
schema of few lines whose alternatives name each other, so all of it has a time limit as well.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, Final

import regex
from pydantic import JsonValue

PATTERN_SECONDS: Final = 0.2
SCHEMA_SECONDS: Final = 2.0
"For all of an answer."
MOST_READ: Final = 1_000_000
"Characters of an answer that are read as JSON."
_DEEPEST: Final = 50
_DEEPEST_ANSWER: Final = 100
"Deeper ones go through the decoder, and through nothing that they are handed on to."
_LONGEST_PROBLEM: Final = 300
_TOP: Final = "the schema"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_until: ContextVar[float] = ContextVar("_until", default=math.inf)
"Until when, by the monotonic clock, the schema at hand may be applied."


class UnusableAnswerError(ValueError):
    """An answer is not what the schema asks for; the message is one line without the answer."""


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raises ValueError, in one line, for what is no JSON Schema 2020-12 or not allowed in one."""
    from jsonschema.exceptions import SchemaError

    for where, key, value in _walked(schema):
        if key in ("$ref", "$dynamicRef") and not str(value).startswith("#"):
            raise ValueError(f"{where}: only references within the schema, such as '#/$defs/item'")
        if key == "$schema" and (where != _TOP or value != _DIALECT):
            raise ValueError(f"{where}: only $schema {_DIALECT}, and at the top")
        if key == "patternProperties":
            raise ValueError(f"{where}: patternProperties is not allowed; name the properties")
        if key == "pattern" and isinstance(value, str):
            try:
                regex.compile(value)
            except regex.error as error:
                raise ValueError(f"{where}: no regular expression: {error}") from None
    try:
        _validator_class().check_schema(schema)
    except SchemaError as error:
        at = ".".join(map(str, error.absolute_path))
        raise ValueError(f"{at + ': ' if at else ''}{error.message}"[:_LONGEST_PROBLEM]) from None


def check_depth(schema: object) -> None:
    """Raises ValueError for a schema that nests deeper than one that a person writes."""
    for _ in _walked(schema):
        pass


def read_answer(text: str, schema: Mapping[str, JsonValue]) -> JsonValue:
    """The JSON of an answer that fits `schema`. Raises `UnusableAnswerError`.

    A fence of Markdown around the JSON is taken off; what stands before or after it is not.
    """
    from jsonschema.exceptions import ValidationError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if len(text) > MOST_READ:
        raise UnusableAnswerError(f"it is longer than {MOST_READ:,} characters")
    try:
        answer: JsonValue = json.loads(
            _without_fence(text), parse_constant=_refused, parse_float=_finite
        )
    except (ValueError, RecursionError):
        raise UnusableAnswerError("it is not one JSON value and nothing else") from None
    if _depth_over(answer, _DEEPEST_ANSWER):
        raise UnusableAnswerError(f"it nests deeper than {_DEEPEST_ANSWER} levels")
    if not _storable(answer):
        raise UnusableAnswerError("it holds a character that cannot be stored")
    # A registry of its own: the package's fetches what a reference names.
    # A `$schema` in it would choose the package's own class, without the limits of this one.
    own = {key: value for key, value in schema.items() if key != "$schema"}
    validator = _validator_class()(own, registry=Registry())
    before = _until.set(time.monotonic() + SCHEMA_SECONDS)
    try:
        validator.validate(answer)
    except ValidationError as error:
        raise UnusableAnswerError(_problem(error)) from None
    except _TooLongError:
        raise UnusableAnswerError(
            f"the schema takes longer than {SCHEMA_SECONDS:g} s to apply to it"
        ) from None
    except (RecursionError, OverflowError, Unresolvable) as error:
        raise UnusableAnswerError(f"the schema cannot be applied: {type(error).__name__}") from None
    finally:
        _until.reset(before)
    return answer


class _TooLongError(Exception):
    pass


def _depth_over(answer: JsonValue, most: int) -> bool:
    """Whether it nests deeper than that. Not by recursion."""
    level: list[JsonValue] = [answer]
    for _ in range(most):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return any(isinstance(value, dict | list) for value in level)


def _storable(answer: JsonValue) -> bool:
    """Whether PostgreSQL takes it: neither NUL nor half of a surrogate pair."""
    text = json.dumps(answer, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    # Escaped by the dump; a backslash of the text itself is doubled.
    return r"\u0000" not in text.replace(r"\\", "")


def _problem(error: Any) -> str:
    """Where it does not fit and what is asked there: the answer's own words are not repeated."""
    at = ".".join(map(str, error.absolute_path)) or "the answer"
    wanted = json.dumps(error.validator_value, default=str)
    return f"{at}: does not fit {error.validator} {wanted}"[:_LONGEST_PROBLEM]


def _without_fence(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.partition("\n")[2][:-3]
    return stripped


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    # `1e999` is JSON, and no number that JSON could be written with again.
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is too large")
    return value


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
        if not isinstance(value, str):
            return
        try:
            found = regex.search(wanted, value, timeout=min(PATTERN_SECONDS, _left()))
        except TimeoutError:
            found = None
        if found is None:
            yield ValidationError("does not match")

    def unique(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
        # The package compares each with each.
        if wanted and isinstance(value, list) and len(set(map(_hashable, value))) < len(value):
            yield ValidationError("has an item twice")

    def in_time(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        @wraps(keyword)
        def applied(*given: Any) -> Iterator[Any]:
            _left()
            yield from keyword(*given) or ()

        return applied

    own = dict(Draft202012Validator.VALIDATORS) | {"pattern": pattern, "uniqueItems": unique}
    extend: Any = validators.extend
    return extend(Draft202012Validator, {name: in_time(one) for name, one in own.items()})


def _left() -> float:
    """Seconds that are left for the schema at hand. Raises `_TooLongError` where none is."""
    seconds = _until.get() - time.monotonic()
    if seconds <= 0:
        raise _TooLongError
    return seconds


def _hashable(value: Any) -> Hashable:
    """Equal for what JSON Schema calls equal: 1 is 1.0 and no `true` (2020-12, 4.2.2)."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", tuple(map(_hashable, value)))
    if isinstance(value, dict):
        return ("dict", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    return value  # type: ignore[no-any-return]


def _walked(schema: Any) -> Iterator[tuple[str, str, Any]]:
    """Every key of the mappings in it, with the way to its mapping. Not by recursion."""
    waiting: list[tuple[str, Any, int]] = [(_TOP, schema, 0)]
    while waiting:
        where, value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"a schema nests at most {_DEEPEST} levels deep")
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield where, key, inner
                waiting.append((f"{where}.{key}", inner, depth + 1))
        elif isinstance(value, list):
            waiting += [(f"{where}[{n}]", inner, depth + 1) for n, inner in enumerate(value)]
