"""Who takes part in a test: conditions on attributes, compiled once to functions.

An attribute that is not there, or of another type than the condition is about, does not fulfil it:
not even "is not".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MOST_CONDITIONS: Final = 50
MOST_VALUES: Final = 1_000
LONGEST_TEXT: Final = 1_000
_VERSION_PARTS: Final = 6
_VERSION_DIGITS: Final = 9

Attributes = Mapping[str, Any]
Check = Callable[[Attributes], bool]

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    LESS = "less"
    AT_MOST = "at_most"
    GREATER = "greater"
    AT_LEAST = "at_least"
    EXISTS = "exists"
    MISSING = "missing"
    VERSION_AT_LEAST = "version_at_least"
    "Of versions such as 1.10 or 120.0.6099.109: numbers, compared one by one."
    VERSION_LESS = "version_less"


_LISTS: Final = (Operator.IN, Operator.NOT_IN)
_PRESENCE: Final = (Operator.EXISTS, Operator.MISSING)
_VERSIONS: Final = (Operator.VERSION_AT_LEAST, Operator.VERSION_LESS)
_ORDERS: Final = (Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST)


class Condition(BaseModel):
    """One condition on one attribute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: Text
    operator: Operator
    value: Any = None
    "Text, a number or a truth value; for `in` and `not_in` a list of values of one type."

    @field_validator("value")
    @classmethod
    def _plain(cls, value: object) -> object:
        listed = isinstance(value, list | tuple)
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if len(values) > MOST_VALUES or not all(one is None or _is_scalar(one) for one in values):
            raise ValueError(
                f"must be text of at most {LONGEST_TEXT} characters without NUL, a finite number,"
                f" true or false, or a list of at most {MOST_VALUES} of these"
            )
        return values if listed else value

    @model_validator(mode="after")
    def _value_of_the_operator(self) -> Self:
        wanted = _wanted(self.operator)
        if not _fits(self.operator, self.value):
            raise ValueError(f"operator {self.operator} takes {wanted}")
        return self


def compiled(conditions: Sequence[Condition]) -> Check | None:
    """Whether all conditions hold, as one function that raises for no attribute; None for none."""
    checks = tuple(_check(condition) for condition in conditions)
    if len(checks) < 2:
        return checks[0] if checks else None

    def all_hold(attributes: Attributes) -> bool:
        for check in checks:  # noqa: SIM110 (half the time of all() over a generator)
            if not check(attributes):
                return False
        return True

    return all_hold


def version_of(text: object) -> tuple[int, ...] | None:
    """`1.10.0` as (1, 10), so that it is the same version as 1.10; None for what is none."""
    if type(text) is not str:
        return None
    parts = text.split(".", _VERSION_PARTS)
    if len(parts) > _VERSION_PARTS:
        return None
    if not all(p.isascii() and p.isdigit() and len(p) <= _VERSION_DIGITS for p in parts):
        return None
    numbers = [int(part) for part in parts]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _is_scalar(value: object) -> bool:
    if type(value) is str:
        return len(value) <= LONGEST_TEXT and "\x00" not in value and is_utf_8(value)
    return type(value) in (bool, int) or (type(value) is float and math.isfinite(value))


def is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wanted(operator: Operator) -> str:
    if operator in _LISTS:
        return "a list of values of one type, at least one"
    if operator in _PRESENCE:
        return "no value"
    if operator in _VERSIONS:
        return "a version such as 1.10.2"
    return "a number" if operator in _ORDERS else "one value"


def _fits(operator: Operator, value: object) -> bool:
    if operator in _LISTS:
        return isinstance(value, tuple) and len({_kind(one) for one in value}) == 1
    if operator in _PRESENCE:
        return value is None
    if operator in _VERSIONS:
        return version_of(value) is not None
    if operator in _ORDERS:
        return _kind(value) is float
    return value is not None and not isinstance(value, tuple)


def _kind(value: object) -> type | None:
    """What may be compared with each other: text, truth values, or numbers (`float` for all)."""
    return _KINDS.get(type(value))


_KINDS: Final[Mapping[type, type]] = {str: str, bool: bool, int: float, float: float}


def _check(condition: Condition) -> Check:
    name, wanted = condition.attribute, condition.value
    match condition.operator:
        case Operator.EXISTS:
            return lambda attributes: attributes.get(name) is not None
        case Operator.MISSING:
            return lambda attributes: attributes.get(name) is None
        case Operator.IS if type(wanted) is str:
            return _text(name, wanted)
        case Operator.IS | Operator.IS_NOT | Operator.IN | Operator.NOT_IN:
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            return _membership(name, values, condition.operator in (Operator.IS, Operator.IN))
        case Operator.VERSION_AT_LEAST | Operator.VERSION_LESS:
            return _version(name, wanted, condition.operator is Operator.VERSION_AT_LEAST)
        case order:
            return _order(name, wanted, order)


def _text(name: str, wanted: str) -> Check:
    def holds(attributes: Attributes) -> bool:
        value = attributes.get(name)
        # An array is compared element by element, and so is neither equal nor unequal.
        return isinstance(value, str) and value == wanted

    return holds


def _membership(name: str, values: Sequence[object], inside: bool) -> Check:
    wanted = frozenset(values)
    kind = _kind(values[0])
    kinds = frozenset(one for one, of in _KINDS.items() if of is kind)

    def holds(attributes: Attributes) -> bool:
        value = attributes.get(name)
        return type(value) in kinds and (value in wanted) is inside

    return holds


def _version(name: str, wanted: object, at_least: bool) -> Check:
    least = version_of(wanted) or ()

    def holds(attributes: Attributes) -> bool:
        version = version_of(attributes.get(name))
        return version is not None and (version >= least) is at_least

    return holds


def _order(name: str, bound: Any, operator: Operator) -> Check:
    numbers = (int, float)

    def number(attributes: Attributes) -> Any:
        value = attributes.get(name)
        # Not a number is neither less nor greater than anything.
        return value if type(value) in numbers else float("nan")

    match operator:
        case Operator.LESS:
            return lambda attributes: bool(number(attributes) < bound)
        case Operator.AT_MOST:
            return lambda attributes: bool(number(attributes) <= bound)
        case Operator.GREATER:
            return lambda attributes: bool(number(attributes) > bound)
        case _:
            return lambda attributes: bool(number(attributes) >= bound)
