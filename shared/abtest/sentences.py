"""What is said of a test in words, beside its figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from shared.abtest.allocation import Allocation
from shared.abtest.plan import Plan
from shared.abtest.verdicts import AbState, Comparison, Outlook, Standing, VariantSums


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


def decided(
    plan: Plan, variants: Sequence[VariantSums], comparisons: Sequence[Comparison]
) -> tuple[AbState, str]:
    """What the comparisons by the success metric come to, and harm beside them."""
    state, sentence = _of_success(
        plan, variants, [one for one in comparisons if one.metric == plan.success_metric]
    )
    harmed = [
        f"{one.metric} of {one.variant}" for one in comparisons if one.standing is Standing.HARMED
    ]
    return state, sentence + (f"; but worse is {', '.join(harmed)}" if harmed else "")


def _of_success(
    plan: Plan, variants: Sequence[VariantSums], comparisons: Sequence[Comparison]
) -> tuple[AbState, str]:
    control, units = variants[0].name, sum(one.units for one in variants)

    def furthest(*states: AbState) -> Comparison | None:
        there = [one for one in comparisons if one.state in states]
        return max(there, key=lambda one: abs(one.difference or 0.0), default=None)

    told = furthest(AbState.BETTER) or furthest(AbState.WORSE)
    if told is not None:
        return told.state, f"{told.variant} is {told.state} than {control}: {size_of(told)}"
    collecting = [one for one in comparisons if one.state is AbState.COLLECTING]
    if collecting:
        reason = next((one.reason for one in collecting if one.reason), None)
        why = reason or f"{units} of {plan.units} units, and nothing is told yet"
        return AbState.COLLECTING, f"collecting: {why}"
    undecided = furthest(AbState.UNDECIDED)
    if undecided is not None:
        return (
            AbState.UNDECIDED,
            f"undecided at {units} of {plan.units} planned units: {size_of(undecided)} of"
            f" {undecided.variant}",
        )
    alike = furthest(AbState.NO_DIFFERENCE)
    assert alike is not None
    assert plan.minimum_effect is not None
    matters = _amount(plan.minimum_effect, alike.unit)
    return (
        AbState.NO_DIFFERENCE,
        f"no variant is {matters} or more apart from {control}: {size_of(alike)} of"
        f" {alike.variant}",
    )


def remarks_on(plan: Plan, *, split_changed: bool) -> tuple[str, ...]:
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


def remarks_on_size(plan: Plan, outlook: Outlook | None) -> tuple[str, ...]:
    """That more units are needed than were planned, as far as is known by now."""
    needed = None if outlook is None else outlook.required_units
    if needed is None or plan.minimum_effect is None or needed <= plan.units:
        return ()
    matters = _amount(plan.minimum_effect, plan.metric(plan.success_metric).unit)
    return (
        f"{plan.units} units are planned, and it takes {needed} of all variants together to show a"
        f" difference of {matters} with a power of {100 * plan.power:.4g} %: before that the test"
        " may well be undecided",
    )


def _quantity(value: float, unit: str) -> str:
    return f"{100 * value:+.1f}" if unit == "share" else f"{value:+.3g}"


def _amount(value: float, unit: str) -> str:
    return f"{100 * value:.4g} points" if unit == "share" else f"{value:.4g} {unit}"
