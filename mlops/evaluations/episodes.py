"""`mlops evaluate episodes`: the episodes of a run, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Json, note, one_line_errors, print_json, print_table, shortened
from mlops.evaluations.changing import Run
from mlops.evaluations.finding import find_run
from shared.evaluation.outcomes import Outcome

if TYPE_CHECKING:
    from shared.evaluation.replaying import EpisodeLine

_REASON_CHARACTERS = 160


def register(app: typer.Typer) -> None:
    app.command()(episodes)


@one_line_errors()
def episodes(
    run: Run,
    outcome: Annotated[
        list[Outcome] | None, typer.Option(help="Only these; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List a run's episodes with how each ended and why, by task, seed and model.

    Example: mlops evaluate episodes 4f1c --outcome agent_error --outcome environment_error
    """
    from shared.database import tenant_session
    from shared.evaluation.replaying import episode_lines
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        run_id = find_run(session, run)
        found = episode_lines(session, run_id, outcome or ())
    shown = found[:limit]
    if as_json:
        print_json([asdict(line) for line in shown])
    else:
        _print(shown)
    if len(found) > limit:
        note(f"{len(found) - limit} more: `--limit {len(found)}` lists them")


def _print(lines: Sequence[EpisodeLine]) -> None:
    print_table(
        ["episode", "task", "seed", "model", "ended as", "steps", "reason"],
        [
            (
                str(line.id)[:13],
                line.task,
                line.seed,
                line.model,
                line.outcome or line.job_status,
                line.steps,
                None if line.reason is None else shortened(line.reason, _REASON_CHARACTERS),
            )
            for line in lines
        ],
        empty="the run has no such episode",
    )
