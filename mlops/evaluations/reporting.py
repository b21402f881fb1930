"""`mlops evaluate report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mlops.console import Exit, complain, note, one_line_errors, say
from mlops.evaluations.changing import Run
from mlops.evaluations.figures import COLUMNS, LEGEND, is_simulated, rows
from mlops.evaluations.finding import find_run
from mlops.evaluations.outcome import agent_row_of, remarks

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.evaluation.report.page import Figures


def register(app: typer.Typer) -> None:
    app.command()(report)


@one_line_errors()
def report(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; run-<id>.html when left out.")
    ] = None,
    megabytes: Annotated[
        int, typer.Option(min=0, max=2_000, help="Of pictures in it, at most.")
    ] = 50,
) -> None:
    """Write a run as one HTML file that needs no network: figures, grid, steps with pictures.

    Example: mlops evaluate report 4f1c -o report.html
    """
    from shared.database import tenant_session
    from shared.evaluation.artifacts import ArtifactStore
    from shared.evaluation.report.page import write_report
    from shared.evaluation.standing import standing
    from shared.tenancy.tenants import current_tenant

    tenant_id = current_tenant()
    with tenant_session(tenant_id) as session:
        run_id = find_run(session, run)
        target = output or Path(f"run-{str(run_id)[:8]}.html")
        now = standing(session, run_id)
        try:
            written = write_report(
                session,
                run_id,
                target,
                ArtifactStore(tenant_id),
                cost_of=lambda agent: agent_row_of(session, agent)["cost"],
                figures=_figures(session, run_id),
                remarks=remarks(now, run_id),
                picture_bytes=megabytes * 1_000_000,
            )
        except OSError as error:
            raise complain(f"{target}: {error.strerror}", Exit.USAGE) from None
    if written.episodes_left_out:
        note(f"{written.episodes_left_out} episodes are only in its grid")
    if written.left_out:
        note(f"{written.left_out} pictures are left out, beyond {megabytes} MB")
    if written.gone:
        note(f"{written.gone} pictures are no longer kept")
    say(target)


def _figures(session: Session, run_id: UUID) -> Figures:
    from shared.evaluation.report.page import Figures
    from shared.evaluation.results.reading import score_models

    models = score_models(session, [run_id])
    simulated = frozenset(
        found.model
        for found in models
        if is_simulated(session, found.model, found.scores.llm_calls)
    )
    return Figures(
        COLUMNS,
        {one.model: rows(one.scores, simulated=one.model in simulated) for one in models},
        LEGEND,
        simulated,
    )
