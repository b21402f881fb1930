"""What an A/B test may compare: metrics of units, each a mean, a ratio or a quantile.

Of each unit a handful of whole numbers is kept, the `COMPONENTS`; every metric is made of them, so
a new one needs no look at the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shared.telemetry.metrics import SHARE_UNIT

COMPONENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tasks": "CAST(e.kind = 'task_end' AND e.success IS NOT NULL AS integer)",
        "successes": "CAST(e.kind = 'task_end' AND e.success IS TRUE AS integer)",
        "llm_calls": "CAST(e.kind = 'llm_call' AS integer)",
        "attempts": "CAST(e.kind IN ('llm_call', 'action') AS integer)",
        "errors": "CAST(e.kind IN ('llm_call', 'action') AND e.success IS FALSE AS integer)",
        "llm_latency_ms": "CASE WHEN e.kind = 'llm_call' THEN e.latency_ms END",
        "timed_calls": "CAST(e.kind = 'llm_call' AND e.latency_ms IS NOT NULL AS integer)",
        "task_latency_ms": "CASE WHEN e.kind = 'task_end' THEN e.latency_ms END",
        "timed_tasks": "CAST(e.kind = 'task_end' AND e.latency_ms IS NOT NULL AS integer)",
        "cost_nanos": "e.cost_nanos",
        "unpriced_calls": "CAST(e.kind = 'llm_call' AND e.cost_nanos IS NULL AS integer)",
        "tokens": "coalesce(e.total_tokens, e.input_tokens + e.output_tokens)",
        "uncounted_calls": (
            "CAST(e.kind = 'llm_call'"
            " AND coalesce(e.total_tokens, e.input_tokens + e.output_tokens) IS NULL AS integer)"
        ),
        "quality": f"round(e.quality * {SHARE_UNIT})",
        "rated_calls": "CAST(e.quality IS NOT NULL AS integer)",
    }
)
"What is added up of each unit, and what an event `e` adds to it in SQL."

BEFORE: Final = ("tasks", "successes", "llm_calls", "cost_nanos", "tokens")
"Of these also what the unit did in the days before it was exposed."


class Kind(StrEnum):
    MEAN = "mean"
    "Of a component over the units, made less noisy by what was known of them before."
    RATIO = "ratio"
    "Of two components' sums."
    QUANTILE = "quantile"
    "Of the units' own ratios."


@dataclass(frozen=True)
class AbMetric:
    """A metric; `denominator` is None of a mean, `quantile` is a share of the units.

    In its stored sums y is the numerator; x is the denominator, or of a mean the same component
    before the exposure, and 0 where there is none.
    """

    name: str
    kind: Kind
    numerator: str
    denominator: str | None
    larger_is_better: bool
    unit: str
    scale: float = 1.0
    "What one of the stored numbers is in the `unit`."
    needs_none_of: tuple[str, ...] = ()
    "The components that say how much of the others is unknown."
    quantile: float | None = None

    @property
    def before(self) -> str | None:
        """The column of the covariate."""
        known = self.denominator is None and self.numerator in BEFORE
        return f"{self.numerator}_before" if known else None

    @property
    def can_be_capped(self) -> bool:
        """Whether what one unit brings has a tail, and a size of its own.

        A unit's cost per success has none where nothing succeeded: capped at the cap times 0 it
        would cost nothing.
        """
        timed = (self.numerator, self.denominator) in _TIMED
        return self.kind is Kind.MEAN or (self.kind is Kind.RATIO and timed)


def _ratio(name: str, numerator: str, denominator: str, **more: object) -> AbMetric:
    return AbMetric(name, Kind.RATIO, numerator, denominator, **more)  # type: ignore[arg-type]


def _mean(name: str, numerator: str, **more: object) -> AbMetric:
    return AbMetric(name, Kind.MEAN, numerator, None, **more)  # type: ignore[arg-type]


def _quantile(name: str, numerator: str, denominator: str, quantile: float) -> AbMetric:
    return AbMetric(
        name, Kind.QUANTILE, numerator, denominator, False, "s", 1e-3, quantile=quantile
    )


_TIMED: Final = (("llm_latency_ms", "timed_calls"), ("task_latency_ms", "timed_tasks"))
"Where there is no time there is no call that was timed."

_COST: Final = {"unit": "$", "scale": 1e-9, "needs_none_of": ("unpriced_calls",)}

COMPLETION_RATE: Final = "task_completion_rate"
"What `success` means; every unit is in it."

METRICS: Final[Mapping[str, AbMetric]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _ratio(COMPLETION_RATE, "successes", "tasks", larger_is_better=True, unit="share"),
            _ratio("error_rate", "errors", "attempts", larger_is_better=False, unit="share"),
            _ratio(
                "llm_latency",
                "llm_latency_ms",
                "timed_calls",
                larger_is_better=False,
                unit="s",
                scale=1e-3,
            ),
            _ratio(
                "task_duration",
                "task_latency_ms",
                "timed_tasks",
                larger_is_better=False,
                unit="s",
                scale=1e-3,
            ),
            _quantile("llm_latency_p50", "llm_latency_ms", "timed_calls", 0.5),
            _quantile("llm_latency_p95", "llm_latency_ms", "timed_calls", 0.95),
            _ratio("cost_per_success", "cost_nanos", "successes", larger_is_better=False, **_COST),
            _mean("cost_per_unit", "cost_nanos", larger_is_better=False, **_COST),
            _mean("successes_per_unit", "successes", larger_is_better=True, unit="tasks"),
            _mean("calls_per_unit", "llm_calls", larger_is_better=False, unit="calls"),
            _mean(
                "tokens_per_unit",
                "tokens",
                larger_is_better=False,
                unit="tokens",
                needs_none_of=("uncounted_calls",),
            ),
            _ratio(
                "quality",
                "quality",
                "rated_calls",
                larger_is_better=True,
                unit="share",
                scale=1 / SHARE_UNIT,
            ),
        )
    }
)
"By name."

SUMMED: Final = tuple(metric for metric in METRICS.values() if metric.kind is not Kind.QUANTILE)
"Those of which sums are kept."

SPREADS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"llm_latency": ("llm_latency_ms", "timed_calls")}
)
"Of these metrics how units are spread is kept as well: a histogram of each unit's own ratio."
