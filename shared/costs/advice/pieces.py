"""A piece of advice: what to do, what it would save, and how that is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared.evaluation.intervals import Interval

MONTH: Final = timedelta(days=30)
"What savings are for."


class Kind(StrEnum):
    CHEAPER_MODEL = "cheaper_model"
    PROMPT_CACHING = "prompt_caching"
    FAILED_CALLS = "failed_calls"
    LONG_PROMPTS = "long_prompts"
    NEVER_SUCCEEDS = "never_succeeds"


class Certainty(StrEnum):
    """What the amount of a saving is."""

    ESTIMATE = "estimate"
    AT_LEAST = "at_least"
    "A part of what it is reckoned from has no price."
    AT_MOST = "at_most"
    "How much of it can be had is not known: it may be nothing."
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Saving:
    """Nano-dollars in 30 days like those of the window; None, with the reason, if not known.

    `interval` is of 95 % unless `explanation` says what else it is; None where none can be told.
    """

    certainty: Certainty
    nanos: int | None
    interval: Interval | None
    explanation: str
    "What it is reckoned from, and what that takes for granted."


@dataclass(frozen=True)
class Figure:
    """One number of the evidence: of `n` observations, with its interval where there is one."""

    name: str
    value: float
    unit: str
    n: int
    source: str
    interval: Interval | None = None


@dataclass(frozen=True)
class Advice:
    """What to do about a model, a function, or a model within a function."""

    kind: Kind
    model: str | None
    function: str | None
    saving: Saving
    evidence: tuple[Figure, ...]
    action: str
    "In plain words."
    simulated: bool = False
    "Whether a price in it is stated as simulated: then the saving is no real money."


@dataclass(frozen=True)
class Section:
    """What was found of one kind, what was looked at, and what was missing to look at more."""

    kind: Kind
    advice: tuple[Advice, ...]
    looked_at: str
    missing: tuple[str, ...] = ()


def unknown(reason: str) -> Saving:
    return Saving(Certainty.UNKNOWN, None, None, reason)


def in_a_month(nanos: float, span: timedelta) -> int:
    """What came in `span`, for 30 days. ValueError for no time."""
    if span <= timedelta(0):
        raise ValueError(f"a span of {span}; expected some time")
    return round(nanos * (MONTH / span))


_ORDER: Final = {
    Certainty.ESTIMATE: 0,
    Certainty.AT_LEAST: 0,
    Certainty.AT_MOST: 1,
    Certainty.UNKNOWN: 2,
}


def ranked(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """The largest saving first.

    What may be nothing comes after what is known, what is not known after that, and simulated
    money after all that is real.
    """

    def place(one: Advice) -> tuple[bool, int, int, str, str, str]:
        return (
            one.simulated,
            _ORDER[one.saving.certainty],
            -(one.saving.nanos or 0),
            one.kind,
            one.model or "",
            one.function or "",
        )

    return tuple(sorted(advice, key=place))
