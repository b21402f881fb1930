"""Metrics that a test's author makes of what is added up of each unit."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.abtest.metrics import COMPONENTS, METRICS, AbMetric, Kind

MOST_OWN: Final = 10
"Of one test: each is added up beside the built-in ones."

_PARTLY_KNOWN: Final = ("llm_latency_ms", "task_latency_ms", "quality")
"Of some calls there is none, and only the built-in metrics divide by how many have one."

_UNKNOWN_BY: Final = {"cost_nanos": "unpriced_calls", "tokens": "uncounted_calls"}

_SHARES: Final = (
    ("successes", "tasks"),
    ("errors", "attempts"),
    ("llm_calls", "attempts"),
    ("timed_calls", "llm_calls"),
    ("timed_tasks", "tasks"),
    ("unpriced_calls", "llm_calls"),
    ("uncounted_calls", "llm_calls"),
)
"What is counted in the second is all that is counted in the first, or more."


class OwnMetric(BaseModel):
    """One component per unit, or of two the sum of one over the sum of the other.

    `retries_per_task` is `attempts` over `tasks`. The components are `metrics.COMPONENTS`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
    numerator: str
    denominator: str | None = None
    larger_is_better: Annotated[bool, Field(strict=True)]
    unit: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f]+$")] | None = (
        None
    )
    "What its figures are called; cost is in $ and shares are in points whatever it says."

    @model_validator(mode="after")
    def _of_what_is_added_up(self) -> Self:
        if self.name in (*METRICS, "success"):
            raise ValueError(f"metric {self.name!r} is a built-in one; give yours another name")
        usable = [name for name in COMPONENTS if name not in _PARTLY_KNOWN]
        for name in self._parts:
            if name not in usable:
                raise ValueError(
                    f"metric {self.name!r}: component {name[:60]!r}: expected one of"
                    f" {', '.join(usable)}"
                )
        if self.numerator == self.denominator:
            raise ValueError(f"metric {self.name!r} is {self.numerator!r} over itself: always 1")
        return self

    @property
    def made(self) -> AbMetric:
        """It as the built-in ones are."""
        unit, scale = self.unit or self.numerator, 1.0
        if self.denominator is not None:
            unit = self.unit or f"{self.numerator} per {self.denominator}"
        if self.numerator == "cost_nanos":
            unit, scale = "$", 1e-9
        elif self.denominator == "cost_nanos":
            unit, scale = self.unit or f"{self.numerator} per $", 1e9
        elif (self.numerator, self.denominator) in _SHARES:
            unit = "share"
        elif unit == "share":
            # What is a share is between 0 and 1, and so are the ends of its intervals.
            unit = "times"
        return AbMetric(
            self.name,
            Kind.MEAN if self.denominator is None else Kind.RATIO,
            self.numerator,
            self.denominator,
            self.larger_is_better,
            unit,
            scale,
            tuple(_UNKNOWN_BY[name] for name in self._parts if name in _UNKNOWN_BY),
        )

    @property
    def _parts(self) -> tuple[str, ...]:
        return (self.numerator,) if self.denominator is None else (self.numerator, self.denominator)
