"""`mlops model compare`: versions side by side, what they are and what was measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Json, looking_up, one_line_errors, print_json, print_table, say
from mlops.models.showing import stated_lines
from shared.money import NANOS, call_count, dollars

if TYPE_CHECKING:
    from mlops.model_registry import ModelComparison
    from mlops.models.registered import RegisteredModel
    from shared.evaluation.results.amounts import AmountDifference
    from shared.evaluation.results.versions import Difference, Measured

Benchmark = Annotated[str, typer.Option(help="Only what was scored on this benchmark.")]


def register(app: typer.Typer) -> None:
    app.command()(compare)


@one_line_errors()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL_ID...", help="Two or more; the first is the base."),
    ],
    benchmark: Benchmark = "",
    as_json: Json = False,
) -> None:
    """Compare versions: their parameters, and success, cost and time where tasks and seeds match.

    Example: mlops model compare mini@1.0.0 mini@1.1.0
    """
    from mlops.model_registry import ModelRegistry

    registry = ModelRegistry()
    with looking_up():
        found = [str(registry.get_model(one).id) for one in models]
    compared = registry.compare_models(*found, benchmark=benchmark)
    if as_json:
        print_json(_fields(compared))
        return
    _print_models(compared.models)
    print_measured(compared.measured, compared.simulated)
    base = compared.models[0].model
    for name, difference in compared.differences.items():
        _print_difference(base, name, difference, simulated=bool(compared.simulated))
    if len(compared.differences) > 1:
        say(f"p is adjusted for {len(compared.differences)} comparisons (Holm); intervals are not")


def print_measured(measured: Mapping[str, Measured], simulated: frozenset[str]) -> None:
    """A line for each version; what is not known is said and not left out."""
    from mlops.evaluations.figures import bounds

    print_table(
        ["model", "success (95 %)", "cost a task (95 %)", "seconds a task (95 %)", "n", "tasks"],
        [
            (
                name,
                _success(one),
                cost_of(one, simulated=name in simulated),
                None
                if one.seconds.value is None
                else _with(f"{one.seconds.value:.2f}", bounds(one.seconds.interval, 1, 2)),
                one.units,
                one.tasks,
            )
            for name, one in measured.items()
        ],
        title="measured; n is tasks and seeds, of each the newest score; 95 % for tasks like these",
    )


def _success(one: Measured) -> str:
    from mlops.evaluations.figures import bounds, percent

    if one.success.rate is None:
        return "not evaluated"
    interval = one.success.clustered or one.success.interval
    return _with(percent(one.success.rate), bounds(interval))


def cost_of(one: Measured, *, simulated: bool) -> str | None:
    """`$0.0021 ($0.0018 to $0.0025)`, or why it is not known; None where nothing was played."""
    cost = one.cost_nanos
    if cost.unknown:
        return f"unknown: {call_count(cost.unknown)} without a price"
    if cost.value is None:
        return None
    if not one.llm_calls:
        return "no calls"
    marked = " (simulated)" if simulated else ""
    low_high = cost.interval and f"{dollars(cost.interval.low)} to {dollars(cost.interval.high)}"
    return _with(dollars(cost.value) + marked, low_high)


def _with(value: str | None, interval: str | None) -> str:
    return f"{value} ({interval})" if interval else str(value)


def _print_models(models: Sequence[RegisteredModel]) -> None:
    """What they are, one line for each thing that one of them has."""
    columns = [_described(one) for one in models]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name) for column in columns)) for name in names]
    print_table(["", *(one.model for one in models)], rows)


def _described(one: RegisteredModel) -> dict[str, str]:
    lines = {
        "stage": one.stage.value,
        "aliases": ", ".join(one.aliases),
        "agent": one.agent,
        **{name: _text(value) for name, value in sorted(one.parameters.items())},
        "description": one.description,
        "made from": one.parent or "",
        "dataset version": one.dataset_version or "",
        "prompt version": one.prompt_version or "",
        **{f"stated {name}": said for name, said in stated_lines(one).items()},
    }
    return {name: text for name, text in lines.items() if text}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _print_difference(base: str, other: str, found: Difference, *, simulated: bool) -> None:
    from mlops.evaluations.comparing import sentence

    pairs = found.success.pairs
    say(f"{other} against {base}, on {pairs:,} tasks and seeds that both have")
    p = "" if found.success.p_value is None else f", p = {found.success.p_value:.2g}"
    say(f"  success: {sentence(other, found.success)}{p}")
    if not pairs:
        return
    marked = " (simulated)" if simulated else ""
    for words, amount, unit, form in (
        (f"dollars a task{marked}", found.cost_nanos, NANOS, "{:.5f}"),
        ("seconds a task", found.milliseconds, 1000, "{:.2f}"),
    ):
        say(f"  {words}: {_amount(amount, unit, form)}")


def _amount(found: AmountDifference, unit: int, form: str) -> str:
    """`0.004 to 0.003: -0.001 (-0.002 to -0.0005)`, or that it is not known."""
    if found.base_mean is None or found.other_mean is None or found.difference is None:
        return "unknown in every pair"
    before, after = (form.format(mean / unit) for mean in (found.base_mean, found.other_mean))
    text = f"{before} to {after}: {form.replace(':', ':+').format(found.difference / unit)}"
    if found.interval is not None:
        low, high = (form.format(end / unit) for end in found.interval)
        text += f" ({low} to {high})"
    return text + (f", unknown in {found.left_out:,} pairs" if found.left_out else "")


def _fields(compared: ModelComparison) -> dict[str, Any]:
    return {
        "models": [one.fields for one in compared.models],
        "measured": {name: asdict(one) for name, one in compared.measured.items()},
        "simulated": sorted(compared.simulated),
        "differences": {
            name: asdict(one) | {"finding": one.success.finding.value}
            for name, one in compared.differences.items()
        },
    }
