"""Many episodes at a time and many workers: what they add, against one of them.

The model is the stand-in, which answers by rules after a second. Its episodes end in success or
failure, for it slips now and then; any other end is an error.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.fleet import ENDED, Done, Fleet, fleet
from benchmarks.measure import Figure, MeasurementError
from benchmarks.oracle import TASKS
from shared.local.ephemeral import TemporaryServices

LATENCY_MS = 1000

AT_ONCE = 32
AT_ONCE_EPISODES = 96
ALONE_EPISODES = 4
MANY_STEPS = ("click-checkboxes-large",)
"Of ten steps each or so: an episode that a model ends with a few is rare."
MEMORY_LIMIT = 2e9

WORKERS_AT_A_TIME = 4
WORKERS_EPISODES = 25
"Of one round."
WORKERS_ROUNDS = 3
WORKERS_TARGET = 1.7

PROCESSES = (1, 2, 4, 8)
PER_PROCESS = 10
"Episodes of one measurement."

LlmAgent = tuple[str, Mapping[str, object]]


def figures(servers: TemporaryServices) -> Iterator[Figure]:
    yield from many_at_a_time(servers)
    yield two_workers(servers)
    yield from scaling(servers)


def many_at_a_time(servers: TemporaryServices) -> Iterator[Figure]:
    """A model that takes a second per step: 32 episodes at a time in one worker, and one."""
    peak = _Peak()
    with slow_model() as model:
        with fleet(servers, 1, 1) as one:
            alone = _asking(one, MANY_STEPS, ALONE_EPISODES, model)
        with fleet(servers, 1, AT_ONCE) as many:
            together = many.run(
                MANY_STEPS,
                AT_ONCE_EPISODES,
                agent=model,
                expected=ENDED,
                meanwhile=lambda: peak.look(many),
            )
    yield Figure(
        "at_a_time_32",
        together.steps / together.seconds,
        alone.steps / alone.seconds,
        "steps/s",
        f"one at a time in one worker, n=1: {ALONE_EPISODES} and {AT_ONCE_EPISODES} episodes of "
        f"{MANY_STEPS[0]} with {alone.steps / alone.episodes:.1f} and "
        f"{together.steps / together.episodes:.1f} steps each, {together.timeouts} of them over "
        f"their time, a JPEG of each step, stand-in model that takes {LATENCY_MS} ms, "
        f"{os.cpu_count()} CPUs",
        target=20,
        more_is_better=True,
    )
    yield Figure(
        "at_a_time_32_memory",
        peak.bytes / 1e6,
        MEMORY_LIMIT / 1e6,
        "MB",
        "limit (the most that worker and browser held, PSS)",
        target=1,
    )


def two_workers(servers: TemporaryServices) -> Figure:
    """Episodes that wait for nothing, so that the cores decide."""
    rates = {}
    for workers in (1, 2):
        with fleet(servers, workers, WORKERS_AT_A_TIME) as ours:
            rates[workers] = statistics.median(
                ours.run(TASKS, WORKERS_EPISODES).per_minute for _ in range(WORKERS_ROUNDS)
            )
    return Figure(
        "two_workers",
        rates[2],
        rates[1],
        "/min",
        f"one worker, {WORKERS_AT_A_TIME} episodes at a time in each, rule-based agent, "
        f"{os.cpu_count()} CPUs; medians of {WORKERS_ROUNDS}, one side after the other",
        target=WORKERS_TARGET,
        more_is_better=True,
    )


def scaling(servers: TemporaryServices) -> Iterator[Figure]:
    """Episodes that wait for a model, one at a time in more and more workers."""
    rates = {}
    with slow_model() as model:
        for workers in PROCESSES:
            with fleet(servers, workers, 1) as ours:
                rates[workers] = _asking(
                    ours, ("click-test",), workers * PER_PROCESS, model
                ).per_minute
    for workers in PROCESSES[1:]:
        yield Figure(
            f"waiting_workers_{workers}",
            rates[workers],
            rates[1],
            "/min",
            "one worker, n=1: one episode of click-test at a time in each, stand-in model that "
            f"takes {LATENCY_MS} ms, {os.cpu_count()} CPUs",
            target=WORKERS_TARGET / 2 * workers,
            more_is_better=True,
        )


class _Peak:
    """The most memory that was seen, looked at once a second: a look is not for nothing."""

    def __init__(self) -> None:
        self.bytes = 0.0
        self._next = 0.0

    def look(self, ours: Fleet) -> None:
        if time.monotonic() >= self._next:
            self.bytes = max(self.bytes, ours.memory())
            self._next = time.monotonic() + 1


def _asking(ours: Fleet, tasks: tuple[str, ...], episodes: int, model: LlmAgent) -> Done:
    return ours.run(tasks, episodes, agent=model, expected=ENDED)


@contextmanager
def slow_model() -> Iterator[LlmAgent]:
    """An agent that asks a stand-in model, in a process of its own, that takes its time."""
    command = [sys.executable, "-m", "shared.evaluation.stand_in", "--latency-ms", str(LATENCY_MS)]
    # Wide enough that the address is not broken over two lines.
    variables = os.environ | {"COLUMNS": "200"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            if found is None:
                raise MeasurementError(f"the stand-in model gave no address, but {said!r}")
            yield "llm", {"model": "stand-in", "base_url": found[0], "api_key_env": None}
        finally:
            process.terminate()
