"""Seeded draws that are the same on every machine and with every version of Python."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

# Without what is easily mistaken for something else.
_CODE_SIGNS: Final = "ABCDEFGHJKMNPQRTUVWXYZ2346789"


class Chance:
    """Draws from the sequence that belongs to `key`.

    Python promises only of `random()` that a seed keeps its sequence, so all is made of that.
    """

    def __init__(self, *key: object) -> None:
        self._random = Random("/".join(map(str, key)))

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return int(self._random.random() * limit)

    def between(self, least: int, most: int) -> int:
        """A whole number from `least` to `most`, both included."""
        return least + self.below(most - least + 1)

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def pick(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def some(self, things: Sequence[T], count: int) -> list[T]:
        """`count` different ones in random order; raises `ValueError` where there are fewer."""
        if count > len(things):
            raise ValueError(f"{count} of {len(things)} things cannot be drawn")
        left = list(things)
        for at in range(count):
            other = at + self.below(len(left) - at)
            left[at], left[other] = left[other], left[at]
        return left[:count]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        return self.some(things, len(things))

    def code(self, length: int) -> str:
        """Letters and digits that are not mistaken for each other."""
        return "".join(self.pick(_CODE_SIGNS) for _ in range(length))
