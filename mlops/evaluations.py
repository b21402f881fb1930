"""`mlops evaluate ...`: run benchmark episodes and see how the agents did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from mlops.agent_table import agent_row, print_agents
from mlops.console import (
    Exit,
    Json,
    complain,
    err,
    looking_up,
    note,
    one_line_errors,
    print_json,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.database import TenantId
    from shared.evaluation.reading import AgentSummary
    from shared.evaluation.tables import BenchmarkRun

app = typer.Typer(no_args_is_help=True, help="Evaluate agents on benchmark tasks.")

_LOOK_EVERY_SECONDS = 0.3
_NEWEST = 5


@app.command()
def run(
    model: Annotated[
        list[str], typer.Option(help="name@version, or name for its newest; again for one more.")
    ],
    task: Annotated[
        list[str] | None, typer.Option(help="A task; again for one more; all when left out.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Episodes of each task and model.")
    ] = 3,
    function: Annotated[
        str, typer.Option(help="The name that the run's telemetry is summed under.")
    ] = "evaluation",
    as_json: Json = False,
) -> None:
    """Evaluate models on tasks, wait, and show how each did.

    Example: mlops evaluate run --model my-agent --task click-test --task login-user --seeds 5
    """
    with one_line_errors():
        from mlops.client import submit
        from shared.database import tenant_session
        from shared.registry.models import key, resolve
        from shared.tenancy.tenants import current_tenant

        tenant_id = current_tenant()
        with tenant_session(tenant_id) as session, looking_up():
            models = [key(resolve(session, one)) for one in model]
        job = submit(
            {
                "job": "run_benchmark",
                "models": models,
                "tasks": task or [],
                "seeds": list(range(seeds)),
                "function": function,
            },
            tenant_id=tenant_id,
        )
        with _until_interrupted(f"`mlops job watch {job.id}` follows it"):
            with err.status("waiting for a worker of the queue control"):
                made = job.wait()
            if made.status != "succeeded":
                raise complain(f"job {made.id} {made.status}: {made.error}")
            run_id = UUID((made.result or {})["run_id"])
        with _until_interrupted(f"`mlops evaluate show {run_id}` shows how far it is"):
            _wait(tenant_id, run_id)
        _show(tenant_id, run_id, as_json)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run's identifier or a unique prefix of it.")],
    as_json: Json = False,
) -> None:
    """Show how the agents of a run did, as far as its episodes have ended.

    Example: mlops evaluate show 4f1c
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        tenant_id = current_tenant()
        with tenant_session(tenant_id) as session:
            run_id = _find(session, run).id
        _show(tenant_id, run_id, as_json)


def _wait(tenant_id: TenantId, run_id: UUID) -> None:
    """Until all episodes of the run have ended, with a bar on stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    from shared.database import tenant_session
    from shared.evaluation.reading import progress

    columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        line = bar.add_task("episodes", total=None)
        while True:
            with tenant_session(tenant_id) as session:
                now = progress(session, [run_id])
            bar.update(line, completed=now.ended, total=now.total)
            if now.done:
                return
            time.sleep(_LOOK_EVERY_SECONDS)


def _show(tenant_id: TenantId, run_id: UUID, as_json: bool) -> None:
    from shared.database import tenant_session
    from shared.evaluation.reading import progress, summarize

    with tenant_session(tenant_id) as session:
        now = progress(session, [run_id])
        agents = [
            agent_row(row, simulated=_is_simulated(session, row))
            for row in summarize(session, [run_id])
        ]
    if as_json:
        print_json({"run": run_id, "episodes": now.total, "ended": now.ended, "agents": agents})
        return
    print_agents(agents)
    broken = sum(row["environment_errors"] for row in agents)
    if broken:
        note(
            f"{broken} of {now.total} episodes ended in an environment error:"
            " `mlops job list --status failed` says why"
        )
    if not now.done:
        note(f"{now.ended} of {now.total} episodes have ended")
    note(f"run {run_id}")


def _is_simulated(session: Session, row: AgentSummary) -> bool:
    """Whether the price of the agent's calls is a simulated one, by the price table."""
    if not row.llm_calls or row.agent != "llm":
        return False
    from shared.costs.prices import Price, shipped_prices
    from shared.evaluation.agents.parameters import LlmParameters
    from shared.evaluation.protocol import LlmCall
    from shared.registry.models import resolve

    agent = LlmParameters.model_validate(resolve(session, row.model).parameters)
    call = LlmCall(
        provider=agent.provider_name,
        llm_model=agent.model,
        latency_ms=0,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        query_length=0,
    )
    price = shipped_prices().price(call, datetime.now(UTC))
    return isinstance(price, Price) and price.simulated


def _find(session: Session, identifier: str) -> BenchmarkRun:
    import sqlalchemy as sa

    from shared.evaluation.tables import BenchmarkRun

    newest = sa.select(BenchmarkRun).order_by(BenchmarkRun.created_at.desc())
    prefix = identifier.strip().lower()
    found: Any = ()
    if prefix and all(c in "0123456789abcdef-" for c in prefix):
        identifiers = sa.cast(BenchmarkRun.id, sa.Text)
        found = session.scalars(newest.where(identifiers.startswith(prefix)).limit(2)).all()
    if len(found) > 1:
        raise complain(f"more than one run starts with {prefix!r}: give more of it", Exit.NOT_FOUND)
    if not found:
        known = ", ".join(str(run.id)[:8] for run in session.scalars(newest.limit(_NEWEST)))
        raise complain(
            f"no run {identifier[:100]!r}; the newest: {known or 'there is none yet'}",
            Exit.NOT_FOUND,
        )
    return found[0]


@contextmanager
def _until_interrupted(advice: str) -> Iterator[None]:
    """Ctrl-C ends the waiting and not the run."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"the run goes on: {advice}")
        raise typer.Exit(Exit.INTERRUPTED) from None
