"""What an A/B test has shown so far: a state, a sentence, and what both rest on. Pure.

Every interval and p-value that decides holds at any time, so a test may be looked at as often as
one likes and stopped when it has shown enough. Beside them stand what one look at the end would
say, and how probable it is that each variant is the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from shared.abtest.allocation import Allocation
from shared.abtest.inference.adaptive import always_valid_p_of_both, difference_of_both
from shared.abtest.inference.bayes import Posterior, of_estimates, of_shares
from shared.abtest.inference.estimates import (
    Estimate,
    Moments,
    adjusted,
    cautious,
    cautious_share,
    difference,
    mean,
    ratio,
    times,
)
from shared.abtest.inference.fixed_horizon import OneLook, welch
from shared.abtest.inference.multiplicity import holm
from shared.abtest.inference.power import (
    always_valid_effect,
    always_valid_units,
    days_left,
)
from shared.abtest.inference.quantiles import (
    always_valid_p_of_quantiles,
    confidence_sequence_of_quantile,
    difference_of_quantiles,
)
from shared.abtest.inference.sample_ratio import sequential_sample_ratio_p
from shared.abtest.inference.sequential import (
    always_valid_p,
    confidence_sequence,
    mixture_scale,
)
from shared.abtest.metrics import COMPLETION_RATE, AbMetric, Kind
from shared.abtest.plan import LEAST_UNITS, Guardrail, Plan
from shared.drift.null_distributions import chi_square_sf
from shared.evaluation.intervals import Interval
from shared.telemetry.histograms import Histogram

MISMATCH_BELOW: Final = 0.001
"A sample ratio this unlikely means that units got lost, not that chance was odd."
MOST_MIXED: Final = 0.01
"Of the units may have been given two variants; of more the assignment cannot be trusted."
MOST_UNKNOWN: Final = 0.05
"Of a variant's units may be left out of a metric because part of it is unknown."


class Standing(StrEnum):
    """Of a guardrail: what is known of the harm that its plan tolerates, none unless it says so."""

    OPEN = "open"
    HARMED = "harmed"
    "It is worse by more than that."
    HELD = "held"
    "It is not."


class AbState(StrEnum):
    COLLECTING = "collecting"
    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    SAMPLE_RATIO_MISMATCH = "sample_ratio_mismatch"
    INVALID = "invalid"


@dataclass(frozen=True)
class MetricSums:
    """Of one metric of one variant: sums over the units of whom it is known."""

    moments: Moments
    unknown: int = 0
    spread: Histogram | None = None
    capped: int = 0
    "Units above the plan's cap, which count as if they were it."


@dataclass(frozen=True)
class VariantSums:
    """`units` are distinct and in no other variant; `mixed` are those that were in another too."""

    name: str
    weight: float
    units: int
    mixed: int = 0
    metrics: Mapping[str, MetricSums] = field(default_factory=dict)


@dataclass(frozen=True)
class VariantFigure:
    """One metric of one variant, in the metric's unit; `reason` says why it is unknown."""

    variant: str
    metric: str
    units: int
    value: float | None
    interval: Interval | None
    "Always valid."
    reason: str | None = None
    unit: str = ""
    capped: int | None = None
    "How many of the units are above the plan's cap; None where it has none."


@dataclass(frozen=True)
class Comparison:
    """One metric of a variant minus that of the control, in the metric's unit.

    `interval` and `p_value` hold at any time, `p_adjusted` for all comparisons of the test (Holm).
    The interval is at the level at which Holm compares, so that it leaves 0 out just where the
    difference is told. `one_look` is for whoever looks once, at the end.

    Of a guardrail with a margin the p-values are that the harm is just as large as the margin, and
    its state is worse where it is larger and no_difference where that is ruled out.
    """

    variant: str
    metric: str
    state: AbState
    difference: float | None
    interval: Interval | None
    confidence: float | None
    p_value: float | None
    p_adjusted: float | None
    one_look: OneLook | None
    reason: str | None = None
    unit: str = ""
    standing: Standing | None = None
    "None of what is no guardrail."


@dataclass(frozen=True)
class Outlook:
    """Of the success metric: what the test can show now, and what it takes to show what matters.

    As the verdict shows it: at any time, and among all comparisons. Units are of each variant; None
    where it is not known.
    """

    minimum_detectable_effect: float | None
    required_units: int | None
    days_left: float | None


