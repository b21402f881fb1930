"""`mlops model rank`: versions by a weighted score, and which no other beats in everything."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    looking_up,
    one_line_errors,
    print_json,
    print_table,
    say,
)
from mlops.models.comparing import Benchmark, cost_of

if TYPE_CHECKING:
    from mlops.model_registry import ModelRanking
    from shared.registry.ranking import Ranked

_MISSING = {"success": "not evaluated", "cost": "cost", "latency": "time"}


def register(app: typer.Typer) -> None:
    app.command()(rank)


@one_line_errors()
def rank(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL_ID]...", help="Else all that are not archived."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="success=0.6, cost=0.2, latency=0.2, or others; again for each."),
    ] = None,
    benchmark: Benchmark = "",
    as_json: Json = False,
) -> None:
    """Rank versions on the tasks and seeds that all were scored on, by success, cost and time.

    A version without a measured figure has no place: unknown is not zero.

    Example: mlops model rank mini@1.0.0 mini@1.1.0 --weight success=0.8 --weight cost=0.2
    """
    from mlops.model_registry import ModelRegistry

    weights = _weights(weight)
    registry = ModelRegistry()
    with looking_up():
        found = [str(registry.get_model(one).id) for one in models or ()]
    ranked = registry.rank_models(*found, weights=weights, benchmark=benchmark)
    if as_json:
        print_json(_fields(ranked))
        return
    _print(ranked)


def _print(found: ModelRanking) -> None:
    from mlops.evaluations.figures import percent

    of = found.ranking
    tasks = max((one.tasks for one in found.measured.values()), default=0)
    units = max((one.units for one in found.measured.values()), default=0)
    print_table(
        ["", "model", "score", "success", "cost a task", "seconds a task", "Pareto front"],
        [
            (
                one.place,
                one.name,
                f"{one.score:.3f}",
                percent(found.measured[one.name].success.rate),
                cost_of(found.measured[one.name], simulated=one.name in found.simulated),
                _seconds(found, one.name),
                _front(one),
            )
            for one in of.ranked
        ],
        title=f"on {units:,} tasks and seeds ({tasks:,} tasks) that all have",
        empty="nothing to rank: no version has all figures; `mlops evaluate benchmark MODEL_ID`"
        " measures one",
    )
    for unranked in of.unknown:
        lacking = [_MISSING[name] for name in unranked.unknown]
        why = lacking[0] if "success" in unranked.unknown else f"{', '.join(lacking)} unknown"
        say(f"without a place: {unranked.name} ({why})")
    if of.ranked:
        weights = ", ".join(f"{name} {weight:.2g}" for name, weight in of.weights.items())
        say(
            f"score: {weights}; success is the rate itself, cost and latency the least of those"
            " ranked divided by its own. By point estimates: `mlops model compare` tells whether a"
            " difference is one."
        )
        most = {name: n for name, n in found.played.items() if n > units}
        if most:
            left = ", ".join(f"{name} {n:,}" for name, n in list(most.items())[:10])
            say(f"scored on more than all have: {left}")


def _seconds(found: ModelRanking, name: str) -> str | None:
    value = found.measured[name].seconds.value
    return None if value is None else f"{value:.2f}"


def _front(one: Ranked) -> str:
    if one.on_front is None:
        return "unknown"
    return "yes" if one.on_front else f"beaten by {', '.join(one.dominated_by[:3])}"


def _weights(given: list[str] | None) -> dict[str, float] | None:
    if not given:
        return None
    from shared.registry.errors import RegistryError
    from shared.registry.ranking import required_weights

    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise complain(
                f"--weight {text[:60]!r}: expected NAME=NUMBER, such as success=0.6", Exit.USAGE
            ) from None
    try:
        required_weights(found)
    except RegistryError as error:
        raise complain(f"--weight: {error}", Exit.USAGE) from None
    return found


def _fields(found: ModelRanking) -> dict[str, Any]:
    return {
        "weights": dict(found.ranking.weights),
        "ranked": [asdict(one) for one in found.ranking.ranked],
        "unknown": [asdict(one) for one in found.ranking.unknown],
        "pareto_front": found.ranking.front,
        "measured": {name: asdict(one) for name, one in found.measured.items()},
        "scored": dict(found.played),
        "simulated": sorted(found.simulated),
    }
