"""What many episodes leave behind: memory of the worker, and processes once it has ended."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import psutil

from benchmarks import processes
from benchmarks.fleet import Fleet, fleet
from benchmarks.measure import Figure
from benchmarks.oracle import TASKS
from benchmarks.speed import CONTEXTS
from shared.local.ephemeral import TemporaryServices

EPISODES = 2_000
"All in all."
SETTLED_EPISODES = 200
"Of them, until all is loaded that is going to be."
GROWTH_LIMIT = 1.2


def figures(servers: TemporaryServices) -> Iterator[Figure]:
    with fleet(servers, 1, CONTEXTS) as ours:
        ours.run(TASKS, SETTLED_EPISODES)
        settled = _at_rest(ours)
        ours.run(TASKS, EPISODES - SETTLED_EPISODES)
        grown = _at_rest(ours)
        started = processes.families(ours.workers)
    _, left = psutil.wait_procs(started, timeout=10)
    yield Figure(
        "memory_growth",
        grown / settled,
        GROWTH_LIMIT,
        "times",
        f"limit (n=1: worker and browser after {EPISODES} episodes against after the first "
        f"{SETTLED_EPISODES}, PSS, idle: {settled / 1e6:.0f} and {grown / 1e6:.0f} MB)",
        target=1,
    )
    yield Figure(
        "processes_ended",
        len(started) - len(left),
        len(started),
        "",
        "of those that there were, 10 s after the worker was told to end",
        target=1,
        more_is_better=True,
    )


def _at_rest(ours: Fleet) -> float:
    """Once the last contexts are closed and the pages that are kept ready are made."""
    time.sleep(3)
    return statistics.median(ours.memory() for _ in range(5))
