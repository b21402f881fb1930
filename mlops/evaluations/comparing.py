"""`mlops evaluate compare`: two runs, or two models of one run, pair by pair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mlops.console import Exit, Json, complain, note, one_line_errors, print_json, print_table, say
from mlops.evaluations.figures import bounds, is_simulated, percent
from mlops.evaluations.finding import find_run
from shared.money import NANOS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.evaluation.results import played
    from shared.evaluation.results.amounts import AmountDifference
    from shared.evaluation.results.pairing import Comparison


def register(app: typer.Typer) -> None:
    app.command()(compare)


@dataclass(frozen=True)
class Side:
    """One model's part of a run."""

    run: UUID
    model: str

    def __str__(self) -> str:
        return f"{self.model} in run {str(self.run)[:8]}"


@dataclass(frozen=True)
class Compared:
    """All that is told of two sides."""

    success: Comparison
    steps: AmountDifference
    cost_nanos: AmountDifference
    unpaired: tuple[played.Unpaired, ...]
    simulated: bool
    "Whether a side's price is a simulated one."
    calls: int
    "Model calls of both sides."


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
    from shared.tenancy.tenants import current_tenant

    if len(model or ()) > 2:
        raise complain(f"{len(model or ())} models; at most two are compared", Exit.USAGE)
    with tenant_session(current_tenant()) as session:
        first = find_run(session, base)
        second = first if other is None else find_run(session, other)
        _require_one_benchmark(session, first, second)
        found = {run: _ended_sides(session, run) for run in {first, second}}
        sides = _sides(first, second, found, tuple(model or ()))
        compared = _compared(
            session, *((side.model, found[side.run][side.model]) for side in sides)
        )
    if as_json:
        print_json(_fields(*sides, compared))
        return
    say(sentence(sides[1].model if first == second else str(sides[1]), compared.success))
    if compared.success.pairs:
        _print(*sides, compared)
    if compared.unpaired:
        without = sum(one.count for one in compared.unpaired)
        note(
            f"{without:,} of {compared.success.pairs + without:,} tasks and seeds make no pair: "
            + "; ".join(_reason(*sides, one) for one in compared.unpaired)
        )


def _require_one_benchmark(session: Session, first: UUID, second: UUID) -> None:
    from shared.evaluation.results.reading import benchmark_of

    names = [benchmark_of(session, run) for run in (first, second)]
    if names[0] != names[1]:
        raise complain(
            f"run {str(first)[:8]} is of {names[0]!r} and run {str(second)[:8]} of {names[1]!r}:"
            " only runs of the same benchmark are compared",
            Exit.USAGE,
        )


def _ended_sides(session: Session, run: UUID) -> dict[str, played.Side]:
    from shared.evaluation.results import reading

    return {
        model: side
        for model, side in reading.sides(session, run).items()
        if any(episode.outcome for episode in side.values())
    }


def _compared(
    session: Session, base: tuple[str, played.Side], other: tuple[str, played.Side]
) -> Compared:
    from shared.evaluation.results import played
    from shared.evaluation.results.amounts import compare_amounts
    from shared.evaluation.results.pairing import compare_paired

    before, after = base[1], other[1]
    played.require_same_version(before, after)
    calls = [sum(episode.llm_calls for episode in side.values()) for side in (before, after)]
    return Compared(
        success=compare_paired(played.successes(before), played.successes(after)),
        steps=compare_amounts(before, after, lambda episode: episode.steps),
        cost_nanos=compare_amounts(before, after, lambda episode: episode.cost_nanos),
        unpaired=played.unpaired(before, after),
        simulated=any(
            is_simulated(session, name, count)
            for name, count in zip((base[0], other[0]), calls, strict=True)
        ),
        calls=sum(calls),
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


def _print(base: Side, other: Side, compared: Compared) -> None:
    found = compared.success
    print_table(
        ["", "value"],
        [
            ("pairs of task and seed", f"{found.pairs:,} of {found.tasks:,} tasks"),
            (f"success of {base}", percent(found.base_rate)),
            (f"success of {other}", percent(found.other_rate)),
            ("difference (95 %, seeds clustered by task)", _difference(found)),
            ("the same by bootstrap over tasks", bounds(found.bootstrap)),
            ("gained / lost", f"{found.gained:,} / {found.lost:,} pairs"),
            ("p, signs of the tasks permuted", _p(found.p_value)),
            ("p, exact McNemar, if seeds were independent", _p(found.mcnemar_p)),
            ("steps an episode (95 %, bootstrap over tasks)", _amount(compared.steps, "{:.1f}")),
            (
                "dollars an episode (95 %, bootstrap over tasks)"
                + (" (simulated)" if compared.simulated else ""),
                _amount(compared.cost_nanos, "{:.5f}", NANOS) if compared.calls else "no calls",
            ),
        ],
    )


def _difference(found: Comparison) -> str:
    text = f"{100 * (found.difference or 0):+.1f} points"
    return text if found.interval is None else f"{text} ({bounds(found.interval)})"


def _amount(found: AmountDifference, form: str, unit: int = 1) -> str | None:
    """`4.0 to 3.2: -0.8 (-1.1 to -0.4), 3 pairs left out: unknown`; None without pairs."""
    if found.base_mean is None or found.other_mean is None or found.difference is None:
        return f"unknown in all {found.left_out:,} pairs" if found.left_out else None
    before, after = (form.format(mean / unit) for mean in (found.base_mean, found.other_mean))
    text = f"{before} to {after}: {form.replace(':', ':+').format(found.difference / unit)}"
    if found.interval is not None:
        low, high = (form.format(end / unit) for end in found.interval)
        text += f" ({low} to {high})"
    return text + (f", unknown in {found.left_out:,} pairs" if found.left_out else "")


def _reason(base: Side, other: Side, one: played.Unpaired) -> str:
    """`2 not ended for a@1 in run 4f1c and environment error for b@1 in run 4f1c`."""
    if one.base == one.other:
        return f"{one.count:,} {_words(one.base)} on both sides"
    told = [
        f"{_words(why)} for {side}"
        for side, why in ((base, one.base), (other, one.other))
        if why is not None
    ]
    return f"{one.count:,} {' and '.join(told)}"


def _words(reason: str | None) -> str:
    return str(reason).replace("_", " ")


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


def _fields(base: Side, other: Side, compared: Compared) -> dict[str, object]:
    found = compared.success
    return {
        "base": asdict(base),
        "other": asdict(other),
        **asdict(found),
        "missing": found.missing,
        "finding": found.finding.value,
        "steps": asdict(compared.steps),
        "cost_nanos": asdict(compared.cost_nanos),
        "simulated_price": compared.simulated,
        "unpaired": [asdict(one) for one in compared.unpaired],
    }


def _sides(
    first: UUID,
    second: UUID,
    found: dict[UUID, dict[str, played.Side]],
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
