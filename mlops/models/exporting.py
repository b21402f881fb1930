"""`mlops model export` and `import`: the configuration of versions, from here to elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlops.console import Json, looking_up, one_line_errors, plain, print_json, print_table, say


def register(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("import")(import_models)


@one_line_errors()
def export(
    models: Annotated[list[str], typer.Argument(metavar="MODEL_ID...", help="One or more.")],
    to: Annotated[
        Path | None, typer.Option(help="A file, or a folder to write one into; else stdout.")
    ] = None,
    form: Annotated[
        Literal["yaml", "json"] | None,
        typer.Option("--format", help="By default what the file's name says, else YAML."),
    ] = None,
) -> None:
    """Write the configuration of versions: agent, parameters, description and lineage.

    Example: mlops model export mini@1.0.0 --to mini.yaml
    """
    from mlops.model_registry import ModelRegistry

    chosen = form or ("json" if to is not None and to.suffix.lower() == ".json" else "yaml")
    registry = ModelRegistry()
    with looking_up():
        found = [str(registry.get_model(one).id) for one in models]
    if to is not None:
        say(registry.export_to(to, *found, format=chosen))
        return
    text = registry.export_models(*found, format=chosen)
    # On a terminal what is in it must not be obeyed; into a file it goes as it is.
    lines = (plain(line) if sys.stdout.isatty() else line for line in text.split("\n"))
    sys.stdout.write("\n".join(lines))


@one_line_errors()
def import_models(
    path: Annotated[Path, typer.Argument(help="A file that was exported; - is standard input.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be registered, and store nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Register all versions of a file, in development, or none if one of them cannot be.

    Example: mlops model import mini.yaml --dry-run
    """
    from mlops.model_registry import ModelRegistry

    found = ModelRegistry().import_models(path, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "registered": found})
        return
    made = "would be registered" if dry_run else "registered"
    print_table(
        ["model", ""], [(name, made if new else "is there already") for name, new in found.items()]
    )
