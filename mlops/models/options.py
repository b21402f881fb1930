"""Arguments and options that commands about models have in common."""

from __future__ import annotations

from typing import Annotated, Any

import typer

ModelId = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_ID",
        help="name@version, name@alias, name for its newest, or an identifier's beginning.",
    ),
]

Parent = Annotated[
    str | None, typer.Option(metavar="MODEL_ID", help="The version that it was made from.")
]
DatasetVersion = Annotated[str | None, typer.Option(help="The data that it was made with.")]
PromptVersion = Annotated[str | None, typer.Option(help="The prompt that it was made with.")]
EvaluationRuns = Annotated[
    list[str] | None,
    typer.Option(
        "--evaluation-run",
        metavar="RUN",
        help="A benchmark run that speaks for it; again for more.",
    ),
]


def lineage(
    parent: str | None, dataset: str | None, prompt: str | None, runs: list[str] | None
) -> dict[str, Any]:
    """As `ModelRegistry` takes it."""
    return {
        "parent": parent,
        "dataset_version": dataset,
        "prompt_version": prompt,
        "evaluation_runs": runs or None,
    }
