"""`mlops evaluate tasks`: what there is to be evaluated on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Exit, Json, complain, note, one_line_errors, print_json, print_table

if TYPE_CHECKING:
    from shared.evaluation.protocol import Task

Categories = Annotated[
    list[str] | None, typer.Option("--category", help="Only this category; again for one more.")
]
Difficulties = Annotated[
    list[str] | None,
    typer.Option("--difficulty", help="Only easy, medium or hard; again for one more."),
]


def register(app: typer.Typer) -> None:
    app.command()(tasks)


@one_line_errors()
def tasks(
    benchmark: Annotated[
        str | None, typer.Option(help="Only this benchmark's; all when left out.")
    ] = None,
    category: Categories = None,
    difficulty: Difficulties = None,
    as_json: Json = False,
) -> None:
    """List the tasks of the benchmarks: category, difficulty and limits.

    Example: mlops evaluate tasks --benchmark miniwob --difficulty hard
    """
    from shared.evaluation.benchmarks import NAMES

    found = [
        task
        for name in ([benchmark] if benchmark else NAMES)
        for task in chosen(name, category or (), difficulty or (), required=bool(benchmark))
    ]
    if as_json:
        print_json([task.model_dump(mode="json") for task in found])
        return
    print_table(
        ["benchmark", "task", "category", "difficulty", "steps", "seconds", "tags"],
        [
            (
                task.benchmark,
                task.name,
                task.category,
                task.difficulty,
                task.max_steps,
                f"{task.timeout_seconds:g}",
                ", ".join(task.tags),
            )
            for task in found
        ],
        title="Limits: steps and seconds of an episode",
        empty="no such tasks: `mlops evaluate tasks` lists all",
    )
    note(f"{len(found):,} tasks")


def chosen(
    benchmark: str,
    categories: Collection[str],
    difficulties: Collection[str],
    *,
    required: bool = True,
) -> Sequence[Task]:
    """The benchmark's tasks of any of these categories and difficulties; empty means any.

    Ends the command for a benchmark that is not there and, where tasks are `required`, for a
    category or difficulty that has none there.
    """
    from shared.evaluation.benchmarks import catalogue

    known = list(catalogue(benchmark).values())
    found = [
        task
        for task in known
        if (not categories or task.category in categories)
        and (not difficulties or task.difficulty in difficulties)
    ]
    if required:
        _check("category", categories, {task.category for task in known}, benchmark)
        _check("difficulty", difficulties, {task.difficulty for task in known}, benchmark)
        if not found:
            raise complain(
                f"{benchmark} has no task of category {', '.join(categories)} and difficulty"
                f" {', '.join(difficulties)}: `mlops evaluate tasks` lists all",
                Exit.NOT_FOUND,
            )
    return found


def _check(what: str, wanted: Collection[str], known: Collection[str], benchmark: str) -> None:
    unknown = [one for one in wanted if one not in known]
    if unknown:
        raise complain(
            f"{benchmark} has no task of {what} {unknown[0]!r}; there is: "
            f"{', '.join(sorted(known))}",
            Exit.NOT_FOUND,
        )
