"""`mlops model promote`, `deploy`, `archive`, `alias`, `performance`: what becomes of a version."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import (
    Exit,
    Json,
    complain,
    looking_up,
    one_line_errors,
    print_json,
    say,
)
from mlops.models.options import ModelId

if TYPE_CHECKING:
    from mlops.model_registry import Deployment, ModelRegistry

KeepOthers = Annotated[
    bool,
    typer.Option(
        "--keep-others", help="Leave the model's other versions in production, and archive none."
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(promote)
    app.command()(deploy)
    app.command()(archive)
    app.command()(alias)
    app.command()(performance)


@one_line_errors()
def promote(model_id: ModelId, keep_others: KeepOthers = False, as_json: Json = False) -> None:
    """Bring a version from development to staging, or from staging to production.

    Example: mlops model promote mini@1.1.0
    """
    registry, found = _found(model_id)
    _tell(registry.promote_model(found, keep_others=keep_others), as_json)


@one_line_errors()
def deploy(
    model_id: ModelId,
    target: Annotated[
        str, typer.Option(help="Where to: development, staging or production.")
    ] = "production",
    keep_others: KeepOthers = False,
    as_json: Json = False,
) -> None:
    """Bring a version to a stage. In production it takes the place of the model's other versions.

    Example: mlops model deploy mini@1.1.0 --target production
    """
    from shared.registry.errors import RegistryError
    from shared.registry.stages import target_of

    try:
        stage = target_of(target)
    except RegistryError as error:
        raise complain(f"--target: {error}", Exit.USAGE) from None
    registry, found = _found(model_id)
    _tell(registry.deploy_model(found, stage, keep_others=keep_others), as_json)


@one_line_errors()
def archive(model_id: ModelId, as_json: Json = False) -> None:
    """Put a version away. It can be deployed again.

    Example: mlops model archive mini@1.0.0
    """
    registry, found = _found(model_id)
    made = registry.archive_model(found)
    if as_json:
        print_json(made.fields)
    else:
        say(f"{made.model} is archived")


@one_line_errors()
def alias(
    model_id: ModelId,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as champion.")],
    remove: Annotated[bool, typer.Option("--remove", help="Let it lead nowhere.")] = False,
    as_json: Json = False,
) -> None:
    """Let NAME@ALIAS lead to a version, wherever a model is asked for.

    Example: mlops model alias mini@1.1.0 champion
    """
    registry, found = _found(model_id)
    version = registry.get_model(found)
    after = None if remove else version.model
    if remove:
        with looking_up():
            before: str | None = registry.remove_alias(found, name)
    else:
        before = registry.set_alias(found, name)
    if as_json:
        print_json({"alias": f"{version.name}@{name}", "model": after, "before": before})
    elif after is None:
        say(f"{version.name}@{name} leads nowhere now")
    else:
        was = f"; before to {before}" if before not in (None, after) else ""
        say(f"{version.name}@{name} leads to {after}{was}")


@one_line_errors()
def performance(
    model_id: ModelId,
    success_rate: Annotated[float | None, typer.Option(help="A share, 0 to 1.")] = None,
    avg_completion_time: Annotated[
        float | None, typer.Option(help="Mean seconds of a task.")
    ] = None,
    cost_per_task: Annotated[str | None, typer.Option(help="Mean dollars of a task.")] = None,
    tasks: Annotated[int | None, typer.Option(help="Of how many tasks.")] = None,
    note: Annotated[str, typer.Option(help="Where the figures come from.")] = "",
    as_json: Json = False,
) -> None:
    """State how a version does, where it was measured elsewhere. It is shown as stated.

    Example: mlops model performance mini@1.0.0 --success-rate 0.92 --cost-per-task 0.15 --tasks 200
    """
    from mlops.models.showing import stated_lines

    registry, found = _found(model_id)
    made = registry.update_model_performance(
        found, success_rate, avg_completion_time, cost_per_task, tasks=tasks, note=note
    )
    if as_json:
        print_json(made.fields)
    else:
        for words, said in stated_lines(made).items():
            say(f"{made.model}: stated {words} {said}")


def _found(model_id: str) -> tuple[ModelRegistry, str]:
    """The registry, and the identifier of what is meant; ends the command where nothing is."""
    from mlops.model_registry import ModelRegistry

    registry = ModelRegistry()
    with looking_up():
        return registry, str(registry.get_model(model_id).id)


def _tell(done: Deployment, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
        return
    stage = done.model.stage
    if done.moved:
        say(f"{done.model.model} is in {stage}, from {done.came_from}")
    else:
        say(f"{done.model.model} is in {stage} already")
    for name in done.archived:
        say(f"{name} was in {stage} and is archived")
