"""`mlops evaluate leaderboard`: own runs beside what others have published."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say
from mlops.evaluations.figures import bounds, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.evaluation.results.published import Source
    from shared.evaluation.results.ranking import Place


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)


@one_line_errors()
def leaderboard(
    benchmark: Annotated[str, typer.Option(help="Of which benchmark.")] = "miniwob",
    as_json: Json = False,
) -> None:
    """Set each model's largest run beside published results, on the score that both have.

    Example: mlops evaluate leaderboard
    """
    from shared.database import tenant_session
    from shared.evaluation import benchmarks
    from shared.evaluation.results import ranking
    from shared.evaluation.results.published import shipped
    from shared.evaluation.results.reading import own_results
    from shared.tenancy.tenants import current_tenant

    tasks = len(benchmarks.benchmark(benchmark).catalogue())
    published = [source for source in shipped() if source.benchmark == benchmark]
    with tenant_session(current_tenant()) as session:
        own = own_results(session, benchmark)
    lines = ranking.leaderboard(own, published, tasks)
    if as_json:
        told = [source.model_dump(mode="json", exclude={"results"}) for source in published]
        print_json({"places": [asdict(line) for line in lines], "published": told})
        return
    _print(benchmark, lines)
    _explain(lines, published)
    if not own:
        say("no run of yours yet: `mlops evaluate benchmark MODEL` makes one")


def _print(benchmark: str, lines: Sequence[Place]) -> None:
    print_table(
        ["", "model", "kind", "whose", "raw reward above 0 (95 %)", "success", "n", "date"],
        [
            (
                line.place,
                line.name,
                "stand-in, no model" if line.kind == "stand-in" else line.kind,
                line.source if line.own else "published",
                f"{percent(line.rate)} ({bounds(line.interval)})"
                if line.interval
                else percent(line.rate),
                percent(line.strict) if line.own else "not published",
                line.episodes,
                line.on,
            )
            for line in lines
        ],
        title=f"{benchmark}, by the score that both have; n is episodes",
        empty=f"nothing is known of {benchmark} yet, and nothing published is shipped",
    )


def _explain(lines: Sequence[Place], published: Sequence[Source]) -> None:
    """Where the figures come from, and why they are not quite comparable."""
    from shared.evaluation.results.ranking import ENOUGH_TASKS

    for source in published:
        theirs = source.settings
        say(
            f"published: {source.source}, {source.url}: {theirs.tasks} tasks x {theirs.seeds}"
            f" seeds, {theirs.max_steps} steps at most, success is {source.criterion};"
            f" {theirs.pages}. Not measured here; intervals as if episodes were independent."
        )
    if any(line.place is None for line in lines):
        say(f"Without a place: results on less than {ENOUGH_TASKS:.0%} of the tasks.")
    for line in lines:
        if line.differs:
            say(f"{line.name} ({line.source}) differs: {'; '.join(line.differs)}")
    if published and any(line.own for line in lines):
        say(
            "Pages, observations, prompts and actions differ too: a difference between own and"
            " published figures is not the model's alone."
        )
