"""Prompts that are far longer than those of the same function usually are.

Two things are told apart, from histograms alone: single calls far above the median of their own
model and function, and a model that sends far more to a function than the others do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.costs.advice.caching import input_nanos
from shared.costs.advice.observed import RecentCalls, Traffic
from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Figure,
    Kind,
    Saving,
    Section,
    unknown,
)
from shared.costs.prices import PriceTable, Unpriced
from shared.evaluation.intervals import Interval, quantile_interval
from shared.telemetry.histograms import Histogram

LEAST_CALLS: Final = 100
FAR_ABOVE_OWN: Final = 4.0
"Times the median of the model in the function: longer calls are counted."
FAR_ABOVE_OTHERS: Final = 2.0
"Times the median of the function's other models: half as much again is another tokenizer's work."
LEAST_SHARE: Final = 0.1
"Of what is sent: a smaller excess is not worth a look."


class _Against(StrEnum):
    OWN = "its own median"
    OTHERS = "the median of the function's other models"


@dataclass(frozen=True)
class _Measured:
    """What is compared: characters where they are reported, else tokens with the answer's."""

    what: str
    unit: str
    own: Histogram
    others: Histogram


@dataclass(frozen=True)
class _Excess:
    against: _Against
    share: float
    "Of all that is sent, above the reference, in calls that are far above it."
    interval: Interval | None
    reference: float
    reference_interval: Interval | None
    n_reference: int
    calls: int
    "That are far above it."


def long_prompts(
    traffic: Sequence[Traffic], recent: RecentCalls, prices: PriceTable, at: datetime
) -> Section:
    """Models and functions of which a tenth or more of the input is far above what is usual.

    The saving is that share of what the input costs, if these calls were brought to the median:
    an estimate where other models show that the function can be done with less, else at most that.
    """
    by_function: defaultdict[str, list[Traffic]] = defaultdict(list)
    for each in traffic:
        if each.sums.llm_calls:
            by_function[each.function].append(each)
    advice: list[Advice] = []
    missing: list[str] = []
    looked = 0
    for function, models in by_function.items():
        for own in models:
            measured = _measured(own, [other for other in models if other is not own])
            if measured is None:
                if own.sums.llm_calls >= LEAST_CALLS:
                    missing.append(
                        f"{own.model} in {function}: fewer than {LEAST_CALLS} calls say how long"
                        " their prompts are (query_length, or tokens)"
                    )
                continue
            looked += 1
            excess = _excess(measured)
            if excess is not None:
                advice.append(_advise(own, measured, excess, recent, prices, at))
    return Section(
        Kind.LONG_PROMPTS,
        tuple(advice),
        f"{looked} pairs of model and function with {LEAST_CALLS} calls or more",
        tuple(missing),
    )


def excess_share(sent: Histogram, reference: float, above: float) -> float:
    """The share of all that was sent which lies above `reference`, in calls beyond `above`.

    0 for a histogram of nothing.
    """
    values, counts = sent.values, sent.counts
    far = values > above
    whole = float((values * counts).sum())
    return float(((values[far] - reference) * counts[far]).sum()) / whole if whole else 0.0


def _measured(own: Traffic, others: Sequence[Traffic]) -> _Measured | None:
    if own.query_length.total >= LEAST_CALLS:
        sums = Histogram.sum(other.query_length for other in others)
        return _Measured("characters of a prompt", "characters", own.query_length, sums)
    if own.tokens.total >= LEAST_CALLS:
        sums = Histogram.sum(other.tokens for other in others)
        return _Measured("tokens of a call, its answer included", "tokens", own.tokens, sums)
    return None


def _excess(measured: _Measured) -> _Excess | None:
    median = measured.own.quantile(0.5) or 0.0
    found = [_above(measured, _Against.OWN, measured.own, FAR_ABOVE_OWN)]
    if measured.others.total >= LEAST_CALLS:
        usual = measured.others.quantile(0.5) or 0.0
        if usual and median > FAR_ABOVE_OTHERS * usual:
            found.append(_above(measured, _Against.OTHERS, measured.others, FAR_ABOVE_OTHERS))
    best = max(found, key=lambda excess: excess.share)
    return best if best.share >= LEAST_SHARE and best.reference else None


def _above(measured: _Measured, against: _Against, usual: Histogram, times: float) -> _Excess:
    reference = usual.quantile(0.5) or 0.0
    interval = quantile_interval(usual, 0.5)

    def share(median: float) -> float:
        return excess_share(measured.own, median, times * median)

    return _Excess(
        against,
        share(reference),
        # The longer what is usual, the less is above it.
        None if interval is None else Interval(share(interval.high), share(interval.low)),
        reference,
        interval,
        usual.total,
        int(measured.own.counts[measured.own.values > times * reference].sum()),
    )


def _advise(
    own: Traffic,
    measured: _Measured,
    excess: _Excess,
    recent: RecentCalls,
    prices: PriceTable,
    at: datetime,
) -> Advice:
    groups = [
        group
        for group in recent.groups
        if (group.model, group.function) == (own.model, own.function)
    ]
    saving, simulated = (
        unknown("none of its calls is still stored, so their rates are unknown"),
        False,
    )
    if groups:
        cost = input_nanos(groups, prices, at, recent.span)
        if isinstance(cost, Unpriced):
            saving = unknown(cost.reason)
        else:
            saving, simulated = _saving(excess, cost[0]), cost[1]
    total = measured.own.total
    figures = [
        Figure(
            f"median {measured.what}",
            measured.own.quantile(0.5) or 0.0,
            measured.unit,
            total,
            "rollups",
            quantile_interval(measured.own, 0.5),
        ),
        Figure("calls far above it", excess.calls / total, "share", total, "rollups"),
        Figure(
            "of all that is sent, beyond it in these calls",
            excess.share,
            "share",
            total,
            "rollups",
            excess.interval,
        ),
    ]
    if excess.against is _Against.OTHERS:
        others = Figure(
            str(excess.against),
            excess.reference,
            measured.unit,
            excess.n_reference,
            "rollups",
            excess.reference_interval,
        )
        figures.insert(1, others)
    return Advice(
        Kind.LONG_PROMPTS,
        own.model,
        own.function,
        saving,
        tuple(figures),
        f"Shorten the longest prompts of {own.model} in {own.function}: {excess.calls:,} of"
        f" {total:,} calls send far more than {excess.against} of {excess.reference:,.0f}"
        f" {measured.unit}, and {100 * excess.share:.0f} % of all that is sent is beyond it. Look"
        " at what fills them: whole pages, histories that only grow, tool results that are kept.",
        simulated,
    )


def _saving(excess: _Excess, input_cost: int) -> Saving:
    nanos = round(excess.share * input_cost)
    said = f"if these calls were brought to {excess.against}: their share of what the input costs"
    if excess.against is _Against.OWN:
        # Nothing shows that the function can be done with less: long ones may have to be long.
        said += "; how much of it can be left out is not known"
        return Saving(Certainty.AT_MOST, nanos, Interval(0, nanos), f"from nothing to this, {said}")
    if excess.interval is None:
        return Saving(Certainty.ESTIMATE, nanos, None, said)
    low, high = (round(bound * input_cost) for bound in excess.interval)
    said += "; the interval is that of the median"
    return Saving(Certainty.ESTIMATE, nanos, Interval(low, high), said)
