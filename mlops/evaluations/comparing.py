"""`mlops evaluate compare`: two runs, or two models of one run, pair by pair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mlops.console import Exit, Json, complain, note, one_line_errors, print_json, print_table, say
from mlops.evaluations.figures import bounds, percent
from mlops.evaluations.finding import find_run

if TYPE_CHECKING:
    from shared.evaluation.results.pairing import Comparison, Unit


def register(app: typer.Typer) -> None:
    app.command()(compare)


@dataclass(frozen=True)
class Side:
    """One model's part of a run."""

    run: UUID
    model: str

    def __str__(self) -> str:
        return f"{self.model} in run {str(self.run)[:8]}"


@one_line_errors()
def compare(
    base: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The other run; the same when left out.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Of the runs' models the one to compare; twice for one of each."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two runs, or two models of a run, on the tasks and seeds that both have.

    Example: mlops evaluate compare 4f1c 9b07
    """
    from shared.database import tenant_session
    from shared.evaluation.results.pairing import compare_paired
    from shared.evaluation.results.reading import successes
    from shared.tenancy.tenants import current_tenant

    if len(model or ()) > 2:
        raise complain(f"{len(model or ())} models; at most two are compared", Exit.USAGE)
    with tenant_session(current_tenant()) as session:
        first = find_run(session, base)
        second = first if other is None else find_run(session, other)
        found = {run: successes(session, run) for run in {first, second}}
    sides = _sides(first, second, found, tuple(model or ()))
    comparison = compare_paired(*(found[side.run][side.model] for side in sides))
    if as_json:
        print_json(_fields(*sides, comparison))
        return
    say(sentence(sides[1].model if first == second else str(sides[1]), comparison))
    if comparison.pairs:
        _print(*sides, comparison)
    if comparison.missing:
        note(
            f"{comparison.missing} of {comparison.pairs + comparison.missing} pairs are missing:"
            f" {comparison.only_base} episodes have a score only on the side of {sides[0]},"
            f" {comparison.only_other} only on that of {sides[1]}"
        )


def sentence(other: str, found: Comparison) -> str:
    """What has been shown, in one line."""
    from shared.evaluation.results.pairing import Finding

    if not found.pairs:
        return "nothing to compare: no task and seed has a score on both sides"
    points = f"{100 * (found.difference or 0):+.1f} points"
    if found.interval is None:
        return f"{points} on one task: that says nothing of others"
    told = f"{points}, 95 % interval {bounds(found.interval)}"
    match found.finding:
        case Finding.BETTER | Finding.WORSE:
            return f"{other} is {found.finding.value}: {told}"
        case _:
            return f"no difference shown: {told}"


def _print(base: Side, other: Side, found: Comparison) -> None:
    print_table(
        ["", "value"],
        [
            ("pairs of task and seed", f"{found.pairs:,} of {found.tasks:,} tasks"),
            (f"success of {base}", percent(found.base_rate)),
            (f"success of {other}", percent(found.other_rate)),
            ("difference (95 %, seeds clustered by task)", _difference(found)),
            ("gained / lost", f"{found.gained:,} / {found.lost:,} pairs"),
            ("p, signs of the tasks permuted", _p(found.p_value)),
            ("p, exact McNemar, if seeds were independent", _p(found.mcnemar_p)),
        ],
    )


def _difference(found: Comparison) -> str:
    text = f"{100 * (found.difference or 0):+.1f} points"
    return text if found.interval is None else f"{text} ({bounds(found.interval)})"


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


def _fields(base: Side, other: Side, found: Comparison) -> dict[str, object]:
    sides = {"base": asdict(base), "other": asdict(other)}
    return sides | asdict(found) | {"missing": found.missing, "finding": found.finding.value}


def _sides(
    first: UUID,
    second: UUID,
    found: dict[UUID, dict[str, dict[Unit, bool]]],
    wanted: tuple[str, ...],
) -> tuple[Side, Side]:
    """Which models are meant; ends the command where that cannot be told."""
    if first == second and len(wanted) < 2:
        models = sorted(found[first])
        if wanted or len(models) != 2:
            raise complain(
                f"run {str(first)[:8]} has episodes that ended of {_listed(models)}: name two of"
                " them with --model A --model B, or a second run",
                Exit.USAGE,
            )
        return Side(first, models[0]), Side(first, models[1])
    named = wanted if len(wanted) == 2 else wanted * 2 or (None, None)
    return (
        Side(first, _model(first, found[first], named[0])),
        Side(second, _model(second, found[second], named[1])),
    )


def _model(run: UUID, models: Collection[str], wanted: str | None) -> str:
    fitting = [one for one in models if wanted is None or wanted in (one, one.rpartition("@")[0])]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise complain(
            f"run {str(run)[:8]} has no episode that ended of {wanted or 'any model'}; it has:"
            f" {_listed(models)}",
            Exit.NOT_FOUND,
        )
    raise complain(f"run {str(run)[:8]} has {_listed(fitting)}: say which with --model", Exit.USAGE)


def _listed(models: Collection[str]) -> str:
    return ", ".join(sorted(models)) or "no model"
