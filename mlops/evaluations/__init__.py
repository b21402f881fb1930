"""`mlops evaluate ...`: run benchmark episodes, look after runs, and see how the agents did.

A file a subject; each adds its commands to the application with a `register` of its own.
"""

from __future__ import annotations

import typer

from mlops.evaluations import (
    changing,
    comparing,
    episodes,
    measuring,
    ranking,
    reporting,
    running,
    showing,
    tasks,
    validating,
)

app = typer.Typer(no_args_is_help=True, help="Evaluate agents on benchmark tasks.")
for commands in (
    tasks,
    running,
    measuring,
    validating,
    changing,
    showing,
    episodes,
    reporting,
    comparing,
    ranking,
):
    commands.register(app)
