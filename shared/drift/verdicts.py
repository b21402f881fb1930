"""What a sweep over many metrics concludes: sure enough, and large enough to matter.

The rule, in plain words:

1. A metric whose baseline or current window is empty is `no_data`. One with fewer values than its
   minimum in either window, or that cannot be tested for another reason (all values equal, values
   that are not finite), is `insufficient`. Neither is ever called stable.
2. The p-values of all tests of all remaining metrics of the sweep are one family. They are adjusted
   by Benjamini and Hochberg, so that of the tests called significant at most a share `alpha` is
   expected to be false, however many metrics are watched.
3. A metric is `drift` if any of its tests is significant and its effect is at least its minimum;
   `warning` if any is significant and the effect is at least half of the minimum; else `stable`.
   With a million events a shift of one in a thousand is significant; it is not drift.

Where the baseline's own days differ by more, the minimum is raised to what they do (see
`own_variation`).

The effect is the one that the metric's rule names, by default the Kolmogorov-Smirnov distance: 0.1
says that a tenth of all values moved across some point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.drift.comparison import Comparison
from shared.drift.effects import Effect, magnitude
from shared.drift.statistics import TestResult


class DriftState(StrEnum):
    """What is known of a metric. Only the first three are findings."""

    STABLE = "stable"
    WARNING = "warning"
    DRIFT = "drift"
    NO_DATA = "no_data"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True)
class MetricRule:
    """When a metric's difference matters. `minimum_effect` is a magnitude, see `effects`."""

    minimum_effect: float = 0.1
    minimum_values: int = 30
    "Values that each window needs."
    effect: Effect = Effect.KS_DISTANCE
    usual_effect: float | None = None
    "How far days of the baseline are from the rest of it; see `own_variation`. None if unknown."

    def __post_init__(self) -> None:
        if not self.minimum_effect > 0:
            raise ValueError(f"minimum effect {self.minimum_effect}; expected above 0")
        if self.minimum_values < 2:
            raise ValueError(f"minimum values {self.minimum_values}; expected 2 or more")

    def from_where(self, minimum_effect: float | None) -> MetricRule:
        """The same with a minimum that was chosen; None keeps its own."""
        return self if minimum_effect is None else replace(self, minimum_effect=minimum_effect)


DEFAULT_RULE = MetricRule()
CATEGORY_RULE = MetricRule(effect=Effect.TOTAL_VARIATION)
"For `compare_categories`: a tenth of all values in another category matters."

MOST_VALUES: Final = 100_000
"""Of a window of a tenant's own feature, drawn evenly: a drift that matters is seen in so many.

The newest alone would be of its last days only, and say nothing of how much days differ.
"""


@dataclass(frozen=True)
class ComparedMetric:
    """A metric of a function with both of its windows compared: what a sweep judges."""

    function_name: str
    metric_name: str
    comparison: Comparison
    rule: MetricRule = DEFAULT_RULE


@dataclass(frozen=True)
class MetricVerdict:
    """The verdict on one metric, with every number that it rests on."""

    function_name: str
    metric_name: str
    state: DriftState
    tests: tuple[TestResult, ...]
    adjusted_p_values: tuple[float | None, ...]
    "Benjamini-Hochberg adjusted, one for each of `tests`; None where there is no p-value."
    p_value: float | None
    "The smallest of them: the metric is significant if it is at most `threshold`."
    threshold: float
    "The false discovery rate of the sweep."
    effect_name: Effect
    effect_size: float | None
    minimum_effect: float
    n_baseline: int
    n_current: int
    reason: str | None
    "Why there is no finding; None where there is one."
    usual_effect: float | None = None
    "How far days of the baseline are from the rest of it; None where that is not known."

    @property
    def drift_detected(self) -> bool:
        return self.state is DriftState.DRIFT


