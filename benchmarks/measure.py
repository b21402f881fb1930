"""How two things are timed against each other, and what a figure says."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class PeerMissingError(Exception):
    """A peer cannot be measured here; the message is the line that says so."""


@dataclass(frozen=True)
class Figure:
    """One measurement beside another. `ratio` above 1 means that ours is better.

    For times and other costs the ratio is other / ours; where more is better (`more_is_better`),
    ours / other. A figure whose `other` is a limit of ours has `against` "limit".
    """

    name: str
    ours: float
    other: float
    unit: str
    against: str
    target: float
    "The least ratio that will do."
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        better, worse = (self.ours, self.other) if self.more_is_better else (self.other, self.ours)
        return better / worse if worse else float("inf")

    @property
    def met(self) -> bool:
        return self.ratio >= self.target


@dataclass(frozen=True)
class Skipped:
    """A figure that could not be taken here, and why."""

    name: str
    reason: str


class MeasurementError(Exception):
    """Our own side did not do what was to be measured; the message is one line."""


class Medians(NamedTuple):
    ours: float
    other: float


def interleaved(
    ours: Callable[[], object], other: Callable[[], object], rounds: int = 5
) -> Medians:
    """Median seconds of each, measured in turns so that a busy machine slows both alike.

    One round of each beforehand is not counted. ValueError for fewer than five rounds.
    """
    return interleaved_values(lambda: _seconds(ours), lambda: _seconds(other), rounds)


def interleaved_values(
    ours: Callable[[], float], other: Callable[[], float], rounds: int = 5
) -> Medians:
    """`interleaved` for work that times itself: the median of what each call returns."""
    if rounds < 5:
        raise ValueError(f"{rounds} rounds; expected at least 5 for a median")
    ours()
    other()
    pairs = [(ours(), other()) for _ in range(rounds)]
    return Medians(*(statistics.median(side) for side in zip(*pairs, strict=True)))


def median_cpu_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Median CPU seconds of `work` alone, for computations held against a fixed limit.

    CPU, because nothing runs beside it whose ratio would cancel what else the machine does.
    """
    if rounds < 5:
        raise ValueError(f"{rounds} rounds; expected at least 5 for a median")
    _seconds(work, time.process_time)
    return statistics.median(_seconds(work, time.process_time) for _ in range(rounds))


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    gc.collect()
    started = clock()
    work()
    return clock() - started
