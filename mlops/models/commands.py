"""`mlops model ...`: register versions, see what is known of them, and bring one to production.

A file a subject; each adds its commands to the application with a `register` of its own.
"""

from __future__ import annotations

import typer

from mlops.models import comparing, exporting, moving, ranking, registering, showing

app = typer.Typer(no_args_is_help=True, help="Models: agents under a name and a version.")
for commands in (registering, showing, comparing, ranking, moving, exporting):
    commands.register(app)