def judge(metrics: Sequence[ComparedMetric], alpha: float = 0.05) -> tuple[MetricVerdict, ...]:
    """The verdict on each of `metrics`, in their order, as one sweep at false discovery rate alpha.

    ValueError unless 0 < alpha < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"false discovery rate {alpha}; expected between 0 and 1")
    shortfalls = [_shortfall(metric) for metric in metrics]
    family = [
        test.p_value
        for metric, shortfall in zip(metrics, shortfalls, strict=True)
        if shortfall is None
        for test in metric.comparison.tests
        if test.p_value is not None
    ]
    adjusted = iter(benjamini_hochberg(family).tolist())
    verdicts = []
    for metric, shortfall in zip(metrics, shortfalls, strict=True):
        own = tuple(
            next(adjusted) if shortfall is None and test.p_value is not None else None
            for test in metric.comparison.tests
        )
        verdicts.append(_verdict(metric, shortfall, own, alpha))
    return tuple(verdicts)


def benjamini_hochberg(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Adjusted p-values: the smallest false discovery rate at which each is significant.

    Y. Benjamini and Y. Hochberg, JRSS B 57 (1995): min over j >= i of m p_(j) / j. It holds for
    independent tests and for positively dependent ones (Benjamini and Yekutieli, Annals of
    Statistics 29, 2001), as the four tests of one metric are. ValueError outside 0 to 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values outside 0 to 1")
    order = np.argsort(p)
    scaled = p[order] * (p.size / np.arange(1, p.size + 1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _shortfall(metric: ComparedMetric) -> tuple[DriftState, str] | None:
    """Why the metric cannot be judged, or None."""
    comparison, least = metric.comparison, metric.rule.minimum_values
    windows = (("baseline", comparison.n_baseline), ("current", comparison.n_current))
    if comparison.problem is not None and comparison.n_baseline + comparison.n_current:
        # That a window is empty may be no more than what follows from it.
        return DriftState.INSUFFICIENT, comparison.problem
    for window, size in windows:
        if size == 0:
            return DriftState.NO_DATA, f"the {window} window is empty"
    for window, size in windows:
        if size < least:
            return (
                DriftState.INSUFFICIENT,
                f"the {window} window holds {size} values; expected at least {least}",
            )
    if comparison.reason is not None:
        return DriftState.INSUFFICIENT, comparison.reason
    if metric.rule.effect not in comparison.effects:
        return DriftState.INSUFFICIENT, f"{metric.rule.effect.value} cannot be told"
    if all(test.p_value is None for test in comparison.tests):
        # Nothing was tested, which is not the same as nothing found.
        reasons = [test.reason for test in comparison.tests if test.reason is not None]
        return DriftState.INSUFFICIENT, next(iter(reasons), "no test could be made")
    return None


def _verdict(
    metric: ComparedMetric,
    shortfall: tuple[DriftState, str] | None,
    adjusted: tuple[float | None, ...],
    alpha: float,
) -> MetricVerdict:
    comparison, rule = metric.comparison, metric.rule
    smallest = min((p for p in adjusted if p is not None), default=None)
    size = comparison.effects.get(rule.effect)
    if shortfall is not None:
        state, reason = shortfall
    else:
        state, reason = _finding(smallest, size, rule, alpha), None
    return MetricVerdict(
        function_name=metric.function_name,
        metric_name=metric.metric_name,
        state=state,
        tests=comparison.tests,
        adjusted_p_values=adjusted,
        p_value=smallest,
        threshold=alpha,
        effect_name=rule.effect,
        effect_size=size,
        minimum_effect=rule.minimum_effect,
        n_baseline=comparison.n_baseline,
        n_current=comparison.n_current,
        reason=reason,
        usual_effect=rule.usual_effect,
    )


def _finding(
    p_value: float | None, size: float | None, rule: MetricRule, alpha: float
) -> DriftState:
    if p_value is None or size is None or p_value > alpha:
        return DriftState.STABLE
    extent = magnitude(rule.effect, size)
    if extent >= rule.minimum_effect:
        return DriftState.DRIFT
    return DriftState.WARNING if extent >= rule.minimum_effect / 2 else DriftState.STABLE
