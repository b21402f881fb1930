"""`mlops run ...`: runs of experiments, found by what they logged."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Json, complain, note, one_line_errors, print_json, print_table, say
from mlops.experiments.comparing import print_comparison
from mlops.experiments.named_values import figure, named_values, plain_number, print_tags

if TYPE_CHECKING:
    from shared.tracking.searching import Found

app = typer.Typer(no_args_is_help=True, help="Runs of experiments: found, shown, compared.")

Reference = Annotated[
    str, typer.Argument(help="Identifier, the beginning of one, or a name that only one run has.")
]
MOST_METRICS_SHOWN = 6


@app.command("list")
def list_them(
    experiment: Annotated[
        str | None, typer.Argument(help="Only of this experiment: name or identifier.")
    ] = None,
    where: Annotated[
        str,
        typer.Option("--filter", help="As \"metrics.success_rate > 0.8 and tags.team = 'web'\"."),
    ] = "",
    order_by: Annotated[
        str, typer.Option(help='A field, with asc or desc: "metrics.success_rate desc".')
    ] = "started_at desc",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs, the newest first, or those that a filter finds.

    Fields: metrics.NAME, params.NAME, tags.NAME, name, id, experiment, parent, status, success,
    started_at, ended_at, duration (seconds). What a run has not logged fits no condition but
    "is null".

    Example: mlops run list prompts --filter "metrics.success_rate > 0.8 and tags.team = 'web'"
    """
    with one_line_errors():
        from mlops.experiment_tracker import ExperimentTracker

        found = ExperimentTracker().search_runs(
            where, experiment=experiment, order_by=order_by, limit=limit
        )
    if as_json:
        print_json([run_json(one) for one in found])
    else:
        print_runs(found)


@app.command()
def show(run: Reference, as_json: Json = False) -> None:
    """Show a run: how it ended, what it was made with, what it logged."""
    with one_line_errors():
        import sqlalchemy as sa

        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.runs import find_run
        from shared.tracking.searching import search_runs
        from shared.tracking.tables import RunAction, RunArtifact, RunMessage

        with tenant_session(current_tenant()) as session:
            (found,) = search_runs(session, f"id = '{find_run(session, run).id}'")
            counts = {
                name: session.scalar(sa.select(sa.func.count()).where(table.run_id == found.run.id))
                for name, table in (("messages", RunMessage), ("actions", RunAction))
            }
            files = session.scalars(
                sa.select(RunArtifact)
                .where(RunArtifact.run_id == found.run.id)
                .order_by(RunArtifact.name)
            ).all()
    told = run_json(found) | {
        "environment": found.run.environment,
        **counts,
        "artifacts": [
            {"name": one.name, "sha256": one.sha256, "size_bytes": one.size_bytes} for one in files
        ],
    }
    if as_json:
        print_json(told)
        return
    shown = {name: value for name, value in told.items() if name not in ("metrics", "artifacts")}
    print_table(["", ""], [[name, _shown(value)] for name, value in shown.items() if value])
    print_table(
        ["metric", "last", "step", "points", "least", "greatest", "not finite"],
        [
            [
                name,
                figure(one.value),
                one.step,
                one.points,
                figure(one.minimum),
                figure(one.maximum),
                one.not_finite or None,
            ]
            for name, one in found.metrics.items()
        ],
        empty="it has logged no metric",
    )
    if files:
        print_table(
            ["artifact", "bytes", "SHA-256"], [[f.name, f.size_bytes, f.sha256] for f in files]
        )


@app.command()
def metrics(
    run: Reference,
    name: Annotated[str | None, typer.Argument(help="Only this metric.")] = None,
    as_json: Json = False,
) -> None:
    """Print the values that a run has logged, by metric, step and time.

    Example: mlops run metrics 3f2a loss
    """
    with one_line_errors():
        from mlops.experiment_tracker import ExperimentTracker

        found = ExperimentTracker().metric_history(run, name)
    if as_json:
        print_json([asdict(one) | {"value": plain_number(one.value)} for one in found])
        return
    print_table(
        ["metric", "step", "episode", "value", "at (UTC)"],
        [
            [one.name, one.step, one.episode, figure(one.value), f"{one.at:%Y-%m-%d %H:%M:%S}"]
            for one in found
        ],
        empty="it has logged no such metric" if name else "it has logged no metric",
    )


