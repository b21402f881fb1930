"""What an A/B test has shown, as tables and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops.console import print_table, say

if TYPE_CHECKING:
    from shared.abtest.verdicts import Comparison, Verdict
    from shared.evaluation.intervals import Interval


def print_verdict(found: Verdict) -> None:
    """What the units of each variant did, metric by metric, beside the control's."""
    compared = {(one.variant, one.metric): one for one in found.comparisons}
    print_table(
        ["metric", "variant", "units", "value (interval)", "to the control", "p", "verdict"],
        [
            (
                figure.metric,
                figure.variant,
                figure.units,
                figure.reason or with_interval(figure.value, figure.interval, figure.unit),
                *_compared(compared.get((figure.variant, figure.metric))),
            )
            for figure in found.figures
        ],
    )
    for name, posterior in found.best.items():
        say(
            f"{name} is the best with a probability of {posterior.probability_best:.1%};"
            f" choosing it loses {posterior.expected_loss:.3g} on average if it is not"
        )
    _print_outlook(found)
    if found.sample_ratio_sequential_p is None:
        say("sample ratio: the weights have changed, or only one variant gets units: not tested")
    else:
        always, once = found.sample_ratio_sequential_p, found.sample_ratio_p
        say(
            f"sample ratio: p = {always:.2g} that the units follow the weights, whenever one looks"
            + ("" if once is None else f" ({once:.2g} for one look)")
        )
    for remark in found.remarks:
        say(remark)


def _print_outlook(found: Verdict) -> None:
    outlook = found.outlook
    if outlook is None or outlook.minimum_detectable_effect is None:
        return
    least = amount(outlook.minimum_detectable_effect, found.figures[0].unit)
    parts = [f"by now a difference of {least} would be told"]
    if outlook.required_units is not None:
        parts.append(f"what matters takes {outlook.required_units} units of each variant")
    if outlook.days_left is not None:
        parts.append(f"{outlook.days_left:.1f} days more at the rate so far")
    say("; ".join(parts))


def amount(value: float, unit: str) -> str:
    """A difference without its sign, with its unit."""
    return f"{100 * value:.3g} points" if unit == "share" else f"{value:.3g} {unit}"


def _compared(one: Comparison | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    if one.difference is None or one.p_adjusted is None:
        return "", "", one.state.value
    return (
        with_interval(one.difference, one.interval, one.unit, sign="+"),
        f"{one.p_adjusted:.2g}",
        one.state.value,
    )


def with_interval(value: float | None, interval: Interval | None, unit: str, sign: str = "") -> str:
    if value is None:
        return "unknown"
    times = 1.0
    if unit == "share":
        unit, times = "%" if not sign else "points", 100.0
    shown = f"{value * times:{sign}.4g}"
    if interval is not None:
        low, high = (end * times for end in interval)
        shown += f" ({low:{sign}.4g} to {high:{sign}.4g})"
    return f"{shown} {unit}"
