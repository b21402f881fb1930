"""`mlops evaluate run`: evaluate models on tasks, wait, and show how each did."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import typer

from mlops.console import Exit, Json, complain, looking_up, note, one_line_errors, say
from mlops.evaluations.following import follow
from mlops.evaluations.outcome import show_run
from mlops.evaluations.validating import defined_in_file
from mlops.waiting import made_by_worker


def register(app: typer.Typer) -> None:
    app.command()(run)


def dollars(text: str | None) -> Decimal | None:
    """A budget as it was typed; ends the command when it is none."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise complain(
            f"budget {text[:50]!r} is no amount of dollars above 0, such as 2.50", Exit.USAGE
        )
    return amount


Budget = Annotated[
    str | None, typer.Option(metavar="DOLLARS", help="What all episodes may cost together.")
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Print the run's identifier and do not wait.")
]


@one_line_errors()
def run(
    model: Annotated[
        list[str], typer.Option(help="name@version, or name for its newest; again for one more.")
    ],
    task: Annotated[
        list[str] | None, typer.Option(help="A task; again for one more; all when left out.")
    ] = None,
    benchmark: Annotated[
        str, typer.Option(help="Whose tasks; a custom one by its YAML file.")
    ] = "miniwob",
    seeds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Episodes of each task and model.")
    ] = 3,
    function: Annotated[
        str, typer.Option(help="The name that the run's telemetry is summed under.")
    ] = "evaluation",
    budget: Budget = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="0 is done first.")] = 5,
    record: Annotated[
        str,
        typer.Option(help="Keep of each step: none, jpeg, trace-on-failure, trace-sample or all."),
    ] = "jpeg",
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Evaluate models on tasks, wait, and show how each did.

    Example: mlops evaluate run --model my-agent --task click-test --task login-user --seeds 5
    """
    from mlops.client import submit
    from shared.database import tenant_session
    from shared.evaluation.runs import check_tasks
    from shared.registry.models import key, resolve
    from shared.tenancy.tenants import current_tenant

    tenant_id = current_tenant()
    custom = defined_in_file(benchmark)
    benchmark = benchmark if custom is None else custom.name
    with looking_up():
        check_tasks(benchmark, task or [], custom)
        with tenant_session(tenant_id) as session:
            models = [key(resolve(session, one)) for one in model]
    amount = dollars(budget)
    job = submit(
        {
            "job": "run_benchmark",
            "benchmark": benchmark,
            "definition": None if custom is None else custom.definition(),
            "models": models,
            "tasks": task or [],
            "seeds": list(range(seeds)),
            "function": function,
            "budget_dollars": None if amount is None else str(amount),
            "priority": priority,
            "recording": record,
        },
        tenant_id=tenant_id,
    )
    made = made_by_worker(job)
    run_id = UUID(made["run_id"])
    if detach:
        say(run_id)
        return
    note(f"run {run_id}: {made['episodes']} episodes")
    follow(tenant_id, run_id)
    show_run(tenant_id, run_id, as_json=as_json)
