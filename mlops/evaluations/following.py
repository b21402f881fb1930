"""Waiting for a run, with a bar on stderr, and saying so when nobody works on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops.console import complain, err, note, until_interrupted

if TYPE_CHECKING:
    from rich.progress import Task

    from mlops.client import Job
    from shared.database import TenantId
    from shared.evaluation.standing import Standing

LOOK_EVERY_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
"Without a worker for so long, the user is told where to look."


def made_by_worker(job: Job) -> dict[str, Any]:
    """The result of a job of the queue `control`; ends the command when it failed."""
    from shared.jobs.tables import JobStatus

    hint = _Hint("control", "the job")
    with (
        until_interrupted(f"the job goes on: `mlops job watch {job.id}` follows it"),
        err.status("waiting for a worker of the queue control"),
    ):
        row = job.row()
        while not JobStatus(row.status).ended:
            hint.unless(row.status != JobStatus.QUEUED)
            time.sleep(LOOK_EVERY_SECONDS)
            row = job.row()
    if row.status != JobStatus.SUCCEEDED:
        raise complain(f"job {row.id} {row.status}: {row.error}")
    return row.result or {}


def follow(tenant_id: TenantId, run_id: UUID) -> Standing:
    """Until all episodes of the run have ended; where it stands then."""
    from rich.progress import Progress

    from shared.database import tenant_session
    from shared.evaluation.standing import standing

    hint = _Hint("evaluation", "an episode")
    ended_at_first: int | None = None
    with (
        until_interrupted(f"the run goes on: `mlops evaluate show {run_id}` shows how far it is"),
        Progress(*_columns(), console=err) as bar,
    ):
        line = bar.add_task("episodes", total=None)
        while True:
            with tenant_session(tenant_id) as session:
                now = standing(session, run_id)
            if ended_at_first is None:
                ended_at_first = now.ended
            bar.update(line, completed=now.ended, total=now.total)
            if now.done:
                return now
            hint.unless(now.running > 0 or now.ended > ended_at_first)
            time.sleep(LOOK_EVERY_SECONDS)


class _Hint:
    """Says once, when nothing was taken for some seconds, how to find out why."""

    def __init__(self, queue: str, what: str) -> None:
        self._queue, self._what = queue, what
        self._since: float | None = time.monotonic()

    def unless(self, taken: bool) -> None:
        if taken:
            self._since = None
        if self._since is not None and time.monotonic() - self._since > PATIENCE_SECONDS:
            self._since = None
            note(
                f"no worker of the queue {self._queue} has taken {self._what} for"
                f" {PATIENCE_SECONDS:g} s: `mlops status` shows what runs, `mlops doctor` what is"
                " wrong"
            )


def _columns() -> tuple[Any, ...]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Episodes a minute since the bar is there."""

        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{60 * rate:.0f}/min")

    return (
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