@dataclass(frozen=True)
class Verdict:
    """The first variant is the control. `harmed` are guardrails, as (variant, metric)."""

    state: AbState
    verdict: str
    units: int
    sample_ratio_p: float | None
    "Of one look; None where there is no one split to hold the units to."
    sample_ratio_sequential_p: float | None
    figures: tuple[VariantFigure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    harmed: tuple[tuple[str, str], ...] = ()
    best: Mapping[str, Posterior] = field(default_factory=dict)
    outlook: Outlook | None = None
    units_of: Mapping[str, int] = field(default_factory=dict)
    "By variant; `units` is of all."
    remarks: tuple[str, ...] = ()
    "What whoever reads the figures has to know of how they came about."


def judge(
    plan: Plan,
    variants: Sequence[VariantSums],
    *,
    split_changed: bool = False,
    units_a_day: float | None = None,
) -> Verdict:
    """The verdict of the units so far. ValueError for fewer than two variants.

    `split_changed`: after a change of weights there is no one ratio to hold the units to.
    """
    if len(variants) < 2:
        raise ValueError(f"{len(variants)} variants; expected 2 or more")
    units = sum(one.units for one in variants)
    counts, weights = [one.units for one in variants], [one.weight for one in variants]
    once = None if split_changed else sample_ratio_p(counts, weights)
    always = None if split_changed else sequential_sample_ratio_p(counts, weights)
    held = Verdict(
        AbState.INVALID,
        "",
        units,
        once,
        always,
        units_of={one.name: one.units for one in variants},
        remarks=_remarks(plan, split_changed),
    )
    problem = _mixed(variants)
    if problem is not None:
        return replace(held, verdict=problem)
    if always is not None and always < MISMATCH_BELOW:
        return replace(
            held,
            state=AbState.SAMPLE_RATIO_MISMATCH,
            verdict=f"the units do not follow the weights (p = {always:.2g}): no figure can be"
            " trusted, and none is shown",
        )
    figures = tuple(_figure(plan, metric, one) for metric in _asked(plan) for one in variants)
    comparisons = _compared(plan, variants)
    state, sentence = _decided(plan, variants, comparisons)
    return replace(
        held,
        state=state,
        verdict=sentence,
        figures=figures,
        comparisons=comparisons,
        harmed=tuple(
            (one.variant, one.metric) for one in comparisons if one.standing is Standing.HARMED
        ),
        best=_best(plan, variants),
        outlook=_outlook(plan, variants, units_a_day),
    )


def size_of(one: Comparison) -> str:
    """How far apart the two are, and in which interval. ValueError where it is not known."""
    if one.difference is None or one.interval is None or one.confidence is None:
        raise ValueError(f"{one.metric} of {one.variant} is not known: {one.reason}")
    ends = [_quantity(end, one.unit) for end in one.interval]
    unit = "points" if one.unit == "share" else one.unit
    return (
        f"{_quantity(one.difference, one.unit)} {unit} of {one.metric},"
        f" {100 * one.confidence:.4g} % always-valid interval {ends[0]} to {ends[1]}"
    )


def sample_ratio_p(units: Sequence[int], weights: Sequence[float]) -> float | None:
    """Chi-square p-value that `units` follow `weights`; None if there are none or one variant.

    Variants of weight 0 take no part, unless they have units: then the split surely does not hold.
    """
    if any(count and not weight for count, weight in zip(units, weights, strict=True)):
        return 0.0
    pairs = [(count, weight) for count, weight in zip(units, weights, strict=True) if weight]
    total, whole = sum(units), math.fsum(weights)
    if not total or len(pairs) < 2:
        return None
    statistic = sum(
        (count - total * weight / whole) ** 2 / (total * weight / whole) for count, weight in pairs
    )
    return chi_square_sf(statistic, len(pairs) - 1)


def _remarks(plan: Plan, split_changed: bool) -> tuple[str, ...]:
    """A change that comes with time is taken for one of the variants where shares change too."""
    if plan.allocation is Allocation.THOMPSON:
        return (
            "the weights follow the results (Thompson sampling): this test looks for the best"
            " variant, and measures differences less well than fixed weights; its intervals hold at"
            " any time only while what units do does not change with time",
        )
    if split_changed:
        return (
            "the weights have changed since the test began: if what units do has changed with time"
            " as well, part of that is in the differences",
        )
    return ()


def _mixed(variants: Sequence[VariantSums]) -> str | None:
    mixed = sum(one.mixed for one in variants)
    total = mixed + sum(one.units for one in variants)
    if not mixed or mixed <= MOST_MIXED * total:
        return None
    return (
        f"{mixed} of {total} units were given two variants: the assignment cannot be trusted,"
        " and no figure is shown"
    )


def _asked(plan: Plan) -> tuple[AbMetric, ...]:
    return tuple(plan.metric(name) for name in plan.compared)


def _sums(one: VariantSums, metric: AbMetric) -> MetricSums:
    return one.metrics.get(metric.name, MetricSums(Moments(0, 0.0, 0.0)))


def _estimate(metric: AbMetric, moments: Moments) -> Estimate | None:
    """With the variance that its intervals hold with, also of few units."""
    if metric.kind is Kind.RATIO and metric.unit == "share":
        found = cautious_share(moments)
    else:
        plain = ratio(moments) if metric.kind is Kind.RATIO else mean(moments)
        found = None if plain is None else cautious(plain)
    if found is None:
        return None
    scale = metric.scale
    return Estimate(found.value * scale, found.variance * scale * scale, found.n, found.degrees)


_NONE_YET: Final = {
    "tasks": "no finished task yet",
    "timed_tasks": "no finished task with a time yet",
    "successes": "no task that succeeded yet",
    "llm_calls": "no call of a model yet",
    "attempts": "no call and no action yet",
    "timed_calls": "no call with a time yet",
    "rated_calls": "no rated call yet",
}
"What a variant lacks whose denominator is 0."


def _why_unknown(metric: AbMetric, one: VariantSums) -> str | None:
    """Why nothing is said of this variant's metric; None if something can be."""
    sums = _sums(one, metric)
    if metric.kind is Kind.QUANTILE:
        n = 0 if sums.spread is None else sums.spread.total
        return None if n >= LEAST_UNITS else f"{one.name} has {n} units with a value"
    known, unknown = sums.moments.n, sums.unknown
    if unknown > MOST_UNKNOWN * (known + unknown):
        return f"part of it is unknown of {unknown} of {known + unknown} units of {one.name}"
    if known < LEAST_UNITS:
        return f"{one.name} has {known} of at least {LEAST_UNITS} units"
    if _estimate(metric, sums.moments) is None:
        return f"{one.name} has {_NONE_YET.get(metric.denominator or '', 'nothing to divide by')}"
    return None


def _figure(plan: Plan, metric: AbMetric, one: VariantSums) -> VariantFigure:
    sums = _sums(one, metric)
    reason = _why_unknown(metric, one)
    unit, capped = metric.unit, sums.capped if metric.name in plan.winsorize else None
    if metric.kind is Kind.QUANTILE:
        spread = sums.spread or Histogram.empty()
        if reason is not None:
            return VariantFigure(one.name, metric.name, spread.total, None, None, reason, unit)
        assert metric.quantile is not None
        value = spread.quantile(metric.quantile)
        interval = confidence_sequence_of_quantile(spread, metric.quantile, plan.alpha)
        assert value is not None
        ends = _scaled(interval, metric)
        return VariantFigure(
            one.name, metric.name, spread.total, value * metric.scale, ends, unit=unit
        )
    found = _estimate(metric, sums.moments)
    if reason is not None or found is None:
        n = sums.moments.n
        return VariantFigure(one.name, metric.name, n, None, None, reason, unit, capped)
    interval = confidence_sequence(found, mixture_scale(plan.units, plan.alpha), plan.alpha)
    low = 0.0 if metric.unit == "share" else -math.inf
    high = 1.0 if metric.unit == "share" else math.inf
    return VariantFigure(
        one.name,
        metric.name,
        sums.moments.n,
        found.value,
        Interval(max(low, interval.low), min(high, interval.high)),
        None,
        unit,
        capped,
    )


def _scaled(interval: Interval | None, metric: AbMetric) -> Interval | None:
    return None if interval is None else Interval(*(end * metric.scale for end in interval))


@dataclass(frozen=True)
class _Pair:
    """A comparison before it is known how many there are.

    `beyond` is the difference minus that from which on it counts, in the metric's unit; `guardrail`
    is None of the success metric.
    """

    variant: VariantSums
    control: VariantSums
    metric: AbMetric
    guardrail: Guardrail | None
    found: Estimate | None = None
    beyond: float | None = None
    p_value: float | None = None
    reason: str | None = None
    sides: tuple[Estimate, Estimate] | None = None
    "The variant's own figure and the control's, where shares that follow them part the two."

    @property
    def spreads(self) -> tuple[Histogram, Histogram]:
        one, two = (_sums(each, self.metric).spread for each in (self.variant, self.control))
        return one or Histogram.empty(), two or Histogram.empty()

    def interval(self, plan: Plan, alpha: float) -> Interval | None:
        if self.metric.kind is Kind.QUANTILE:
            assert self.metric.quantile is not None
            return _scaled(
                difference_of_quantiles(*self.spreads, self.metric.quantile, alpha), self.metric
            )
        if self.found is None:
            return None
        rho = mixture_scale(plan.units, plan.alpha)
        if self.sides is not None:
            return difference_of_both(*self.sides, rho, alpha)
        return confidence_sequence(self.found, rho, alpha)

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


def _pair(plan: Plan, metric: AbMetric, variant: VariantSums, control: VariantSums) -> _Pair:
    guardrail = next((one for one in plan.guardrails if one.metric == metric.name), None)
    reason = _why_unknown(metric, control) or _why_unknown(metric, variant)
    begun = _Pair(variant, control, metric, guardrail, reason=reason)
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
    one, two = _sums(variant, metric).moments, _sums(control, metric).moments
    fixed = plan.allocation is Allocation.FIXED
    if metric.before is not None and fixed:
        one, two = adjusted(one, two)
    treated, untreated = _estimate(metric, one), _estimate(metric, two)
    assert treated is not None
    assert untreated is not None
    found = difference(treated, untreated)
    tolerated = untreated
    if guardrail is not None and guardrail.relative_margin is not None:
        # The control's own figure varies, and so does the share of it that is tolerated.
        tolerated = times(untreated, 1 + harm * guardrail.relative_margin)
    tested, rho = difference(treated, tolerated), mixture_scale(plan.units, plan.alpha)
    if fixed:
        p_value = always_valid_p(tested, rho, null)
    else:
        p_value = always_valid_p_of_both(treated, tolerated, rho, null)
    return replace(
        begun,
        found=found,
        beyond=tested.value - null,
        p_value=p_value,
        sides=None if fixed else (treated, untreated),
    )


def _compared(plan: Plan, variants: Sequence[VariantSums]) -> tuple[Comparison, ...]:
    control, *others = variants
    pairs = [_pair(plan, metric, one, control) for metric in _asked(plan) for one in others]
    tested = [pair.p_value for pair in pairs if pair.p_value is not None]
    adjusted_p = iter(holm(tested))
    # Holm compares the smallest with alpha / m, the next with alpha / (m - 1), and so on until one
    # is not small enough: all from there on are compared as that one is.
    ranks = sorted(range(len(tested)), key=tested.__getitem__)
    told = 0
    while told < len(ranks) and tested[ranks[told]] <= plan.alpha / (len(ranks) - told):
        told += 1
    place = {position: rank for rank, position in enumerate(ranks)}
    found = []
    number = 0
    for pair in pairs:
        if pair.p_value is None:
            nothing = (None,) * 6
            found.append(
                Comparison(
                    pair.variant.name,
                    pair.metric.name,
                    AbState.COLLECTING,
                    *nothing,
                    pair.reason,
                    pair.metric.unit,
                    _standing(pair, told=False),
                )
            )
            continue
        rank = place[number]
        number += 1
        level = plan.alpha / (len(tested) - min(rank, told if told < len(tested) else rank))
        p_adjusted = next(adjusted_p)
        interval = pair.interval(plan, level)
        found.append(
            Comparison(
                pair.variant.name,
                pair.metric.name,
                _state(plan, pair, interval, rank < told),
                pair.difference,
                interval,
                1 - level,
                pair.p_value,
                p_adjusted,
                # Who looks once looks at the end of a test whose shares led there.
                None
                if pair.found is None or pair.sides is not None
                else welch(pair.found, plan.alpha),
                None,
                pair.metric.unit,
                _standing(pair, told=rank < told),
            )
        )
    return tuple(found)


def _state(plan: Plan, pair: _Pair, interval: Interval | None, told: bool) -> AbState:
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
    enough = pair.variant.units + pair.control.units >= plan.units
    return AbState.NO_DIFFERENCE if within or enough else AbState.COLLECTING


def _standing(pair: _Pair, *, told: bool) -> Standing | None:
    if pair.guardrail is None:
        return None
    if not (told and pair.beyond):
        return Standing.OPEN
    return Standing.HARMED if pair.worse else Standing.HELD


def _decided(
    plan: Plan, variants: Sequence[VariantSums], comparisons: Sequence[Comparison]
) -> tuple[AbState, str]:
    control = variants[0].name
    of_success = [one for one in comparisons if one.metric == plan.success_metric]
    told = [one for one in of_success if one.state in (AbState.BETTER, AbState.WORSE)]
    if told:
        # What is better comes first, then what is furthest away.
        best = max(told, key=lambda one: (one.state is AbState.BETTER, abs(one.difference or 0)))
        return best.state, _sentence(best, control) + _harm(comparisons)
    collecting = [one for one in of_success if one.state is AbState.COLLECTING]
    units = sum(one.units for one in variants)
    if collecting:
        reason = next((one.reason for one in collecting if one.reason), None)
        why = reason or f"{units} of {plan.units} units, and nothing is told yet"
        return AbState.COLLECTING, f"collecting: {why}" + _harm(comparisons)
    closest = max(of_success, key=lambda one: abs(one.difference or 0))
    return (
        AbState.NO_DIFFERENCE,
        f"no variant is told apart from {control}: {size_of(closest)} of {closest.variant}"
        + _harm(comparisons),
    )


def _sentence(one: Comparison, control: str) -> str:
    return f"{one.variant} is {one.state.value} than {control}: {size_of(one)}"


def _quantity(value: float, unit: str) -> str:
    return f"{100 * value:+.1f}" if unit == "share" else f"{value:+.3g}"


def _harm(comparisons: Sequence[Comparison]) -> str:
    harmed = [
        f"{one.metric} of {one.variant}" for one in comparisons if one.standing is Standing.HARMED
    ]
    return f"; but worse is {', '.join(harmed)}" if harmed else ""


def _best(plan: Plan, variants: Sequence[VariantSums]) -> dict[str, Posterior]:
    metric = plan.metric(plan.success_metric)
    if metric.kind is Kind.QUANTILE or any(_why_unknown(metric, one) for one in variants):
        return {}
    moments = [_sums(one, metric).moments for one in variants]
    if metric.name == COMPLETION_RATE:
        found = of_shares([_trials(one) for one in moments])
    else:
        estimates = [_estimate(metric, one) for one in moments]
        found = of_estimates(
            [one for one in estimates if one is not None],
            larger_is_better=metric.larger_is_better,
        )
    return {one.name: posterior for one, posterior in zip(variants, found, strict=True)}


def _trials(moments: Moments) -> tuple[int, int]:
    """(successes, tasks) of so many independent tasks as a variant's units are worth.

    Tasks of one unit are alike: their number is divided by the design effect, the variance of the
    rate over what it would be of independent ones (L. Kish, "Survey Sampling", 1965, section 8.2).
    """
    tasks, found = moments.n * moments.x, ratio(moments)
    if found is None:
        return 0, 0
    independent = found.value * (1 - found.value) / tasks
    effect = max(1.0, found.variance / independent) if independent > 0 else 1.0
    worth = round(tasks / effect)
    return min(worth, round(found.value * worth)), worth


def _outlook(
    plan: Plan, variants: Sequence[VariantSums], units_a_day: float | None
) -> Outlook | None:
    """By the control's and the first other variant's variances. None where shares change."""
    metric = plan.metric(plan.success_metric)
    if plan.allocation is not Allocation.FIXED:
        return None
    if metric.kind is Kind.QUANTILE or any(_why_unknown(metric, one) for one in variants[:2]):
        return None
    estimates = [_estimate(metric, _sums(one, metric).moments) for one in variants[:2]]
    control, other = (one for one in estimates if one is not None)
    spreads = control.variance * control.n, other.variance * other.n
    comparisons = len(_asked(plan)) * (len(variants) - 1)
    least = always_valid_effect(
        *spreads,
        control.n,
        other.n,
        planned=plan.units,
        power=plan.power,
        alpha=plan.alpha,
        comparisons=comparisons,
    )
    if plan.minimum_effect is None:
        return Outlook(least, None, None)
    needed = always_valid_units(
        *spreads,
        plan.minimum_effect,
        planned=plan.units,
        power=plan.power,
        alpha=plan.alpha,
        comparisons=comparisons,
    )
    if needed is None or units_a_day is None:
        return Outlook(least, needed, None)
    there = min(one.units for one in variants[:2])
    return Outlook(least, needed, days_left(needed, there, units_a_day / len(variants)))
