"""`mlops model register` and `edit`: what a version is, and what is said of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    looking_up,
    note,
    one_line_errors,
    print_json,
    say,
)
from mlops.models.options import (
    DatasetVersion,
    EvaluationRuns,
    ModelId,
    Parent,
    PromptVersion,
    lineage,
)


def register(app: typer.Typer) -> None:
    app.command("register")(register_model)
    app.command()(edit)


@one_line_errors()
def register_model(
    name: str,
    provider: Annotated[
        str | None,
        typer.Argument(help="Whose language model: openai, or another with --parameters."),
    ] = None,
    model: Annotated[str | None, typer.Argument(help="The provider's model.")] = None,
    version: Annotated[str, typer.Option(help="Semantic version.")] = "1.0.0",
    temperature: Annotated[
        float | None, typer.Option(help="0 to 2; the endpoint's own if it is left out.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    agent: Annotated[
        str, typer.Option(help="Kind: rule-based, random, llm, replay or external.")
    ] = "llm",
    parameters: Annotated[
        str,
        typer.Option(help='The agent\'s parameters as JSON, e.g. \'{"model": "gpt-4.1-mini"}\''),
    ] = "{}",
    parent: Parent = None,
    dataset_version: DatasetVersion = None,
    prompt_version: PromptVersion = None,
    evaluation_run: EvaluationRuns = None,
    as_json: Json = False,
) -> None:
    """Register a version of a model, in development. The same again is the one that is there.

    Example: mlops model register mini openai gpt-4.1-mini --temperature 0.1
    """
    from mlops.model_registry import ModelRegistry
    from shared.evaluation.agents.registry import missing_key

    registry = ModelRegistry()
    made = registry.get_model(
        registry.register_model(
            name,
            provider,
            model,
            version,
            temperature,
            description,
            agent=agent,
            parameters=_object(parameters),
            **lineage(parent, dataset_version, prompt_version, evaluation_run),
        )
    )
    if as_json:
        print_json(made.fields)
    else:
        say(made.model)
    missing = missing_key(made.agent, made.parameters)
    if missing is not None:
        note(missing)


@one_line_errors()
def edit(
    model_id: ModelId,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    parent: Parent = None,
    dataset_version: DatasetVersion = None,
    prompt_version: PromptVersion = None,
    evaluation_run: EvaluationRuns = None,
    as_json: Json = False,
) -> None:
    """Say something else of a version. Once it has been in production nothing of it changes.

    Example: mlops model edit mini@1.0.0 --prompt-version v2
    """
    from mlops.model_registry import ModelRegistry

    said = lineage(parent, dataset_version, prompt_version, evaluation_run)
    if description is None and not any(said.values()):
        raise complain("nothing to change: see `mlops model edit --help`", Exit.USAGE)
    registry = ModelRegistry()
    with looking_up():
        found = registry.get_model(model_id)
    made = registry.update_model(str(found.id), description=description, **said)
    if as_json:
        print_json(made.fields)
    else:
        say(made.model)


def _object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise complain(f"--parameters is not JSON: {error}", Exit.USAGE) from None
    if not isinstance(parsed, dict):
        raise complain("--parameters must be a JSON object", Exit.USAGE)
    return parsed
