"""Each variant beside the control, metric by metric, and all comparisons together. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.abtest.allocation import Allocation
from shared.abtest.figures import estimate, planned_of, scaled, sums_of, why_unknown
from shared.abtest.inference.adaptive import always_valid_p_of_both, difference_of_both
from shared.abtest.inference.estimates import Estimate, Moments, adjusted, difference, times
from shared.abtest.inference.fixed_horizon import two_proportions_p, welch
from shared.abtest.inference.multiplicity import holm
from shared.abtest.inference.quantiles import (
    always_valid_p_of_quantiles,
    difference_of_quantiles,
)
from shared.abtest.inference.sequential import (
    always_valid_p,
    confidence_sequence,
    mixture_scale,
)
from shared.abtest.metrics import AbMetric, Kind
from shared.abtest.plan import Guardrail, Plan
from shared.abtest.verdicts import AbState, Comparison, Standing, VariantSums
from shared.evaluation.intervals import Interval
from shared.telemetry.histograms import Histogram


@dataclass(frozen=True)
class Pair:
    """A comparison before it is known how many there are.

    `beyond` is the difference minus that from which on it counts, in the metric's unit; `guardrail`
    is None of the success metric. `sides` are the variant's own figure and the control's, made less
    noisy by what was known before where that can be. Shares that follow the figures part the two.
    """

    variant: VariantSums
    control: VariantSums
    metric: AbMetric
    guardrail: Guardrail | None
    rho: float
    follows: bool
    beyond: float | None = None
    p_value: float | None = None
    reason: str | None = None
    sides: tuple[Estimate, Estimate] | None = None

    @property
    def found(self) -> Estimate | None:
        return None if self.sides is None else difference(*self.sides)

    @property
    def spreads(self) -> tuple[Histogram, Histogram]:
        one, two = (sums_of(each, self.metric).spread for each in (self.variant, self.control))
        return one or Histogram.empty(), two or Histogram.empty()

    def interval(self, alpha: float) -> Interval | None:
        if self.metric.kind is Kind.QUANTILE:
            assert self.metric.quantile is not None
            return scaled(
                difference_of_quantiles(*self.spreads, self.metric.quantile, alpha), self.metric
            )
        if self.sides is None:
            return None
        if self.follows:
            return difference_of_both(*self.sides, self.rho, alpha)
        return confidence_sequence(difference(*self.sides), self.rho, alpha)

    @property
    def difference(self) -> float | None:
        if self.found is not None:
            return self.found.value
        if self.metric.kind is not Kind.QUANTILE or self.reason is not None:
            return None
        assert self.metric.quantile is not None
        one, two = (spread.quantile(self.metric.quantile) for spread in self.spreads)
        return None if one is None or two is None else (one - two) * self.metric.scale

    @property
    def worse(self) -> bool:
        """Whether the variant is on the bad side of where the difference begins to count."""
        if not self.beyond:
            return False
        return (self.beyond > 0) != self.metric.larger_is_better


def pairs_of(plan: Plan, variants: Sequence[VariantSums]) -> tuple[Pair, ...]:
    """Each metric of each variant but the first beside that of the first, the control."""
    control, *others = variants
    rho = mixture_scale(planned_of(plan, 2, len(variants)), plan.alpha)
    metrics = [plan.metric(name) for name in plan.compared]
    return tuple(_pair(plan, metric, one, control, rho) for metric in metrics for one in others)


def compared(plan: Plan, pairs: Sequence[Pair], units: int) -> tuple[Comparison, ...]:
    """What all `pairs` come to together; `units` are of all variants."""
    tested = [pair.p_value for pair in pairs if pair.p_value is not None]
    adjusted_p = iter(holm(tested))
    # Holm compares the smallest with alpha / m, the next with alpha / (m - 1), and so on until one
    # is not small enough: all from there on are compared as that one is.
    ranks = sorted(range(len(tested)), key=tested.__getitem__)
    told = 0
    while told < len(ranks) and tested[ranks[told]] <= plan.alpha / (len(ranks) - told):
        told += 1
    places = iter(sorted(range(len(ranks)), key=ranks.__getitem__))
    found = []
    for pair in pairs:
        if pair.p_value is None:
            found.append(_unknown(pair))
            continue
        rank = next(places)
        level = plan.alpha / (len(tested) - min(rank, told if told < len(tested) else rank))
        found.append(_comparison(plan, pair, units, level, next(adjusted_p), told=rank < told))
    return tuple(found)


def _pair(
    plan: Plan, metric: AbMetric, variant: VariantSums, control: VariantSums, rho: float
) -> Pair:
    guardrail = next((one for one in plan.guardrails if one.metric == metric.name), None)
    reason = why_unknown(metric, control) or why_unknown(metric, variant)
    follows = plan.allocation is not Allocation.FIXED
    begun = Pair(variant, control, metric, guardrail, rho, follows, reason=reason)
    if reason is not None:
        return begun
    harm = -1 if metric.larger_is_better else 1
    null = harm * guardrail.margin if guardrail is not None else 0.0
    if metric.kind is Kind.QUANTILE:
        assert metric.quantile is not None
        p_value = always_valid_p_of_quantiles(
            *begun.spreads, metric.quantile, null=null / metric.scale
        )
        return replace(begun, beyond=(begun.difference or 0.0) - null, p_value=p_value)
    one, two = sums_of(variant, metric).moments, sums_of(control, metric).moments
    if metric.before is not None and not follows:
        one, two = adjusted(one, two)
    treated, untreated = estimate(metric, one), estimate(metric, two)
    assert treated is not None
    assert untreated is not None
    tolerated = untreated
    if guardrail is not None and guardrail.relative_margin is not None:
        # The control's own figure varies, and so does the share of it that is tolerated.
        tolerated = times(untreated, 1 + harm * guardrail.relative_margin)
    tested = difference(treated, tolerated)
    if follows:
        p_value = always_valid_p_of_both(treated, tolerated, rho, null)
    else:
        p_value = always_valid_p(tested, rho, null)
    return replace(begun, beyond=tested.value - null, p_value=p_value, sides=(treated, untreated))


def _unknown(pair: Pair) -> Comparison:
    nothing = (None,) * 6
    return Comparison(
        pair.variant.name,
        pair.metric.name,
        AbState.COLLECTING,
        *nothing,
        pair.reason,
        pair.metric.unit,
        _standing(pair, told=False),
    )


def _comparison(
    plan: Plan, pair: Pair, units: int, level: float, p_adjusted: float, *, told: bool
) -> Comparison:
    interval = pair.interval(level)
    # Who looks once looks at the end of a test whose shares led there.
    once = None if pair.follows else pair.found
    return Comparison(
        pair.variant.name,
        pair.metric.name,
        _state(plan, pair, interval, units, told=told),
        pair.difference,
        interval,
        1 - level,
        pair.p_value,
        p_adjusted,
        None if once is None else welch(once, plan.alpha),
        None,
        pair.metric.unit,
        _standing(pair, told=told),
        None if once is None else _of_two_proportions(pair),
    )


def _state(plan: Plan, pair: Pair, interval: Interval | None, units: int, *, told: bool) -> AbState:
    if told and pair.beyond:
        if pair.worse:
            return AbState.WORSE
        tolerated = pair.guardrail is not None and pair.guardrail.tolerates
        return AbState.NO_DIFFERENCE if tolerated else AbState.BETTER
    effect = plan.minimum_effect
    within = (
        effect is not None
        and pair.metric.name == plan.success_metric
        and interval is not None
        # Units that are all alike say nothing of others.
        and interval.low < interval.high
        and -effect < interval.low
        and interval.high < effect
    )
    if within:
        return AbState.NO_DIFFERENCE
    return AbState.UNDECIDED if units >= plan.units else AbState.COLLECTING


def _standing(pair: Pair, *, told: bool) -> Standing | None:
    if pair.guardrail is None:
        return None
    if not (told and pair.beyond):
        return Standing.OPEN
    return Standing.HARMED if pair.worse else Standing.HELD


def _of_two_proportions(pair: Pair) -> float | None:
    if pair.metric.kind is not Kind.RATIO or pair.metric.unit != "share":
        return None
    sides = [sums_of(one, pair.metric).moments for one in (pair.variant, pair.control)]
    return two_proportions_p(*sides) if all(map(_has_one_trial_each, sides)) else None


def _has_one_trial_each(moments: Moments) -> bool:
    """Whether each unit is a 1 or a 0: only then is the sum of squares that of the values."""
    of_ones = moments.n * moments.y * (1 - moments.y)
    return moments.x == 1 and not moments.xx and math.isclose(moments.yy, of_ones, abs_tol=1e-9)
