"""Two workers of ours against AgentLab on BrowserGym with two."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fleet import fleet
from benchmarks.measure import Figure, PeerMissingError, Skipped
from benchmarks.oracle import TASKS
from benchmarks.peers import AGENTLAB, python_of, running
from benchmarks.processes import cpu_seconds
from benchmarks.speed import CpuMeter
from shared.local.chromium import find_chromium
from shared.local.ephemeral import TemporaryServices

WORKERS = 2
AT_A_TIME = 4
"In each of our workers, as `mlops up` has it."
EPISODES = 80
THEIR_EPISODES = 36
THEIR_FIRST = 6
"Of them; they start the workers and are not counted."
PATIENCE_SECONDS = 300.0


def figures(servers: TemporaryServices) -> Iterator[Figure | Skipped]:
    """Raises `PeerMissingError` where AgentLab cannot be had or is not asked for."""
    python_of(AGENTLAB)
    with fleet(servers, WORKERS, AT_A_TIME) as ours:
        meter = CpuMeter(ours.cpu_seconds)
        rate = meter.during(lambda: ours.run(TASKS, EPISODES).per_minute, EPISODES)
    full = full_chromium()
    if full is None:
        yield Skipped(
            "agentlab_as_shipped",
            "there is no full Chromium on this machine, which AgentLab takes as shipped",
        )
    else:
        yield from _against("agentlab_as_shipped", "full Chromium", full, rate, meter, 10, 8)
    shell = str(find_chromium().path)
    yield from _against("agentlab", "the same headless shell", shell, rate, meter, 6, 4)


def _against(
    name: str,
    browser: str,
    chromium: str,
    rate: float,
    meter: CpuMeter,
    faster: float,
    cheaper: float,
) -> Iterator[Figure]:
    their_rate, their_cpu = measured(chromium)
    conditions = (
        f"{AGENTLAB.title} on BrowserGym as shipped with {browser}, {WORKERS} workers by Ray, "
        f"{THEIR_EPISODES - THEIR_FIRST} episodes after the first {THEIR_FIRST}, n=1; ours "
        f"{WORKERS} workers with {AT_A_TIME} at a time, through the queue with a JPEG per step, "
        "the same tasks and actions, its tokens counted as characters / 4"
    )
    yield Figure(
        f"{name}_per_minute", rate, their_rate, "/min", conditions, faster, more_is_better=True
    )
    yield Figure(
        f"{name}_cpu_per_episode",
        meter.per_episode,
        their_cpu,
        "CPU s",
        f"{conditions}; ours with PostgreSQL, Redis and the telemetry's worker",
        cheaper,
    )


def measured(chromium: str) -> tuple[float, float]:
    """AgentLab's episodes a minute and CPU seconds per episode, once all of it is running."""
    with (
        tempfile.TemporaryDirectory(prefix="mlops-agentlab-") as folder,
        running(
            AGENTLAB,
            "benchmarks.in_agentlab",
            *(folder, str(THEIR_EPISODES), str(WORKERS)),
            BENCHMARK_CHROMIUM=chromium,
            AGENTLAB_EXP_ROOT=folder,
            RAY_USAGE_STATS_ENABLED="0",
        ) as theirs,
    ):

        def until(episodes: int) -> tuple[float, float]:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while _ended(Path(folder)) < episodes:
                if time.monotonic() > deadline or theirs.ended:
                    raise PeerMissingError(f"{AGENTLAB.title} failed: {theirs.last_error()}")
                time.sleep(0.1)
            return time.perf_counter(), cpu_seconds([theirs.root])

        begun, before = until(THEIR_FIRST)
        ended, after = until(THEIR_EPISODES)
        _require_success(Path(folder))
    episodes = THEIR_EPISODES - THEIR_FIRST
    return 60 * episodes / (ended - begun), (after - before) / episodes


def _ended(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/summary_info.json"))


def _require_success(folder: Path) -> None:
    for path in folder.glob("*/summary_info.json"):
        summary = json.loads(path.read_text())
        if summary["cum_reward"] != 1:
            said = (summary["err_msg"] or "no success").strip().splitlines()[-1]
            raise PeerMissingError(f"{AGENTLAB.title} failed: {path.parent.name}: {said}")


def full_chromium() -> str | None:
    """A Chromium that is no headless shell."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    return None
