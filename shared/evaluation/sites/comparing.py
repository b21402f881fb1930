"""What differs between the state that was asked for and the state that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.evaluation.sites.answers import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

INCIDENTAL: Final = {"incidental": True}
"Metadata of a field that is no change: what was read, what is being filled in."


class Wording(str):
    """Text of which only certain phrases are asked for, in any case and spacing."""

    __slots__ = ("phrases",)
    phrases: tuple[str, ...]

    def __new__(cls, *phrases: str) -> Wording:
        made = super().__new__(cls, " ... ".join(phrases))
        made.phrases = phrases
        return made

    def matches(self, text: str) -> bool:
        said = f" {folded(text)} "
        return all(f" {folded(phrase)} " in said for phrase in self.phrases)


def differences(expected: Any, actual: Any, at: str = "") -> Iterator[str]:
    """One line for each difference of two states made of dataclasses, mappings and sequences."""
    # Most of two states is alike, and is told so many times as quickly as by going through it.
    if expected is actual or expected == actual:
        return
    if is_dataclass(expected) and type(expected) is type(actual):
        for field in fields(expected):
            if not field.metadata.get("incidental"):
                inner = f"{at}.{field.name}" if at else field.name
                yield from differences(
                    getattr(expected, field.name), getattr(actual, field.name), inner
                )
    elif isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            if key not in actual:
                yield f"{at}[{key}] is missing"
            elif key not in expected:
                yield f"{at}[{key}] should not be there"
            else:
                yield from differences(expected[key], actual[key], f"{at}[{key}]")
    elif isinstance(expected, Wording) and isinstance(actual, str):
        if not expected.matches(actual):
            yield f"{at} does not say {', '.join(map(repr, expected.phrases))}"
    elif _is_list(expected) and _is_list(actual):
        if len(expected) != len(actual):
            yield f"{at} has {len(actual)} entries instead of {len(expected)}"
        for index, (wanted, found) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(wanted, found, f"{at}[{index}]")
    elif expected != actual:
        yield f"{at} is {actual!r} instead of {expected!r}"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
