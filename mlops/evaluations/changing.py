"""`mlops evaluate resume`, `extend` and `cancel`: changing a run that was made."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from mlops.console import Json, note, one_line_errors, print_json, say
from mlops.evaluations.finding import find_run
from mlops.evaluations.following import follow
from mlops.evaluations.outcome import show_run
from mlops.evaluations.running import Budget, Detach, dollars
from mlops.waiting import made_by_worker

Run = Annotated[str, typer.Argument(help="The run's identifier or a unique prefix of it.")]


def register(app: typer.Typer) -> None:
    for command in (resume, extend, cancel):
        app.command()(command)


@one_line_errors()
def resume(run: Run, budget: Budget = None, detach: Detach = False, as_json: Json = False) -> None:
    """Do what is missing of a run: what broke, was cancelled, or was over the budget.

    --budget is the run's new limit, with what it has cost already.

    Example: mlops evaluate resume 4f1c --budget 5
    """
    from functools import partial

    from shared.costs.agents import why_unpriced
    from shared.costs.pricing import tenant_prices
    from shared.database import tenant_session
    from shared.evaluation import changing
    from shared.tenancy.tenants import current_tenant

    tenant_id, amount = current_tenant(), dollars(budget)
    with tenant_session(tenant_id) as session:
        run_id = find_run(session, run)
        check = partial(why_unpriced, tenant_prices(session))
        done = changing.resume(session, run_id, budget_dollars=amount, unpriced=check)
    note(f"run {run_id}: {done.queued} episodes are queued again, {done.under_way} were under way")
    if done.stopping:
        note(f"{done.stopping} of them are being cancelled: resume once more when they have ended")
    _followed(run_id, detach=detach, as_json=as_json)


@one_line_errors()
def extend(
    run: Run,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="So many more of each task.")],
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Add episodes to a run: the same tasks and models with seeds it does not have yet.

    Example: mlops evaluate extend 4f1c --seeds 5
    """
    from mlops.client import submit
    from shared.database import tenant_session
    from shared.tenancy.tenants import current_tenant

    tenant_id = current_tenant()
    with tenant_session(tenant_id) as session:
        run_id = find_run(session, run)
    job = submit(
        {"job": "extend_run", "run_id": str(run_id), "more_seeds": seeds}, tenant_id=tenant_id
    )
    made = made_by_worker(job)
    note(f"run {run_id}: {made['episodes']} episodes more, seeds {_ranges(made['seeds'])}")
    _followed(run_id, detach=detach, as_json=as_json)


@one_line_errors()
def cancel(run: Run, as_json: Json = False) -> None:
    """End a run: queued episodes at once, running ones within two seconds.

    Example: mlops evaluate cancel 4f1c
    """
    from shared.database import tenant_session
    from shared.evaluation import changing
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        run_id = find_run(session, run)
        done = changing.cancel(session, run_id)
    if as_json:
        print_json({"run": run_id, "cancelled": done.ended, "stopping": done.asked})
    else:
        say(f"run {run_id}: {done.ended} episodes cancelled, {done.asked} running ones are ending")


def _followed(run_id: UUID, *, detach: bool, as_json: bool) -> None:
    from shared.tenancy.tenants import current_tenant

    if detach:
        say(run_id)
        return
    tenant_id = current_tenant()
    follow(tenant_id, run_id)
    show_run(tenant_id, run_id, as_json=as_json)


def _ranges(seeds: list[int]) -> str:
    """`3 to 7, 9`: seeds in ascending order, those in a row as one."""
    rows: list[list[int]] = []
    for seed in seeds:
        if rows and seed == rows[-1][-1] + 1:
            rows[-1].append(seed)
        else:
            rows.append([seed])
    return ", ".join(str(row[0]) if len(row) == 1 else f"{row[0]} to {row[-1]}" for row in rows)
