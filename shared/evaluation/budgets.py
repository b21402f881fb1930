"""Keeping a run to its budget while its episodes are played.

What has been recorded is asked once at the start of each episode; what runs in this process is
known here. So a run can exceed its budget by one step of each running episode, and by what
episodes of other worker processes spend until they end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

Recorded = Callable[[Collection[UUID]], int]
"Nano-dollars that the run is known to have cost, without these episodes."


@dataclass(eq=False)
class Spending:
    """One running episode's known cost, and that of the run it belongs to."""

    episode_id: UUID
    before: int
    "Nano-dollars of its earlier attempts."
    run: _Run
    lost: Callable[[], bool]
    "Whether another worker has taken the episode over."
    so_far: int = 0
    ended: bool = False

    def over(self, nanos: int) -> bool:
        """Whether the budget is spent, now that this attempt has cost so much. Never blocks."""
        self.so_far = nanos
        return self.run.spent() >= self.run.budget

    def end(self) -> None:
        """Its cost is recorded from now on."""
        self.ended = True


@dataclass(eq=False)
class _Run:
    budget: int = 0
    recorded: int = 0
    "Without the episodes in `here`."
    here: list[Spending] = field(default_factory=list)
    starting: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    "Episodes that are about to be counted in."

    @property
    def over(self) -> bool:
        """Whether it has no episode here: what it has cost is recorded."""
        return not self.waiting and all(one.ended or one.lost() for one in self.here)

    def spent(self) -> int:
        return self.recorded + sum(one.before + one.so_far for one in self.here)


class Ledger:
    """The runs with a budget that have episodes in this process; may be used by any thread."""

    def __init__(self) -> None:
        self._runs: dict[UUID, _Run] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many runs it knows: those with an episode here, as of the last one that began."""
        return len(self._runs)

    def begin(
        self,
        run_id: UUID,
        episode_id: UUID,
        *,
        budget: int,
        before: int,
        recorded: Recorded,
        lost: Callable[[], bool],
    ) -> Spending:
        """Count this episode in. `recorded` is asked once, and may block."""
        with self._lock:
            self._runs = {known: run for known, run in self._runs.items() if not run.over}
            run = self._runs.setdefault(run_id, _Run())
            run.waiting += 1
        spending = Spending(episode_id, before, run, lost)
        try:
            with run.starting:
                # Those that ended before the question is asked are in its answer.
                running = [one for one in run.here if not (one.ended or one.lost())]
                total = recorded([episode_id, *(one.episode_id for one in running)])
                run.budget, run.recorded, run.here = budget, total, [*running, spending]
        finally:
            with self._lock:
                run.waiting -= 1
        return spending
