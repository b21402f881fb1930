"""Six columns of two windows judged by us and by Evidently's `DataDriftPreset`: CPU seconds.

Ours counts each column, makes the four tests and all effect sizes of it, and judges the six as one
sweep. Evidently makes one test of each column: by its own choice the Wasserstein distance of
numbers and the Jensen-Shannon distance of categories, or, where it is told so, Kolmogorov-Smirnov
and chi-square, which are two of our four. Its report holds what it would draw; that nothing is
drawn, imported or read is the same for both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Figure, MeasurementError, interleaved_values
from benchmarks.peers import EVIDENTLY, Running, running
from shared.drift.comparison import compare
from shared.drift.verdicts import ComparedMetric, DriftState, judge
from shared.drift.window_pair import WindowPair

ROWS = (10**5, 10**6)
METHODS = ("default", "ks")
TARGET = 20.0

Columns = Mapping[str, npt.NDArray[np.generic]]


def columns(rng: np.random.Generator, rows: int, slower: float = 0.0) -> Columns:
    """What an agent's calls look like; latencies are `slower` on the scale of logarithms."""
    return {
        "latency_ms": np.rint(rng.lognormal(7 + slower, 0.8, rows)).astype(np.int64),
        "query_length": rng.poisson(900, rows),
        "confidence": rng.beta(5, 2, rows),
        "tokens": rng.integers(500, 20_000, rows),
        "dom_nodes": np.rint(rng.lognormal(6, 0.5, rows)).astype(np.int64),
        "error": (rng.random(rows) < 0.05).astype(np.int64),
    }


def judged(baseline: Columns, current: Columns) -> dict[str, DriftState]:
    """Our side: every column's state."""
    verdicts = judge(
        [
            ComparedMetric("", name, compare(WindowPair.from_arrays(baseline[name], current[name])))
            for name in baseline
        ]
    )
    return {verdict.metric_name: verdict.state for verdict in verdicts}


def figures() -> Iterator[Figure]:
    """Raises `PeerMissingError` where Evidently cannot be had or is not asked for."""
    rng = np.random.default_rng(7)
    with (
        running(EVIDENTLY, "benchmarks.in_evidently") as theirs,
        tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as scratch,
    ):
        for rows in ROWS:
            baseline, current = columns(rng, rows), columns(rng, rows, slower=0.5)
            folder = _saved(Path(scratch) / str(rows), baseline, current)
            for method in METHODS:
                yield _beside(theirs, folder, method, baseline, current)


def _beside(
    theirs: Running, folder: Path, method: str, baseline: Columns, current: Columns
) -> Figure:
    rows = baseline["error"].size
    medians = interleaved_values(
        lambda: _cpu_seconds(baseline, current), lambda: float(theirs.ask(f"{folder} {method}"))
    )
    tests = "its own choice of one test" if method == "default" else "KS and chi-square alone"
    return Figure(
        f"evidently_{method}_{rows:.0e}".replace("+0", ""),
        *medians,
        "CPU s",
        f"{EVIDENTLY.title} DataDriftPreset, {tests} per column; ours all four tests, their effect"
        f" sizes and the verdicts; six columns of {rows:,} rows in both windows",
        TARGET,
    )


def _cpu_seconds(baseline: Columns, current: Columns) -> float:
    begun = time.process_time()
    states = judged(baseline, current)
    took = time.process_time() - begun
    moved = [name for name, state in states.items() if state is DriftState.DRIFT]
    if moved != ["latency_ms"]:
        raise MeasurementError(f"drift in {moved}; expected in latency_ms alone")
    return took


def _saved(folder: Path, baseline: Columns, current: Columns) -> Path:
    for window, of in (("baseline", baseline), ("current", current)):
        (folder / window).mkdir(parents=True)
        for name, values in of.items():
            np.save(folder / window / f"{name}.npy", values)
    return folder
