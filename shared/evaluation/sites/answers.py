"""Whether what an agent answered is the number, the day or the name that was asked for.

An answer is a sentence as often as a bare value, so the value is looked for in it. What the goal
itself mentions is left aside; another value beside the right one is a wrong answer, or naming all
of them would be a right one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

_NUMBER: Final = re.compile(
    r"(?<![\w.,])(?<![A-Za-z]-)[-\u2212]?\d+(?:[,\u202f\u00a0']\d{3})*(?:\.\d+)?(?![\w])"
)
_WORDS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip
_NONE: Final = re.compile(r"\b(?:none|no|nothing)\b", re.IGNORECASE)
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH: Final = r"(?P<month>[a-z]{3,9})\.?"
_DAYS: Final = (
    re.compile(r"\b(?P<year>\d{4})-(?P<number>\d{1,2})-(?P<day>\d{1,2})\b"),
    re.compile(r"\b(?P<number>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})\b"),
    re.compile(rf"\b{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<year>\d{{4}}))?"),
    re.compile(
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b(?:,?\s+(?P<year>\d{{4}}))?"
    ),
)


class Expected(Protocol):
    """What a question is to be answered with."""

    def matches(self, answer: str, goal: str) -> bool:
        """Whether `answer` says it and nothing that contradicts it."""

    def __str__(self) -> str:
        """An answer that matches."""


def numbers(text: str) -> set[Decimal]:
    """The numbers in a text: `$1,299.00`, `-3`, `12.5 %`; words up to twenty if no digits are."""
    found = {
        Decimal(re.sub(r"[,'\u202f\u00a0]", "", match).replace("\u2212", "-"))
        for match in _NUMBER.findall(text)
    }
    if found:
        return found
    spoken = {Decimal(_WORDS.index(word)) for word in folded(text).split() if word in _WORDS}
    return spoken or ({Decimal(0)} if _NONE.search(text) else set())


def days(text: str, year: int) -> set[date]:
    """The days in a text in ISO, American, or written form; without a year that of `year`."""
    found: set[date] = set()
    for pattern in _DAYS:
        for match in pattern.finditer(text.lower()):
            parts = match.groupdict()
            month = _month(parts.get("month")) or int(parts.get("number") or 0)
            try:
                found.add(date(int(parts.get("year") or year), month, int(parts["day"])))
            except ValueError:
                continue
    return found


def _month(name: str | None) -> int:
    fitting = [at for at, month in enumerate(_MONTHS, 1) if name and month.startswith(name)]
    return fitting[0] if len(fitting) == 1 else 0


def folded(text: str) -> str:
    """Lower case, without accents and punctuation, single spaces."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", plain).split())


@dataclass(frozen=True)
class Number:
    value: Decimal

    def matches(self, answer: str, goal: str) -> bool:
        found = numbers(answer)
        return self.value in found and found - numbers(goal) <= {self.value}

    def __str__(self) -> str:
        return str(self.value)


def money(cents: int) -> Number:
    return Number(Decimal(cents) / 100)


def count(value: int) -> Number:
    return Number(Decimal(value))


@dataclass(frozen=True)
class Day:
    value: date

    def matches(self, answer: str, goal: str) -> bool:
        found = days(answer, self.value.year)
        return self.value in found and found - days(goal, self.value.year) <= {self.value}

    def __str__(self) -> str:
        return self.value.isoformat()


@dataclass(frozen=True)
class Named:
    """A name; `others` are those that would be wrong."""

    value: str
    others: frozenset[str] = frozenset()

    def matches(self, answer: str, goal: str) -> bool:
        said = f" {folded(answer)} "
        right = f" {folded(self.value)} "
        if right not in said:
            return False
        # A wrong name may be part of the right one, or of the goal.
        rest, asked = said.replace(right, "  "), f" {folded(goal)} "
        wrong = (f" {folded(other)} " for other in self.others - {self.value})
        return not any(other in rest and other not in asked for other in wrong)

    def __str__(self) -> str:
        return self.value
