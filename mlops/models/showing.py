"""`mlops model list`, `show` and `history`."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    shortened,
)
from mlops.models.options import ModelId
from shared.money import dollars

if TYPE_CHECKING:
    from mlops.models.registered import RegisteredModel
    from shared.registry.stated import Stated

_LONGEST = 200


def register(app: typer.Typer) -> None:
    app.command("list")(list_models)
    app.command()(show)
    app.command()(history)


@one_line_errors()
def list_models(
    status: Annotated[
        str | None,
        typer.Option(help="Only in this stage: development, staging, production or archived."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only versions of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the registered versions.

    Example: mlops model list --status production
    """
    from mlops.model_registry import ModelRegistry
    from shared.registry.errors import RegistryError
    from shared.registry.stages import stage_of

    try:
        stage = None if status is None else stage_of(status)
    except RegistryError as error:
        raise complain(f"--status: {error}", Exit.USAGE) from None
    found = ModelRegistry().list_models(stage, name)
    if as_json:
        print_json([one.fields for one in found])
        return
    print_table(
        ["model", "id", "stage", "aliases", "agent", "parameters"],
        [
            (
                one.model,
                str(one.id)[:8],
                one.stage,
                ", ".join(one.aliases) or None,
                one.agent,
                json.dumps(one.parameters),
            )
            for one in found
        ],
        empty="no models yet: `mlops model register NAME --agent rule-based` makes one"
        if status is None and name is None
        else "no such model: `mlops model list` shows all of them",
    )


@one_line_errors()
def show(model_id: ModelId, as_json: Json = False) -> None:
    """Show a version: what it is, where it was put, what was measured and what people stated.

    Example: mlops model show mini@champion
    """
    from mlops.model_registry import ModelRegistry

    registry = ModelRegistry()
    with looking_up():
        found = registry.get_model(model_id)
    made_from = registry.get_lineage(str(found.id))
    deployed = registry.get_deployments(str(found.id))
    measured = registry.get_measured(str(found.id))
    if as_json:
        print_json(
            found.fields
            | {
                "ancestors": made_from,
                "deployments": [asdict(one) for one in deployed],
                "measured": asdict(measured),
            }
        )
        return
    rows = [
        ("id", found.id),
        ("stage", found.stage),
        ("aliases", ", ".join(found.aliases)),
        ("agent", found.agent),
        ("parameters", json.dumps(found.parameters)),
        ("description", found.description),
        ("made from", " < ".join(made_from)),
        ("dataset version", found.dataset_version),
        ("prompt version", found.prompt_version),
        ("evaluation runs", ", ".join(found.evaluation_runs)),
        ("registered (UTC)", f"{found.created_at:%Y-%m-%d %H:%M}"),
        ("unchangeable since (UTC)", found.fixed_at and f"{found.fixed_at:%Y-%m-%d %H:%M}"),
        *(
            (f"to {one.target} (UTC)", f"{one.deployed_at:%Y-%m-%d %H:%M} by {one.deployed_by}")
            for one in reversed(deployed)
        ),
        *((f"stated {name}", said) for name, said in stated_lines(found).items()),
    ]
    print_table(["", found.model], [row for row in rows if row[1] not in (None, "")])
    if measured.units:
        from mlops.models.comparing import print_measured

        print_measured({found.model: measured}, registry.simulated({found.model: measured}))


@one_line_errors()
def history(model_id: ModelId, as_json: Json = False) -> None:
    """Show what was done to a version, when and by whom, from the audit trail.

    Example: mlops model history mini@1.0.0
    """
    from mlops.model_registry import ModelRegistry

    registry = ModelRegistry()
    with looking_up():
        found = registry.history(model_id)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["when (UTC)", "who", "what", "of", "details"],
        [
            (
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                one.actor,
                one.action.removeprefix("model."),
                one.subject,
                shortened(json.dumps(one.details, ensure_ascii=False), _LONGEST),
            )
            for one in found
        ],
        empty="nothing was done to it since there is an audit trail",
    )


def stated_lines(model: RegisteredModel) -> dict[str, str]:
    """What people said of a version, with who, when and of how many tasks."""
    forms: dict[str, tuple[str, Callable[[Any], str]]] = {
        "success_rate": ("success", lambda value: f"{100 * value:.1f} %"),
        "completion_seconds": ("seconds a task", lambda value: f"{value:.2f}"),
        "cost_nanos": ("cost a task", dollars),
    }
    return {
        words: f"{form(model.stated[name].value)} ({_source(model.stated[name])})"
        for name, (words, form) in forms.items()
        if name in model.stated
    }


def _source(said: Stated) -> str:
    of = "" if said.tasks is None else f" of {said.tasks:,} tasks"
    why = f": {shortened(said.note, _LONGEST)}" if said.note else ""
    return f"{said.stated_by}, {said.stated_at:%Y-%m-%d}{of}{why}"
