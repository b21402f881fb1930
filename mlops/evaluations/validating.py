"""`mlops evaluate validate FILE`: every mistake in a benchmark's definition, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Exit, Json, complain, note, one_line_errors, print_json, say

if TYPE_CHECKING:
    from shared.evaluation.custom.definition import CustomBenchmark

_SHOWN = 50
"Mistakes, for people: more are not read."


def register(app: typer.Typer) -> None:
    app.command()(validate)


def validate(
    file: Annotated[Path, typer.Argument(help="A benchmark's definition as YAML.")],
    browser: Annotated[
        bool, typer.Option(help="Have Chromium check CSS selectors and JavaScript.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check a custom benchmark and tell every mistake with its line and column.

    Example: mlops evaluate validate shop.yaml
    """
    with one_line_errors():
        from shared.evaluation.custom.checking import check, sentence
        from shared.evaluation.custom.probing import NoBrowserError, probe

        checked = check(file)
        mistakes = list(checked.mistakes)
        unchecked: str | None = None if browser else "not asked for"
        if browser and not mistakes:
            try:
                mistakes = probe(checked)
            except NoBrowserError as error:
                unchecked = str(error)
        benchmark = checked.benchmark
        tasks = [] if benchmark is None else [task.name for task in benchmark.tasks]
        if as_json:
            print_json(
                {
                    "file": str(file),
                    "valid": not mistakes,
                    "name": None if benchmark is None else benchmark.name,
                    "tasks": tasks,
                    "browser_checked": browser and not mistakes and unchecked is None,
                    "mistakes": [
                        {
                            "line": one.place.line,
                            "column": one.place.column,
                            "path": list(one.where),
                            "message": one.said,
                        }
                        for one in mistakes
                    ],
                }
            )
        else:
            for one in mistakes[:_SHOWN]:
                say(f"{file}:{one.place.line}:{one.place.column}: {sentence(one)}")
            if len(mistakes) > _SHOWN:
                say(f"{file}: and {len(mistakes) - _SHOWN} more: `--json` has all")
        if mistakes:
            raise complain(f"{file}: {_count(len(mistakes), 'mistake')}", Exit.USAGE)
        if unchecked is not None:
            note(f"CSS selectors and JavaScript were not checked: {unchecked}")
        if not as_json and benchmark is not None:
            say(f"{file}: benchmark {benchmark.name!r}, {_count(len(tasks), 'task')}: valid")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def defined_in_file(benchmark: str) -> CustomBenchmark | None:
    """The custom benchmark in the file that is named, None for a name.

    Raises `DefinitionError` for a file that is no definition.
    """
    path = Path(benchmark)
    if path.suffix not in {".yaml", ".yml"}:
        return None
    from shared.evaluation.custom.checking import load

    return load(path)
