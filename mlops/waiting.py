"""Waiting for a job, and saying so when nobody works on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mlops.console import complain, err, note, until_interrupted

if TYPE_CHECKING:
    from mlops.client import Job

LOOK_EVERY_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
"Without a worker for so long, the user is told where to look."


def made_by_worker(job: Job) -> dict[str, Any]:
    """The result of a job, once it has ended; ends the command when it failed."""
    from shared.jobs.tables import JobStatus

    row = job.row()
    hint = Hint(row.queue, "the job")
    with (
        until_interrupted(f"the job goes on: `mlops job watch {job.id}` follows it"),
        err.status(f"waiting for a worker of the queue {row.queue}"),
    ):
        while not JobStatus(row.status).ended:
            hint.unless(row.status != JobStatus.QUEUED)
            time.sleep(LOOK_EVERY_SECONDS)
            row = job.row()
    if row.status != JobStatus.SUCCEEDED:
        raise complain(f"job {row.id} {row.status}: {row.error}")
    return row.result or {}


class Hint:
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
