"""The verdict of an A/B test from the sums of its variants. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.abtest.comparing import compared, pairs_of
from shared.abtest.figures import estimate, figure_of, sums_of, why_unknown
from shared.abtest.inference.bayes import Posterior, of_estimates, of_shares
from shared.abtest.inference.estimates import Moments, ratio
from shared.abtest.inference.sample_ratio import sample_ratio_p, sequential_sample_ratio_p
from shared.abtest.metrics import COMPLETION_RATE, Kind
from shared.abtest.outlook import outlook_of
from shared.abtest.plan import Plan
from shared.abtest.sentences import decided, remarks_on, remarks_on_size
from shared.abtest.verdicts import (
    MISMATCH_BELOW,
    MOST_MIXED,
    AbState,
    Standing,
    VariantSums,
    Verdict,
)


def judge(
    plan: Plan,
    variants: Sequence[VariantSums],
    *,
    split_changed: bool = False,
    units_by_other_shares: int | None = None,
    units_a_day: float | None = None,
) -> Verdict:
    """The verdict of the units so far. ValueError for fewer than two variants.

    `split_changed`: after a change of weights there is no one ratio to hold the units to. No more
    than `units_by_other_shares` came by other shares than the present ones; None is not known.
    """
    if len(variants) < 2:
        raise ValueError(f"{len(variants)} variants; expected 2 or more")
    units = sum(one.units for one in variants)
    once, always = (None, None) if split_changed else _sample_ratio(variants, units_by_other_shares)
    held = Verdict(
        AbState.INVALID,
        "",
        units,
        once,
        always,
        units_of={one.name: one.units for one in variants},
        remarks=remarks_on(plan, split_changed=split_changed),
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
    pairs = pairs_of(plan, variants)
    comparisons = compared(plan, pairs, units)
    state, sentence = decided(plan, variants, comparisons)
    outlook = outlook_of(plan, variants, pairs, units_a_day)
    return replace(
        held,
        state=state,
        verdict=sentence,
        figures=tuple(
            figure_of(plan, plan.metric(name), one, len(variants))
            for name in plan.compared
            for one in variants
        ),
        comparisons=comparisons,
        harmed=tuple(
            (one.variant, one.metric) for one in comparisons if one.standing is Standing.HARMED
        ),
        best=_best(plan, variants),
        outlook=outlook,
        remarks=(*held.remarks, *remarks_on_size(plan, outlook)),
    )


def _sample_ratio(
    variants: Sequence[VariantSums], earlier: int | None
) -> tuple[float | None, float | None]:
    """For one look, which knows one split only, and for as many as one likes."""
    counts, weights = [one.units for one in variants], [one.weight for one in variants]
    if all(one.most is None for one in variants):
        return sample_ratio_p(counts, weights), sequential_sample_ratio_p(counts, weights)
    most = [one.weight if one.most is None else one.most for one in variants]
    return None, sequential_sample_ratio_p(counts, weights, most, earlier)


def _mixed(variants: Sequence[VariantSums]) -> str | None:
    mixed = sum(one.mixed for one in variants)
    total = mixed + sum(one.units for one in variants)
    if not mixed or mixed <= MOST_MIXED * total:
        return None
    return (
        f"{mixed} of {total} units were given two variants: the assignment cannot be trusted,"
        " and no figure is shown"
    )


def _best(plan: Plan, variants: Sequence[VariantSums]) -> dict[str, Posterior]:
    metric = plan.metric(plan.success_metric)
    if metric.kind is Kind.QUANTILE or any(why_unknown(metric, one) for one in variants):
        return {}
    moments = [sums_of(one, metric).moments for one in variants]
    if metric.name == COMPLETION_RATE:
        found = of_shares([_trials(one) for one in moments])
    else:
        estimates = [estimate(metric, one) for one in moments]
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
