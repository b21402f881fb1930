"""`mlops monitor`: how agents perform, what goes wrong, and whether telemetry gets through."""

from __future__ import annotations

import typer

from mlops.monitoring.errors import errors
from mlops.monitoring.health import health
from mlops.monitoring.metrics import metrics
from mlops.monitoring.performance import performance
from mlops.monitoring.rejected import rejected

app = typer.Typer(
    no_args_is_help=True, help="Monitor: how agents do in use, from what they report."
)
for command in (performance, errors, metrics, rejected, health):
    app.command()(command)
