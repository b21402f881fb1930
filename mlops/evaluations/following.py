"""Waiting for a run, with a bar on stderr, and saying so when nobody works on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops.console import err, until_interrupted
from mlops.waiting import LOOK_EVERY_SECONDS, Hint

if TYPE_CHECKING:
    from rich.progress import Task

    from shared.database import TenantId
    from shared.evaluation.standing import Standing


def follow(tenant_id: TenantId, run_id: UUID) -> Standing:
    """Until all episodes of the run have ended; where it stands then."""
    from rich.progress import Progress

    from shared.database import tenant_session
    from shared.evaluation.standing import standing

    hint = Hint("evaluation", "an episode")
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
