"""`mlops experiment ...`: what is tried, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say
from mlops.experiments.comparing import print_comparison
from mlops.experiments.named_values import named_values, print_tags

app = typer.Typer(no_args_is_help=True, help="Experiments: a question, and the runs that answer.")

Reference = Annotated[str, typer.Argument(help="Name, identifier, or the beginning of one.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name that no other experiment has.")],
    description: Annotated[str, typer.Option(help="What it is about.")] = "",
    hypothesis: Annotated[str, typer.Option(help="What is expected, and why.")] = "",
    llm_provider: Annotated[str | None, typer.Option(help="For the configuration.")] = None,
    llm_model: Annotated[str | None, typer.Option(help="For the configuration.")] = None,
    temperature: Annotated[float | None, typer.Option(help="For the configuration.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the configuration; again for more.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; again for more.")] = None,
    as_json: Json = False,
) -> None:
    """Make an experiment; the same again is the one that is there.

    Example: mlops experiment create prompts --llm-model gpt-4 --tag team=web
    """
    named: dict[str, Any] = {
        "llm_provider": llm_provider,
        "llm_model": llm_model,
        "temperature": temperature,
    }
    configuration = named_values("--config", config or ()) | {
        key: value for key, value in named.items() if value is not None
    }
    tags = named_values("--tag", tag or ())
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.experiments import create_experiment

        with tenant_session(current_tenant()) as session:
            made = create_experiment(
                session,
                name,
                description=description,
                hypothesis=hypothesis,
                tags=tags,
                configuration=configuration,
            )
    if as_json:
        print_json({"id": made.id, "name": made.name})
    else:
        say(f"experiment {made.name} ({made.id}): ExperimentTracker().start_run({made.name!r})")


@app.command("list")
def list_them(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List the experiments, the newest first."""
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.experiments import list_experiments

        with tenant_session(current_tenant()) as session:
            found = list_experiments(session, limit)
    if as_json:
        print_json(
            [
                {
                    "id": one.experiment.id,
                    "name": one.experiment.name,
                    "description": one.experiment.description,
                    "tags": one.experiment.tags,
                    "created_at": one.experiment.created_at,
                    "runs": one.runs,
                    "last_started_at": one.last_started_at,
                }
                for one in found
            ]
        )
        return
    print_table(
        ["id", "name", "runs", "last begun (UTC)", "created (UTC)"],
        [
            [
                str(one.experiment.id)[:8],
                one.experiment.name,
                ", ".join(f"{n} {status}" for status, n in sorted(one.runs.items())) or "none",
                one.last_started_at and f"{one.last_started_at:%Y-%m-%d %H:%M}",
                f"{one.experiment.created_at:%Y-%m-%d %H:%M}",
            ]
            for one in found
        ],
        empty="no experiments yet: mlops experiment create NAME",
    )


@app.command()
def show(experiment: Reference, as_json: Json = False) -> None:
    """Show an experiment: what it asks, its configuration, and the last value of each metric.

    Example: mlops experiment show prompts
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.experiments import find_experiment
        from shared.tracking.searching import search_runs

        with tenant_session(current_tenant()) as session:
            found = find_experiment(session, experiment)
            runs = search_runs(session, experiments=[found.id])
    from mlops.experiments.runs import print_runs, run_json

    told = {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "hypothesis": found.hypothesis,
        "tags": found.tags,
        "configuration": found.configuration,
        "created_at": found.created_at,
    }
    if as_json:
        print_json({**told, "runs": [run_json(one) for one in runs]})
        return
    print_table(["", ""], [[name, value] for name, value in told.items() if value not in ("", {})])
    print_runs(runs)


@app.command()
def compare(base: Reference, other: Reference, as_json: Json = False) -> None:
    """Compare two experiments, metric by metric: each completed run is a trial.

    Example: mlops experiment compare prompts-short prompts-long
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.experiments import find_experiment
        from shared.tracking.held_against import experiments_compared

        with tenant_session(current_tenant()) as session:
            found = experiments_compared(session, base, other)
            names = [find_experiment(session, one).name for one in (base, other)]
    print_comparison(names[0], names[1], found, as_json=as_json)


@app.command()
def tag(
    experiment: Reference,
    tags: Annotated[list[str], typer.Argument(help="NAME=VALUE; NAME=null removes it.")],
    as_json: Json = False,
) -> None:
    """Set tags of an experiment.

    Example: mlops experiment tag prompts team=web reviewed=true
    """
    given = named_values("TAGS", tags)
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.experiments import tag_experiment

        with tenant_session(current_tenant()) as session:
            now = dict(tag_experiment(session, experiment, given).tags)
    print_tags(now, as_json=as_json)
