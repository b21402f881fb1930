"""The command line: `mlops` or `python -m mlops.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlops import (
    abtests,
    admin,
    cards,
    costs,
    drift,
    evaluations,
    features,
    jobs,
    monitoring,
    reports,
    services,
)
from mlops.console import Commands, Exit, Json, complain, err, note, one_line_errors, say
from mlops.experiments import commands as experiments
from mlops.experiments import runs
from mlops.functions import commands as functions
from mlops.models import commands as models

app = typer.Typer(
    name="mlops",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Evaluate, watch and roll out LLM browser agents.",
    epilog="Start with: mlops up --detach, then mlops demo",
)
services.register(app)
app.add_typer(jobs.app, name="job")
app.add_typer(models.app, name="model")
app.add_typer(experiments.app, name="experiment")
app.add_typer(runs.app, name="run")
app.add_typer(evaluations.app, name="evaluate")
app.add_typer(abtests.app, name="ab")
app.add_typer(functions.app, name="functions")
app.add_typer(cards.app, name="card")
app.add_typer(monitoring.app, name="monitor")
app.add_typer(features.app, name="feature")
app.add_typer(drift.app, name="drift")
app.add_typer(reports.alert, name="alert")
app.add_typer(costs.app, name="cost")
app.add_typer(admin.db, name="db")
app.add_typer(admin.tenant, name="tenant")
app.add_typer(admin.key, name="key")


@app.command()
def demo(
    model: Annotated[
        str | None,
        typer.Option(help="Evaluate this model (needs OPENAI_API_KEY) instead of the stand-in."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate two agents through every queue and show what came of it.

    Starts the services if they do not run and leaves them running.

    Example: mlops demo --model gpt-4.1-mini
    """
    with one_line_errors():
        from mlops import demo as demonstration
        from mlops import demo_report
        from shared.settings import settings

        try:
            demonstration.llm_parameters(model)
            running = demonstration.bring_up(fresh_environment=model is not None)
            done = demonstration.run(model, Path(settings().state_dir) / "demo")
        except demonstration.DemoError as error:
            raise complain(str(error)) from None
        except KeyboardInterrupt as interrupted:
            note(demonstration.left_behind(getattr(interrupted, "tenant", None)))
            raise typer.Exit(Exit.INTERRUPTED) from None
        demo_report.show(done, running.flower, as_json=as_json)
        problems = demonstration.check(done, running.flower)
        for problem in problems:
            complain(problem)
        if problems:
            raise typer.Exit(1)
        err.print("[green]All of it is there.[/green] `mlops down` stops the services.")


@app.command("install-browser")
def install_browser() -> None:
    """Install a Chromium where there is none: Playwright's, else Debian's package.

    Prints the path of the one that will be used.
    """
    with one_line_errors():
        from shared.local.chromium import ChromiumError, find_chromium, install_chromium

        try:
            found = find_chromium()
        except ChromiumError:
            note("no Chromium is here yet: installing one, which may take minutes")
            try:
                with err.status("installing Chromium"):
                    found = install_chromium()
            except ChromiumError as error:
                raise complain(str(error)) from None
        say(str(found.path))


def main() -> None:
    app()


if __name__ == "__main__":
    main()
