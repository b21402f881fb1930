"""What a test can show by now, and how long it takes until it can show what matters. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.abtest.comparing import Pair
from shared.abtest.figures import planned_of
from shared.abtest.inference.power import (
    always_valid_effect,
    always_valid_units,
    days_left,
)
from shared.abtest.plan import Plan
from shared.abtest.verdicts import Outlook, VariantSums


def outlook_of(
    plan: Plan,
    variants: Sequence[VariantSums],
    pairs: Sequence[Pair],
    units_a_day: float | None,
) -> Outlook | None:
    """By the variances that the comparisons by the success metric have.

    None where the shares follow the results, of a quantile, and where nothing can be said yet.
    `units_a_day` are of all variants together.
    """
    asked = [one for one in pairs if one.metric.name == plan.success_metric]
    if any(one.sides is None or one.follows for one in asked):
        return None
    planned = planned_of(plan, 2, len(variants))
    whole = math.fsum(one.weight for one in variants)
    least: list[float | None] = []
    needed: list[float] = []
    for one in asked:
        assert one.sides is not None
        treated, control = one.sides
        spreads = control.variance * control.n, treated.variance * treated.n
        least.append(
            always_valid_effect(
                *spreads,
                control.n,
                treated.n,
                planned=planned,
                power=plan.power,
                alpha=plan.alpha,
                comparisons=len(pairs),
            )
        )
        # Who gets nobody any more is as well known as it will be.
        if plan.minimum_effect is None or not (one.control.weight and one.variant.weight):
            continue
        of_control = always_valid_units(
            *spreads,
            plan.minimum_effect,
            planned=planned,
            power=plan.power,
            alpha=plan.alpha,
            comparisons=len(pairs),
            ratio=one.variant.weight / one.control.weight,
        )
        needed.append(math.inf if of_control is None else of_control * whole / one.control.weight)
    effect = max((one for one in least if one is not None), default=None)
    # What no number of units that is known shows is not known.
    if not needed or math.isinf(max(needed)):
        return Outlook(effect, None, None)
    there, of_all = sum(one.units for one in variants), math.ceil(max(needed))
    days = None if units_a_day is None else days_left(of_all, there, units_a_day)
    return Outlook(effect, of_all, days)
