"""`mlops feature`: what is known of an entity, and what was known of it at a time."""

from __future__ import annotations

import typer

from mlops.features.asking import as_of, latest
from mlops.features.changing import register, unwatch, watch, write
from mlops.features.showing import list_features, show

app = typer.Typer(
    no_args_is_help=True,
    help="Features: named values of an entity, read as they were at a time.",
)
app.command("list")(list_features)
for command in (show, register, write, latest, as_of, watch, unwatch):
    app.command()(command)
