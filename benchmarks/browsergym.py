"""One worker of ours against BrowserGym alone, tuned, in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.fleet import fleet
from benchmarks.measure import Figure, interleaved_values
from benchmarks.oracle import TASKS
from benchmarks.peers import BROWSERGYM, Running, running
from benchmarks.processes import cpu_seconds
from benchmarks.speed import CONTEXTS, CpuMeter
from shared.local.chromium import find_chromium
from shared.local.ephemeral import TemporaryServices

EPISODES = 30
"Of one round of ours."
THEIR_EPISODES = 5


def figures(servers: TemporaryServices) -> Iterator[Figure]:
    """Raises `PeerMissingError` where BrowserGym cannot be had."""
    chromium = str(find_chromium().path)
    with (
        running(BROWSERGYM, "benchmarks.in_browsergym", chromium) as theirs,
        fleet(servers, 1, CONTEXTS) as ours,
    ):
        cost, their_cost = CpuMeter(ours.cpu_seconds), CpuMeter(lambda: cpu_seconds([theirs.root]))
        medians = interleaved_values(
            lambda: cost.during(lambda: ours.run(TASKS, EPISODES).per_minute, EPISODES),
            lambda: their_cost.during(lambda: _per_minute(theirs), THEIR_EPISODES),
        )
    conditions = (
        f"{BROWSERGYM.title} in one process, tuned (no slow motion, no waits, no chat window), "
        "a new browser per episode and one at a time as it works, the same headless shell, tasks "
        f"and actions; ours one worker, {CONTEXTS} at a time, through the queue with a JPEG per "
        "step"
    )
    yield Figure(
        "browsergym_per_worker", *medians, "/min", conditions, target=2.5, more_is_better=True
    )
    yield Figure(
        "browsergym_cpu_per_episode",
        cost.per_episode,
        their_cost.per_episode,
        "CPU s",
        f"{conditions}, with PostgreSQL, Redis and the telemetry's worker",
        target=1,
    )


def _per_minute(theirs: Running) -> float:
    begun = time.perf_counter()
    theirs.ask(str(THEIR_EPISODES))
    return 60 * THEIR_EPISODES / (time.perf_counter() - begun)
