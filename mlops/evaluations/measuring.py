"""`mlops evaluate benchmark` and `results`: how good a model is, by every figure there is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mlops.console import Json, looking_up, note, one_line_errors, print_json, say
from mlops.evaluations.figures import LEGEND, is_simulated, print_scores
from mlops.evaluations.finding import find_run
from mlops.evaluations.following import follow
from mlops.evaluations.outcome import remarks, standing_fields
from mlops.evaluations.tasks import Categories, Difficulties, chosen
from mlops.waiting import made_by_worker

if TYPE_CHECKING:
    from shared.database import TenantId

Tasks = Annotated[bool, typer.Option("--tasks", help="The rates by task as well.")]


def register(app: typer.Typer) -> None:
    app.command("benchmark")(measure)
    app.command()(results)


@one_line_errors()
def measure(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_ID", help="name@version, or name for its newest.")
    ],
    category: Categories = None,
    difficulty: Difficulties = None,
    benchmark: Annotated[str, typer.Option(help="Whose tasks.")] = "miniwob",
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Episodes of each task.")] = 5,
    tasks: Tasks = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model on a benchmark, or on its tasks of a kind, and show all figures.

    Example: mlops evaluate benchmark my-agent --category search --difficulty easy
    """
    from mlops.client import submit
    from shared.database import tenant_session
    from shared.registry.models import key, resolve
    from shared.tenancy.tenants import current_tenant

    wanted = chosen(benchmark, category or (), difficulty or ())
    tenant_id = current_tenant()
    with tenant_session(tenant_id) as session, looking_up():
        name = key(resolve(session, model))
    job = submit(
        {
            "job": "run_benchmark",
            "benchmark": benchmark,
            "models": [name],
            "tasks": [task.name for task in wanted],
            "seeds": list(range(seeds)),
            "function": "benchmark",
        },
        tenant_id=tenant_id,
    )
    made = made_by_worker(job)
    run_id = UUID(made["run_id"])
    note(f"run {run_id}: {len(wanted)} tasks x {seeds} seeds = {made['episodes']} episodes")
    follow(tenant_id, run_id)
    show_results(tenant_id, run_id, by_task=tasks, as_json=as_json)


@one_line_errors()
def results(
    run: Annotated[str, typer.Argument(help="The run's identifier or a unique prefix of it.")],
    tasks: Tasks = False,
    as_json: Json = False,
) -> None:
    """Show all figures of a run: rates by category and difficulty, pass@k, spending, safety.

    Example: mlops evaluate results 4f1c --tasks
    """
    from shared.database import tenant_session
    from shared.tenancy.tenants import current_tenant

    tenant_id = current_tenant()
    with tenant_session(tenant_id) as session:
        run_id = find_run(session, run)
    show_results(tenant_id, run_id, by_task=tasks, as_json=as_json)


def show_results(tenant_id: TenantId, run_id: UUID, *, by_task: bool, as_json: bool) -> None:
    """The figures of every model of the run, as far as its episodes have ended."""
    from shared.database import tenant_session
    from shared.evaluation.results.reading import score_models
    from shared.evaluation.standing import standing

    with tenant_session(tenant_id) as session:
        now = standing(session, run_id)
        models = [
            (found, is_simulated(session, found.model, found.scores.llm_calls))
            for found in score_models(session, [run_id])
        ]
    if as_json:
        told = [asdict(found) | {"simulated_price": simulated} for found, simulated in models]
        print_json({"run": run_id, **standing_fields(now), "models": told})
        return
    for found, simulated in models:
        print_scores(found, simulated=simulated, by_task=by_task)
        say("")
    if models:
        note(LEGEND)
    for line in remarks(now, run_id):
        note(line)
    note(f"run {run_id}: `mlops evaluate leaderboard` sets it beside published results")