@app.command()
def compare(base: Reference, other: Reference, as_json: Json = False) -> None:
    """Compare two runs, metric by metric: pair by pair where they logged the same episodes.

    Example: mlops run compare 3f2a 9b01
    """
    with one_line_errors():
        from mlops.experiment_tracker import ExperimentTracker

        found = ExperimentTracker().compare_runs(base, other)
    print_comparison(base, other, found, as_json=as_json)


@app.command()
def tag(
    run: Reference,
    tags: Annotated[list[str], typer.Argument(help="NAME=VALUE; NAME=null removes it.")],
    as_json: Json = False,
) -> None:
    """Set tags of a run, also of one that has ended.

    Example: mlops run tag 3f2a reviewed=true
    """
    given = named_values("TAGS", tags)
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant
        from shared.tracking.runs import set_tags

        with tenant_session(current_tenant()) as session:
            now = dict(set_tags(session, run, given).tags)
    print_tags(now, as_json=as_json)


@app.command()
def reproduce(
    run: Reference,
    start: Annotated[
        bool, typer.Option("--start", help="Start it here and now, in its folder.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how a run is made again, and what cannot be the same any more.

    Example: mlops run reproduce 3f2a --start
    """
    with one_line_errors():
        from mlops.experiment_tracker import ExperimentTracker

        found = ExperimentTracker().reproduce(run)
    if as_json and not start:
        print_json(asdict(found) | {"shell": found.shell})
        return
    for line in found.differences:
        note(f"not the same: {line}")
    for line in found.unknown:
        note(f"not known: {line}")
    if found.command is None:
        raise complain(f"run {run} did not log its command: it cannot be made again from here")
    if not start:
        if found.commit:
            say(f"git checkout {found.commit}")
        if found.folder:
            say(f"cd {found.folder}")
        say(found.shell)
        return
    if found.folder is None or not Path(found.folder).is_dir():
        raise complain(
            f"its folder {found.folder!r} is not here: check the commit out, and see"
            " `mlops run reproduce` without --start"
        )
    try:
        done = subprocess.run(found.command, cwd=found.folder, check=False)
    except OSError as error:
        raise complain(f"{found.command[0]}: {error.strerror}") from None
    raise typer.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def print_runs(found: Sequence[Found]) -> None:
    """A table of runs with the metrics that most of them have."""
    counted: dict[str, int] = {}
    for one in found:
        for name in one.metrics:
            counted[name] = counted.get(name, 0) + 1
    names = sorted(sorted(counted), key=lambda name: -counted[name])[:MOST_METRICS_SHOWN]
    print_table(
        ["id", "name", "experiment", "status", "success", "begun (UTC)", "seconds", *names],
        [
            [
                str(one.run.id)[:8],
                one.run.name,
                one.experiment,
                one.run.status,
                {True: "yes", False: "no", None: None}[one.run.success],
                f"{one.run.started_at:%Y-%m-%d %H:%M:%S}",
                None if (seconds := _seconds(one)) is None else f"{seconds:.1f}",
                *(figure(one.metrics[n].value) if n in one.metrics else None for n in names),
            ]
            for one in found
        ],
        empty="no runs",
    )
    if len(counted) > len(names):
        note(f"and {len(counted) - len(names)} metrics more: `mlops run show ID` has them")


def run_json(found: Found) -> dict[str, Any]:
    run = found.run
    return {
        "id": run.id,
        "name": run.name,
        "experiment": found.experiment,
        "parent": run.parent_id,
        "status": run.status,
        "success": run.success,
        "message": run.message,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": _seconds(found),
        "params": run.params,
        "tags": run.tags,
        "metrics": {
            name: {
                "value": plain_number(one.value),
                "step": one.step,
                "points": one.points,
                "minimum": plain_number(one.minimum),
                "maximum": plain_number(one.maximum),
                "not_finite": one.not_finite,
            }
            for name, one in found.metrics.items()
        },
    }


def _seconds(found: Found) -> float | None:
    ended = found.run.ended_at
    return None if ended is None else (ended - found.run.started_at).total_seconds()


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {one}" for name, one in value.items())
    return value
