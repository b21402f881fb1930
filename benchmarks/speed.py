"""How fast episodes run through the queue: against raw Playwright.

The worker is the product's own, as `mlops up` runs it, with the worker that takes in telemetry
beside it, on a PostgreSQL that writes its log to disk. An episode counts once its row is
written. The rule-based agent does on the five tasks of `oracle.py` what the peers' scripts do.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.fleet import fleet
from benchmarks.measure import Figure, interleaved_values
from benchmarks.oracle import TASKS
from benchmarks.raw_playwright import RawPlaywright

CONTEXTS = 8
EPISODES = 48
"Of one round."


def figures() -> Iterator[Figure]:
    """To be taken within `measured_services`."""
    yield from against_raw_playwright()


def against_raw_playwright() -> Iterator[Figure]:
    """Episodes a minute with a picture of every step, and those of a bare loop with nothing."""
    with fleet(1, CONTEXTS) as ours, RawPlaywright(CONTEXTS) as raw:
        medians = interleaved_values(
            lambda: 60 * EPISODES / ours.run(TASKS, EPISODES),
            lambda: 60 * EPISODES / raw.run(TASKS, EPISODES),
        )
    yield Figure(
        "episodes_per_minute",
        *medians,
        "/min",
        f"raw async Playwright in one process, a fresh context per episode, {CONTEXTS} at a time "
        "as ours, the same browser, tasks and actions; ours through the queue with a JPEG per "
        "step and telemetry, raw records nothing",
        target=0.7,
        more_is_better=True,
    )
