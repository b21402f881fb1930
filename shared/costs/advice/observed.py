"""What advice is drawn from: values that `reading` fetches and the other modules take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.evaluation.results.pairing import Unit
from shared.telemetry.histograms import Histogram
from shared.telemetry.reading import Sums


@dataclass(frozen=True)
class Traffic:
    """What one model did within one function in the window, from rollups."""

    model: str
    function: str
    sums: Sums
    query_length: Histogram
    "Characters sent in a call."
    tokens: Histogram
    "Input and output of a call."


@dataclass(frozen=True)
class CallGroup:
    """The calls of one model in one function that asked one model of one provider."""

    model: str
    function: str
    provider: str | None
    llm_model: str | None
    calls: int
    simulated: int
    counted: int
    "Calls whose input and cached reads are known; the two sums are of these."
    input_tokens: int
    cached_tokens: int
    silent: int
    "Calls whose input is known, and how much of it was read from the cache is not."
    failed: int
    failed_nanos: int
    failed_unpriced: int
    repeated: int
    "Calls that did not fail, and say that they were not the first attempt."
    repeated_nanos: int
    repeated_unpriced: int
    commonest_error: str | None


@dataclass(frozen=True)
class RecentCalls:
    """The newest calls of the window, up to a limit, by what they asked."""

    groups: tuple[CallGroup, ...]
    since: datetime
    until: datetime
    complete: bool
    "Whether these are all calls of the window; else `since` is when the oldest of them was made."

    @property
    def span(self) -> timedelta:
        return self.until - self.since

    @property
    def calls(self) -> int:
        return sum(group.calls for group in self.groups)

    @property
    def source(self) -> str:
        if self.complete:
            return "all model calls of the window"
        return f"the newest {self.calls:,} model calls, since {self.since:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Trial:
    """One scored episode: whether it succeeded (strictly), and what its model calls cost."""

    success: bool
    nanos: int
    calls: int
    unpriced_calls: int


Trials = Mapping[Unit, Trial]
"Of one model, by task and seed."


@dataclass(frozen=True)
class Arm:
    """One variant of an A/B test: units with a scored episode, and what these cost each."""

    model: str
    scored: int
    successes: int
    mean_nanos: float
    variance: float
    "Of what one costs, in squared nano-dollars; 0 for fewer than two."
    calls: int
    unpriced_calls: int


@dataclass(frozen=True)
class SplitTest:
    """An A/B test: every unit was one arm's alone."""

    name: str
    arms: tuple[Arm, ...]
    mismatch: bool = False
    "Whether its units do not follow the weights, so that no rate can be trusted."


@dataclass(frozen=True)
class TaskCost:
    """What one model spent in the window on one benchmark task."""

    task: str
    model: str
    function: str
    scored: int
    successes: int
    nanos: int
    calls: int
    unpriced_calls: int
