"""What is settled before an A/B test begins: the options that say it, and how it is shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.abtest_results import amount
from mlops.console import Exit, Json, complain, one_line_errors, print_json, say

if TYPE_CHECKING:
    from shared.abtest.plan import Cap, Guardrail, Plan
    from shared.abtest.verdicts import Verdict

Guardrails = Annotated[
    list[str] | None,
    typer.Option(
        "--guardrail",
        help="METRIC that must not get worse, or METRIC:MARGIN in its unit, or METRIC:5%; `none`"
        " for none. Without any: error_rate, llm_latency and cost_per_unit.",
    ),
]
MinimumEffect = Annotated[
    float | None,
    typer.Option(help="The least difference that matters, in the metric's unit: 0.02 is 2 points."),
]
Units = Annotated[
    int | None, typer.Option(help="Of all variants together, planned: 5,000 unless given.")
]
Alpha = Annotated[float | None, typer.Option(help="The chance of a wrong call: 0.05 unless given.")]
Power = Annotated[
    float | None, typer.Option(help="The chance to see what matters: 0.8 unless given.")
]
Pausing = Annotated[
    bool | None,
    typer.Option(
        "--pause-when-harmed/--no-pause",
        help="Whether a guardrail that is harmed pauses the test.",
    ),
]
Winsorize = Annotated[
    list[str] | None,
    typer.Option(
        help="METRIC=CAP: what a unit brings above the cap counts as the cap. A number in the"
        " metric's unit, or p99 of what units did in the 28 days before the start."
    ),
]
OwnMetrics = Annotated[
    list[str] | None,
    typer.Option(
        "--own-metric",
        help="NAME=A/B:smaller (or :larger, whichever is better): the sum of A over the sum of B;"
        " without /B it is the mean of A over the units.",
    ),
]


def planned(
    guardrail: Sequence[str] | None,
    minimum_effect: float | None,
    units: int | None,
    alpha: float | None,
    power: float | None,
    pause_when_harmed: bool | None,
    winsorize: Sequence[str] | None,
    own_metric: Sequence[str] | None,
) -> dict[str, Any]:
    """What was given of a plan, as `plan.Plan` has it."""
    given: dict[str, Any] = {
        "minimum_effect": minimum_effect,
        "units": units,
        "alpha": alpha,
        "power": power,
        "pause_when_harmed": pause_when_harmed,
    }
    if guardrail:
        given["guardrails"] = [] if list(guardrail) == ["none"] else list(guardrail)
    if winsorize:
        given["winsorize"] = dict(_cap(text) for text in winsorize)
    if own_metric:
        given["metrics"] = [_own_metric(text) for text in own_metric]
    return {name: value for name, value in given.items() if value is not None}


def _cap(text: str) -> tuple[str, str]:
    metric, _, cap = text.partition("=")
    if not (metric and cap):
        raise complain(
            f"cap {text[:100]!r} is not METRIC=CAP, such as cost_per_unit=p99 or llm_latency=30",
            Exit.USAGE,
        )
    return metric, cap


def _own_metric(text: str) -> dict[str, Any]:
    name, _, rest = text.partition("=")
    of, _, better = rest.rpartition(":")
    numerator, slash, denominator = of.partition("/")
    if not (name and numerator and better in ("larger", "smaller")):
        raise complain(
            f"own metric {text[:100]!r} is not NAME=NUMERATOR/DENOMINATOR:smaller, such as"
            " retries_per_task=attempts/tasks:smaller",
            Exit.USAGE,
        )
    return {
        "name": name,
        "numerator": numerator,
        "denominator": denominator if slash else None,
        "larger_is_better": better == "larger",
    }


def print_plan(plan: Plan, found: Verdict, paused_by: Collection[tuple[str, str]]) -> None:
    """What was settled, with how each guardrail stands and how many units are above each cap.

    `paused_by` are the guardrails that have paused the test, as (variant, metric).
    """
    unit = plan.metric(plan.success_metric).unit
    effect = plan.minimum_effect
    matters = "" if effect is None else f", where {amount(effect, unit)} matter"
    say(
        f"plan: compared by {plan.success_metric}{matters}; {plan.units} units in all, alpha"
        f" {100 * plan.alpha:.4g} %, power {100 * plan.power:.4g} %"
    )
    if plan.guardrails:
        pausing = "; one that is harmed pauses the test" if plan.pause_when_harmed else ""
        told = ", ".join(_guardrail(plan, one, found) for one in plan.guardrails)
        say(f"guardrails: {told}{pausing}")
    if paused_by:
        harms = ", ".join(f"{metric} of {variant}" for variant, metric in sorted(paused_by))
        say(f"it was paused because {harms} was harmed; whoever resumes it is not asked again")
    for name, cap in plan.winsorize.items():
        above = [
            f"{one.capped} units of {one.variant}"
            for one in found.figures
            # Until the test starts nothing is settled that a unit could be above.
            if one.metric == name and one.capped is not None and cap.at is not None
        ]
        say(
            f"{name} is capped at {_cap_of(plan, name, cap)}"
            + (f"; above are {', '.join(above)}" if above else "")
        )
    for own in plan.metrics:
        better = "larger" if own.larger_is_better else "smaller"
        say(f"{own.name} is {own.numerator} per {own.denominator or 'unit'}; {better} is better")


def _guardrail(plan: Plan, guardrail: Guardrail, found: Verdict) -> str:
    unit = plan.metric(guardrail.metric).unit
    tolerated = ""
    if guardrail.relative_margin is not None:
        tolerated = f"{100 * guardrail.relative_margin:.4g} % tolerated, "
    elif guardrail.margin:
        tolerated = f"{amount(guardrail.margin, unit)} tolerated, "
    compared = [one for one in found.comparisons if one.metric == guardrail.metric]
    harmed = [one.variant for one in compared if one.standing == "harmed"]
    if harmed:
        standing = f"harmed by {', '.join(harmed)}"
    else:
        held = compared and all(one.standing == "held" for one in compared)
        standing = "held" if held else "open"
    return f"{guardrail.metric} ({tolerated}{standing})"


def _cap_of(plan: Plan, name: str, cap: Cap) -> str:
    metric = plan.metric(name)
    of_units = "" if cap.of_units is None else f" of {cap.of_units} units"
    percentile = "" if cap.quantile is None else f"p{100 * cap.quantile:.6g}"
    before = f"{percentile}{of_units} in the 28 days before"
    if cap.at is None:
        if cap.value is None:
            return f"{before} its start"
        return f"{cap.value:.6g} {metric.unit}"
    return f"{cap.at * metric.scale:.6g} {metric.unit}" + (f" ({before})" if percentile else "")


def power(
    effect: Annotated[
        float | None,
        typer.Option(help="The difference to be shown, in the metric's unit: 0.02 is 2 points."),
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(help="Of each variant, to say what they can show instead of an effect."),
    ] = None,
    baseline: Annotated[
        float | None, typer.Option(help="The control's share, 0 to 1, such as its success rate.")
    ] = None,
    deviation: Annotated[
        float | None,
        typer.Option(help="Of a mean: the standard deviation over units, instead of a baseline."),
    ] = None,
    power: Annotated[float, typer.Option(help="The chance to see it.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="The chance of a wrong call.")] = 0.05,
    units_a_day: Annotated[
        float | None, typer.Option(help="Of both variants together, to say how long it takes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how many units a difference takes, or what so many units can show.

    Example: mlops ab power --baseline 0.10 --effect 0.02
    """
    with one_line_errors():
        from shared.abtest.inference import power as planning

        try:
            found = planning.sized(
                baseline=baseline,
                deviation=deviation,
                effect=effect,
                units=units,
                power=power,
                alpha=alpha,
            )
            days = None if units_a_day is None else planning.days(2 * found.units, units_a_day)
        except ValueError as error:
            raise complain(str(error), Exit.USAGE) from None
    if as_json:
        print_json(
            {
                "units_of_each_variant": found.units,
                "units_at_any_time": found.units_at_any_time,
                "effect": found.effect,
                "power": power,
                "alpha": alpha,
                "days": days,
            }
        )
        return
    size = f"{found.effect:.4g}" if baseline is None else f"{100 * found.effect:.4g} points"
    shown = (
        f"{found.units} units of each variant show a difference of {size}"
        if effect is None
        else f"a difference of {size} takes {found.units} units of each variant"
    )
    say(
        f"{shown}, in one look at the end, with a power of {100 * power:.4g} % at alpha"
        f" {100 * alpha:.4g} %"
    )
    if found.units_at_any_time is not None:
        say(
            f"looked at again and again, beside three guardrails: {found.units_at_any_time} of"
            f" each, so --units {2 * found.units_at_any_time}"
        )
    if days is not None:
        say(f"{days:.1f} days at {units_a_day:.6g} units a day of both together")
