"""How long a newcomer waits, for the services and for the demonstration; and how fast it runs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import agentlab, browsergym, concurrency, endurance, speed
from benchmarks.measure import Figure, MeasurementError, PeerMissingError, Skipped
from benchmarks.services import URLS, environment, measured_services, open_folder
from shared.local.services import running_services

READY_SECONDS = 5.0
DEMO_SECONDS = 180.0
ROUNDS = 5


def figures() -> Iterator[Figure | Skipped]:
    """Seconds, each against its limit; the demonstration is run once, for it takes a minute."""
    with environment(**dict.fromkeys(URLS)):
        ready = statistics.median(_seconds_until_ready() for _ in range(ROUNDS))
        yield Figure("services_ready", ready, READY_SECONDS, "s", "limit", target=1)
        yield Figure("demo", _demo_seconds(), DEMO_SECONDS, "s", "limit (n=1)", target=1)
    with measured_services() as servers:
        for own in (speed, concurrency, endurance):
            yield from own.figures(servers)
        for name, peer in (("browsergym", browsergym), ("agentlab", agentlab)):
            try:
                yield from peer.figures(servers)
            except PeerMissingError as missing:
                yield Skipped(name, str(missing))


def _seconds_until_ready() -> float:
    """PostgreSQL and Redis as `mlops up` starts them, from nothing: `initdb` is part of it."""
    with open_folder() as folder:
        begun = time.perf_counter()
        with running_services(folder / "state", programs=()):
            return time.perf_counter() - begun


def _demo_seconds() -> float:
    """`mlops demo` with a new state folder, until it has shown and checked its result."""
    with open_folder() as folder:
        state = {"MLOPS_STATE_DIR": str(folder / "state")}
        begun = time.perf_counter()
        try:
            demo = _mlops("demo", folder, state)
            seconds = time.perf_counter() - begun
        finally:
            _mlops("down", folder, state)
    if demo.returncode != 0:
        said = (demo.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MeasurementError(f"`mlops demo` ended with {demo.returncode} and said: {said}")
    return seconds


def _mlops(
    command: str, folder: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlops.cli", command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
