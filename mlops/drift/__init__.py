"""`mlops drift`: has an agent quietly changed?"""

from __future__ import annotations

import typer

from mlops.drift import baselines, changes, effects, quality, running, showing

app = typer.Typer(no_args_is_help=True, help="Drift: has an agent quietly changed?")
app.command("run")(running.run)
app.command("list")(showing.list_findings)
app.command("show")(showing.show)
app.command("quality")(quality.quality)
app.command("report")(showing.report)
app.command("changes")(changes.changes)
app.command("budget")(baselines.budget)
app.add_typer(baselines.app, name="baseline")
app.add_typer(effects.app, name="effect")
