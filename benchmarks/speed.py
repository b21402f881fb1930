"""How fast episodes run through the queue, and what they cost: against raw Playwright.

The worker is the product's own, as `mlops up` runs it, with the worker that takes in telemetry
beside it, on a PostgreSQL that writes its log to disk. An episode counts once its row is
written. The rule-based agent does on the five tasks of `oracle.py` what the peers' scripts do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.fleet import fleet
from benchmarks.measure import Figure, interleaved_values
from benchmarks.oracle import TASKS
from benchmarks.raw_playwright import RawPlaywright
from shared.local.ephemeral import TemporaryServices

CONTEXTS = 8
EPISODES = 30
"Of one round."


class CpuMeter:
    """CPU seconds per episode over all rounds of one side; `used` tells what it has used so far."""

    def __init__(self, used: Callable[[], float]) -> None:
        self._used = used
        self._seconds = 0.0
        self._episodes = 0

    def during(self, work: Callable[[], float], episodes: int) -> float:
        """What `work` returns."""
        before = self._used()
        returned = work()
        self._seconds += self._used() - before
        self._episodes += episodes
        return returned

    @property
    def per_episode(self) -> float:
        return self._seconds / self._episodes


def figures(servers: TemporaryServices) -> Iterator[Figure]:
    """Episodes a minute with a picture of every step, and those of a bare loop with nothing."""
    with fleet(servers, 1, CONTEXTS) as ours, RawPlaywright(CONTEXTS) as raw:
        cost, raw_cost = CpuMeter(ours.cpu_seconds), CpuMeter(raw.cpu_seconds)
        medians = interleaved_values(
            lambda: cost.during(lambda: ours.run(TASKS, EPISODES).per_minute, EPISODES),
            lambda: raw_cost.during(lambda: 60 * EPISODES / raw.run(TASKS, EPISODES), EPISODES),
        )
    conditions = (
        f"raw async Playwright in one process, a fresh context per episode, {CONTEXTS} at a time "
        "as ours, the same browser, tasks and actions; ours through the queue with a JPEG per "
        "step and telemetry, raw records nothing"
    )
    yield Figure("per_minute", *medians, "/min", conditions, target=0.7, more_is_better=True)
    yield Figure(
        "cpu_per_episode",
        cost.per_episode,
        raw_cost.per_episode,
        "CPU s",
        f"{conditions}; ours with PostgreSQL, Redis and the telemetry's worker",
        target=0.5,
    )
