"""What one metric of one variant comes to, and why it may not be said. Pure."""

from __future__ import annotations

import math
from typing import Final

from shared.abtest.inference.estimates import (
    Estimate,
    Moments,
    cautious,
    cautious_share,
    mean,
    ratio,
)
from shared.abtest.inference.quantiles import confidence_sequence_of_quantile
from shared.abtest.inference.sequential import confidence_sequence, mixture_scale
from shared.abtest.metrics import AbMetric, Kind
from shared.abtest.plan import LEAST_UNITS, Plan
from shared.abtest.verdicts import MOST_UNKNOWN, MetricSums, VariantFigure, VariantSums
from shared.evaluation.intervals import Interval
from shared.telemetry.histograms import Histogram


def sums_of(one: VariantSums, metric: AbMetric) -> MetricSums:
    """Its sums; those of nobody where there are none."""
    return one.metrics.get(metric.name, MetricSums(Moments(0, 0.0, 0.0)))


def estimate(metric: AbMetric, moments: Moments) -> Estimate | None:
    """In the metric's unit, with the variance that its intervals hold with, also of few units."""
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


def why_unknown(metric: AbMetric, one: VariantSums) -> str | None:
    """Why nothing is said of this variant's metric; None if something can be."""
    sums = sums_of(one, metric)
    if metric.kind is Kind.QUANTILE:
        n = 0 if sums.spread is None else sums.spread.total
        return None if n >= LEAST_UNITS else f"{one.name} has {n} units with a value"
    known, unknown = sums.moments.n, sums.unknown
    if unknown > MOST_UNKNOWN * (known + unknown):
        return f"part of it is unknown of {unknown} of {known + unknown} units of {one.name}"
    if known < LEAST_UNITS:
        return f"{one.name} has {known} of at least {LEAST_UNITS} units"
    if estimate(metric, sums.moments) is None:
        return f"{one.name} has {_NONE_YET.get(metric.denominator or '', 'nothing to divide by')}"
    return None


def planned_of(plan: Plan, sides: int, variants: int) -> float:
    """Of the planned units those of so many `sides` of all `variants`.

    As if each had the same share: what intervals are made narrowest for has to be settled before
    the data are seen, and weights may change.
    """
    return plan.units * sides / variants


def figure_of(plan: Plan, metric: AbMetric, one: VariantSums, variants: int) -> VariantFigure:
    """The figure of one of so many `variants`."""
    sums = sums_of(one, metric)
    reason = why_unknown(metric, one)
    unit, capped = metric.unit, sums.capped if metric.name in plan.winsorize else None
    if metric.kind is Kind.QUANTILE:
        spread = sums.spread or Histogram.empty()
        if reason is not None:
            return VariantFigure(one.name, metric.name, spread.total, None, None, reason, unit)
        assert metric.quantile is not None
        value = spread.quantile(metric.quantile)
        ends = scaled(confidence_sequence_of_quantile(spread, metric.quantile, plan.alpha), metric)
        assert value is not None
        return VariantFigure(
            one.name, metric.name, spread.total, value * metric.scale, ends, unit=unit
        )
    found = estimate(metric, sums.moments)
    if reason is not None or found is None:
        n = sums.moments.n
        return VariantFigure(one.name, metric.name, n, None, None, reason, unit, capped)
    rho = mixture_scale(planned_of(plan, 1, variants), plan.alpha)
    interval = confidence_sequence(found, rho, plan.alpha)
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


def scaled(interval: Interval | None, metric: AbMetric) -> Interval | None:
    """An interval of the stored numbers in the metric's unit."""
    return None if interval is None else Interval(*(end * metric.scale for end in interval))
