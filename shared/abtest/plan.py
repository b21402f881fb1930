"""What a test's author settles before the first unit comes. Pure.

To choose the question after the answer is known would make every answer right, so a plan is stored
with its test and never changes once that has begun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.abtest.allocation import LEAST_SHARE, Allocation
from shared.abtest.metrics import COMPLETION_RATE, METRICS, AbMetric, Kind
from shared.abtest.own_metrics import MOST_OWN, OwnMetric

LEAST_UNITS: Final = 30
"Of each variant, before anything is said: the intervals rest on the central limit theorem."
DEFAULT_UNITS: Final = 5_000
"Units, of all variants together, for which the intervals are made narrowest."
MOST_UNITS: Final = 10**9
LEAST_ALPHA: Final = 1e-6
MOST_ALPHA: Final = 0.5
MOST_POWER: Final = 0.999
"With alpha between these the quantiles of the normal distribution are what they should be."
MOST_GUARDRAILS: Final = 20
LARGEST_CAP: Final = 10**15
"As stored: a million dollars in nano-dollars. Margins are no larger either."

_ALIAS: Final = "success"
"It has both names."
_DEFAULT_GUARDRAILS: Final = ("error_rate", "llm_latency", "cost_per_unit")

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Guardrail(_Part):
    """A metric that must not get worse, by more than a margin where one is given.

    The margin is a number in the metric's unit, or relative: a share of what the control has. As
    text it is `error_rate`, `llm_latency:0.2` or `cost_per_unit:5%`.
    """

    metric: str
    margin: Annotated[Number, Field(ge=0)] = 0.0
    relative_margin: Annotated[Number, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        metric, colon, margin = given.partition(":")
        if not colon:
            return {"metric": metric}
        try:
            size = float(margin.removesuffix("%"))
        except ValueError:
            raise ValueError(
                f"guardrail {given[:100]!r}: expected a metric, alone or with what is tolerated,"
                " such as llm_latency:0.2 or cost_per_unit:5%"
            ) from None
        if margin.endswith("%"):
            return {"metric": metric, "relative_margin": size / 100}
        return {"metric": metric, "margin": size}

    @model_validator(mode="after")
    def _one_margin(self) -> Self:
        if self.margin and self.relative_margin is not None:
            raise ValueError(f"guardrail {self.metric[:60]!r} has two margins; expected one")
        return self

    @property
    def tolerates(self) -> bool:
        return bool(self.margin) or self.relative_margin is not None


class Cap(_Part):
    """The most that one unit brings to a metric: what is above counts as if it were the cap.

    A number in the metric's unit; or `p99`, the 99th percentile of what units did before the test,
    which is taken once, when it starts. `at` is the cap as it is stored, in whole nano-dollars,
    milliseconds or counts, and `of_units` how many the percentile is of: both None until then.
    """

    value: Annotated[Number, Field(gt=0)] | None = None
    quantile: Annotated[Number, Field(gt=0.5, lt=1)] | None = None
    at: Annotated[int, Field(ge=1, le=LARGEST_CAP)] | None = None
    of_units: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            return given
        percentile = re.fullmatch(r"p(\d{2}(?:\.\d{1,3})?)", given) if type(given) is str else None
        if percentile is not None:
            return {"quantile": float(percentile[1]) / 100}
        try:
            return {"value": float(given)}
        except OverflowError:
            raise ValueError("cap: a number of so many digits is none that can be stored") from None
        except ValueError:
            raise ValueError(
                f"cap {str(given)[:60]!r}: expected a number in the metric's unit, or a percentile"
                " such as p99"
            ) from None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.quantile is None):
            raise ValueError("a cap is a number or a percentile; expected one of the two")
        return self


class Plan(_Part):
    """What is compared, what must not get worse, and how much is wanted of the answer.

    `guardrails` None are the default ones. `minimum_effect` is the least difference of the success
    metric that matters, in its unit: with it a test can show that there is none. `units` of all
    variants together are what the intervals are made narrowest for, and when a test that has shown
    nothing is undecided. ValueError for what cannot be.
    """

    success_metric: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,99}$")] = (
        COMPLETION_RATE
    )
    "What the variants are compared by."
    guardrails: Annotated[tuple[Guardrail, ...], Field(max_length=MOST_GUARDRAILS)] = ()
    alpha: Number = 0.05
    power: Number = 0.8
    units: Annotated[int, Field(strict=True, le=MOST_UNITS)] = DEFAULT_UNITS
    minimum_effect: Number | None = None
    pause_when_harmed: Annotated[bool, Field(strict=True)] = False
    "Whether a guardrail that is harmed pauses the test."
    winsorize: dict[str, Cap] = {}
    "By metric."
    metrics: Annotated[tuple[OwnMetric, ...], Field(max_length=MOST_OWN)] = ()
    "The author's own, which are compared whether or not they are guardrails."
    allocation: Allocation = Allocation.FIXED
    """Whether the shares of the variants follow what they do: then what holds for fixed ones does
    not, and the intervals are wider."""
    least_share: Annotated[Number, Field(ge=0, le=1)] = LEAST_SHARE
    "Of each variant, where the allocation is not fixed."

    @model_validator(mode="before")
    @classmethod
    def _with_default_guardrails(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("guardrails") is not None:
            return given
        compared = given.get("success_metric")
        return {**given, "guardrails": [one for one in _DEFAULT_GUARDRAILS if one != compared]}

    @field_validator("success_metric")
    @classmethod
    def _one_name(cls, name: str) -> str:
        return COMPLETION_RATE if name == _ALIAS else name

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        names = [one.name for one in self.metrics]
        _require_distinct(names, "own metrics")
        there = (*METRICS, *names)
        if self.success_metric not in there:
            raise ValueError(
                f"success metric {self.success_metric!r}: expected one of"
                f" {', '.join((_ALIAS, *there))}"
            )
        for name in (*self.guarded, *self.winsorize):
            if name not in there:
                raise ValueError(f"metric {name[:60]!r}: expected one of {', '.join(there)}")
        _require_distinct(
            [self.success_metric, *self.guarded], "the success metric and the guardrails"
        )
        if not 0 < self.alpha < self.power < 1:
            raise ValueError(
                f"alpha {self.alpha} and power {self.power}; expected 0 < alpha < power < 1"
            )
        if not LEAST_ALPHA <= self.alpha <= MOST_ALPHA:
            raise ValueError(f"alpha {self.alpha}; expected {LEAST_ALPHA:g} to {MOST_ALPHA:g}")
        if self.power > MOST_POWER:
            raise ValueError(f"power {self.power}; expected {MOST_POWER:g} at most")
        if self.units < 2 * LEAST_UNITS:
            raise ValueError(f"{self.units} units; expected {2 * LEAST_UNITS} or more")
        effect = self.minimum_effect
        if effect is not None and not effect > 0:
            raise ValueError(f"minimum effect {effect}; expected a number above 0")
        if effect is not None and self.metric(self.success_metric).unit == "share" and effect >= 1:
            raise ValueError(
                f"minimum effect {effect}; {self.success_metric} is a share, of which 0.02 are 2"
                " points"
            )
        if self.allocation is not Allocation.FIXED and self._is_quantile(self.success_metric):
            raise ValueError(
                f"allocation {self.allocation} by {self.success_metric}: of a quantile it is not"
                " known how probably each variant is the best; expected a rate, a mean or a ratio"
            )
        self._require_bounds()
        return self

    def _require_bounds(self) -> None:
        for guardrail in self.guardrails:
            if guardrail.relative_margin is not None and self._is_quantile(guardrail.metric):
                raise ValueError(
                    f"guardrail {guardrail.metric!r}: of a quantile a margin is a number of"
                    f" {self.metric(guardrail.metric).unit}"
                )
            metric = self.metric(guardrail.metric)
            most = 1.0 if metric.unit == "share" else LARGEST_CAP * metric.scale
            if guardrail.margin > most:
                raise ValueError(
                    f"guardrail {guardrail.metric!r}: a margin of {guardrail.margin:g}"
                    f" {metric.unit}; expected {most:g} at most"
                )
        for name, cap in self.winsorize.items():
            metric = self.metric(name)
            if name not in self.compared:
                raise ValueError(f"cap of {name}: nothing is compared by it")
            if not metric.can_be_capped:
                raise ValueError(
                    f"cap of {name}: expected one of"
                    f" {', '.join(one for one in self._names if self.metric(one).can_be_capped)}"
                )
            # Before it is rounded: of what is beyond all floats there is no whole number.
            if cap.value is not None and not 0.5 < cap.value / metric.scale <= LARGEST_CAP:
                raise ValueError(
                    f"cap of {name}: {cap.value:g} {metric.unit}; expected"
                    f" {metric.scale:g} to {LARGEST_CAP * metric.scale:g}"
                )

    def metric(self, name: str) -> AbMetric:
        """A built-in one or the author's own. KeyError for any other."""
        return next((one.made for one in self.metrics if one.name == name), None) or METRICS[name]

    @property
    def compared(self) -> tuple[str, ...]:
        """All metrics by which the variants are compared: the success metric is the first."""
        named = (self.success_metric, *self.guarded)
        return (*named, *(one.name for one in self.metrics if one.name not in named))

    @property
    def guarded(self) -> tuple[str, ...]:
        """The guardrails' metrics."""
        return tuple(one.metric for one in self.guardrails)

    def capped_at(self, name: str, at: int | None = None, of_units: int | None = None) -> Cap:
        """The metric's cap, settled: at its own value, or at the percentile that was found."""
        cap = self.winsorize[name]
        if cap.value is not None:
            return cap.model_copy(update={"at": self._stored(name, cap.value), "of_units": None})
        return cap.model_copy(update={"at": at, "of_units": of_units})

    def _stored(self, name: str, value: float) -> int:
        return round(value / self.metric(name).scale)

    def _is_quantile(self, name: str) -> bool:
        return self.metric(name).kind is Kind.QUANTILE

    @property
    def _names(self) -> tuple[str, ...]:
        return (*METRICS, *(one.name for one in self.metrics))


def _require_distinct(names: list[str], among: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is named twice among {among}")
