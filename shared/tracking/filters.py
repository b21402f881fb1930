"""Filters of runs as people write them: `metrics.success_rate > 0.8 and tags.team = 'web'`.

A pure module: text to a tree of frozen values. What it becomes in SQL is in `searching`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from shared.tracking.errors import FilterError

LONGEST: Final = 10_000
"Characters of a filter."
MOST_CONDITIONS: Final = 100
ATTRIBUTES: Final = (
    "name",
    "id",
    "experiment",
    "parent",
    "status",
    "success",
    "started_at",
    "ended_at",
    "duration",
)
GROUPS: Final = ("metrics", "params", "tags")

Value = str | float | bool


@dataclass(frozen=True)
class Field:
    """What is compared: of a group one `name` of it, else `group` is "" and `name` an attribute."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}.{self.name}" if self.group else self.name


@dataclass(frozen=True)
class Comparison:
    """`operator` is one of = != < <= > >= like ilike in; of `in` there are several values."""

    field: Field
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class IsThere:
    """Whether the run has the field at all; `no` turns it round."""

    field: Field
    no: bool


@dataclass(frozen=True)
class Not:
    part: Condition


@dataclass(frozen=True)
class AllOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class OneOf:
    parts: tuple[Condition, ...]


Condition = Comparison | IsThere | Not | AllOf | OneOf

_GRAMMAR: Final = r"""
start: either
?either: both ("or"i both)*
?both: single ("and"i single)*
?single: "not"i single -> negated
    | "(" either ")"
    | comparison
?comparison: field OPERATOR value -> compared
    | field "in"i "(" value ("," value)* ")" -> one_of
    | field "not"i "in"i "(" value ("," value)* ")" -> none_of
    | field "is"i "null"i -> missing
    | field "is"i "not"i "null"i -> present
field: PATH | GROUP "." QUOTED
value: NUMBER | TEXT | TRUE | FALSE

TRUE.3: /true\b/i
FALSE.3: /false\b/i
OPERATOR: "!=" | "<=" | ">=" | "==" | "=" | "<" | ">" | /ilike\b/i | /like\b/i
GROUP.2: /(metrics|params|tags)(?=\.["`])/
PATH: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_\/:@\-][A-Za-z0-9_\/:@.\-]*)?/
QUOTED: /`[^`]+`/ | /"[^"]+"/
NUMBER: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/ | /[+-]?inf(inity)?\b/i | /nan\b/i
TEXT: /'([^']|'')*'/
%ignore /\s+/
"""


_SPELT: Final = {"==": "="}


class _Tree(Transformer[Token, Any]):
    """Lark's tree as ours."""

    def start(self, parts: list[Any]) -> Any:
        return parts[0]

    def either(self, parts: list[Any]) -> Any:
        return OneOf(tuple(parts))

    def both(self, parts: list[Any]) -> Any:
        return AllOf(tuple(parts))

    def negated(self, parts: list[Any]) -> Any:
        return Not(parts[0])

    def compared(self, parts: list[Any]) -> Any:
        field, operator, value = parts
        return Comparison(field, _SPELT.get(operator, str(operator).lower()), (value,))

    def one_of(self, parts: list[Any]) -> Any:
        return Comparison(parts[0], "in", tuple(parts[1:]))

    def none_of(self, parts: list[Any]) -> Any:
        return Not(self.one_of(parts))

    def missing(self, parts: list[Any]) -> Any:
        return IsThere(parts[0], no=True)

    def present(self, parts: list[Any]) -> Any:
        return IsThere(parts[0], no=False)

    def field(self, parts: list[Token]) -> Field:
        if len(parts) == 2:
            return Field(str(parts[0]), str(parts[1][1:-1]))
        group, dot, name = parts[0].partition(".")
        return Field(str(group), str(name)) if dot else Field("", str(group))

    def value(self, parts: list[Token]) -> Value:
        (token,) = parts
        if token.type == "TEXT":
            return token[1:-1].replace("''", "'")
        if token.type == "NUMBER":
            return float(token)
        return token.type == "TRUE"


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)


def parse_filter(text: str) -> Condition:
    """The condition in `text`. Raises `FilterError`: where it cannot be read, and what may stand
    there; which field there is not."""
    if len(text) > LONGEST:
        raise FilterError(f"the filter has {len(text)} characters; at most {LONGEST}")
    if "\x00" in text:
        raise FilterError("the filter holds a NUL character")
    try:
        condition: Condition = _Tree().transform(_parser().parse(text))
    except (UnexpectedEOF, UnexpectedToken, UnexpectedCharacters) as error:
        raise FilterError(_told(text, error)) from None
    except RecursionError:
        raise FilterError("the filter is nested too deeply") from None
    comparisons = _leaves(condition)
    if len(comparisons) > MOST_CONDITIONS:
        raise FilterError(f"{len(comparisons)} conditions; at most {MOST_CONDITIONS}")
    for one in comparisons:
        _require_known(one.field)
    return condition


def parse_order(text: str) -> tuple[Field, bool]:
    """`metrics.success_rate desc`: the field, and whether the highest come first."""
    words = text.split()
    direction = words[1].lower() if len(words) == 2 else "asc"
    if not 1 <= len(words) <= 2 or direction not in ("asc", "desc"):
        raise FilterError(f"order {text[:100]!r}: expected a field, and asc or desc after it")
    group, dot, name = words[0].partition(".")
    field = Field(group, name) if dot else Field("", group)
    _require_known(field)
    return field, direction == "desc"


def _leaves(condition: Condition) -> Sequence[Comparison | IsThere]:
    match condition:
        case Comparison() | IsThere():
            return [condition]
        case Not(part):
            return _leaves(part)
        case AllOf(parts) | OneOf(parts):
            return [leaf for part in parts for leaf in _leaves(part)]


def _require_known(field: Field) -> None:
    if field.group and field.group not in GROUPS:
        known, said = [f"{group}." for group in GROUPS], f"{field.group}."
    elif not field.group and field.name not in ATTRIBUTES:
        known, said = [*ATTRIBUTES, *(f"{group}.NAME" for group in GROUPS)], field.name
    else:
        return
    alike = difflib.get_close_matches(said, known, n=1, cutoff=0.75)
    if alike:
        meant = f"did you mean {alike[0]}?"
    elif not field.group:
        meant = f"did you mean {' or '.join(f'{group}.{said}' for group in GROUPS)}?"
    else:
        meant = f"expected one of {', '.join(known)}"
    raise FilterError(f"there is no field {str(field)[:60]!r}: {meant}")


_NAMED: Final = {
    "OPERATOR": "an operator (= != < <= > >= like ilike in)",
    "PATH": "a field like metrics.success_rate",
    "GROUP": "a field like metrics.success_rate",
    "TEXT": "text in 'single quotes'",
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "$END": "the end",
}


def _told(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedCharacters):
        place, wanted = error.pos_in_stream or 0, set(error.allowed or ())
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        place, wanted = error.token.start_pos or 0, set(error.accepts or error.expected or ())
    else:
        place, wanted = len(text), set(getattr(error, "accepts", None) or error.expected or ())  # type: ignore[attr-defined]
    said = dict.fromkeys(_NAMED.get(name, name.strip("_").lower()) for name in sorted(wanted))
    where = f"at {text[place : place + 20]!r}" if text[place:].strip() else "at its end"
    return (
        f"the filter cannot be read {where} (character {place + 1}): expected {' or '.join(said)}"
    )
