"""What an A/B test has shown, as tables and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops.console import print_table, say

if TYPE_CHECKING:
    from shared.abtest.verdicts import Comparison, Verdict
    from shared.evaluation.intervals import Interval


def print_verdict(found: Verdict) -> None:
    """What the units of each variant did, metric by metric, beside the control's."""
    from shared.abtest.verdicts import MISMATCH_BELOW

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
        loss = amount(posterior.expected_loss, found.figures[0].unit)
        say(
            f"{name} is the best with a probability of {posterior.probability_best:.1%};"
            f" choosing it costs {loss} on average, over all that is possible"
        )
    _print_outlook(found)
    if found.sample_ratio_sequential_p is None:
        say("sample ratio: the weights have changed, or only one variant gets units: not tested")
    else:
        always, once = found.sample_ratio_sequential_p, found.sample_ratio_p
        say(
            f"sample ratio {'as intended' if always >= MISMATCH_BELOW else 'not as intended'}"
            f" (p = {always:.2g}, whenever one looks"
            + (")" if once is None else f"; {once:.2g} for one look)")
        )
    for remark in found.remarks:
        say(remark)


def sentence(status: str, winner: str | None, state: str, verdict: str) -> str:
    """The verdict of a test in this state: of one that has ended it is what has become of it."""
    if status in ("draft", "running"):
        return verdict
    ended = status if winner is None else f"{status} with {winner}"
    if status == "paused" or state != "collecting":
        return f"{ended}; {verdict}"
    undecided = verdict.replace("collecting: ", "undecided: ", 1)
    return f"{ended}, {undecided.replace('nothing is told yet', 'nothing was told')}"


def warnings(found: Verdict, winner: str) -> list[str]:
    """What speaks against a winner, a line for each."""
    from shared.abtest.sentences import size_of
    from shared.abtest.verdicts import AbState, Standing

    success = found.figures[0].metric if found.figures else None
    told = []
    for one in found.comparisons:
        if one.variant != winner:
            continue
        if one.standing is Standing.HARMED:
            told.append(f"{winner} harms the guardrail {one.metric}: {size_of(one)}")
        elif one.metric == success and one.state is AbState.WORSE:
            told.append(f"{winner} is worse than the control: {size_of(one)}")
    return told


def _print_outlook(found: Verdict) -> None:
    outlook = found.outlook
    if outlook is None or outlook.minimum_detectable_effect is None:
        return
    least = amount(outlook.minimum_detectable_effect, found.figures[0].unit)
    parts = [f"by now a difference of {least} would be told"]
    if outlook.required_units is not None:
        parts.append(f"what matters takes {outlook.required_units} units in all")
    if outlook.days_left is not None:
        parts.append(f"{outlook.days_left:.1f} days more at the rate of the last day")
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
