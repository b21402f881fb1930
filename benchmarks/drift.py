"""Drift: what its four tests cost, what a sweep costs, and whether its verdicts can be trusted.

The tests from counts against a limit and from arrays against scipy's four calls; a sweep over many
functions; changes that are known beside River's detectors; columns beside Evidently.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import drift_changes, drift_evidently, drift_sweep
from benchmarks.measure import Figure, PeerMissingError, Skipped, interleaved, median_cpu_seconds
from shared.drift.comparison import compare
from shared.drift.window_pair import WindowPair
from shared.telemetry.histograms import BINS, representatives

_VALUES = 10**6
_LIMIT_MS = 2.0
_REPEATS = 20
"Calls in one timing of the fast figures, so that the clock's own cost does not count."

Array = npt.NDArray[Any]


def figures() -> Iterator[Figure | Skipped]:
    """Also prints the tables of `drift_changes`, which say more than a figure."""
    yield from _of_tests()
    yield from drift_sweep.figures()
    for name, beside_peer in (
        ("river", drift_changes.figures),
        ("evidently", drift_evidently.figures),
    ):
        try:
            yield from beside_peer()
        except PeerMissingError as missing:
            yield Skipped(name, str(missing))


def _of_tests() -> Iterator[Figure]:
    """Milliseconds for all four tests and their effect sizes."""
    rng = np.random.default_rng(2024)
    for name, mean in (("counts_4096_bins", 300), ("counts_4096_bins_10_9_events", 250_000)):
        seconds = median_cpu_seconds(
            _of_counts(rng.poisson(mean, BINS), rng.poisson(mean, BINS)), 15
        )
        ours = seconds / _REPEATS * 1000
        yield Figure(name, ours, _LIMIT_MS, "CPU ms", "limit", target=1)
    yield _against_scipy(
        "arrays_10_6_floats", rng.normal(size=_VALUES), rng.normal(0.001, 1, size=_VALUES), 5
    )
    yield _against_scipy(
        "arrays_10_6_integers", rng.poisson(900, _VALUES), rng.poisson(900, _VALUES), 20
    )


def _of_counts(baseline: Array, current: Array) -> Callable[[], None]:
    positions = representatives(np.arange(BINS))

    def work() -> None:
        for _ in range(_REPEATS):
            compare(WindowPair.from_counts(baseline, current, positions))

    return work


def _against_scipy(name: str, baseline: Array, current: Array, target: float) -> Figure:
    medians = interleaved(
        lambda: compare(WindowPair.from_arrays(baseline, current)),
        lambda: _scipys_four(baseline, current),
    )
    ours, other = (seconds * 1000 for seconds in medians)
    return Figure(name, ours, other, "ms", "scipy's four tests", target)


def _scipys_four(baseline: Array, current: Array) -> None:
    """The same tests by scipy; chi-square over 32 bins, because it needs a table."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Anderson-Darling's p-value is clipped
        stats.ks_2samp(baseline, current, method="asymp")
        stats.mannwhitneyu(baseline, current, method="asymptotic")
        stats.anderson_ksamp([baseline, current], variant="midrank")
        edges = np.histogram_bin_edges(np.concatenate((baseline, current)), 32)
        table = np.array([np.histogram(window, edges)[0] for window in (baseline, current)])
        stats.chi2_contingency(table[:, table.sum(axis=0) > 0], correction=False)
