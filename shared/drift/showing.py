"""What people are shown of drift, as values: filled from the database, drawn in a terminal or HTML.

Counts are integers, times are aware UTC, magnitudes run from 0 (see `effects.magnitude`). Names
come from telemetry and may hold anything: whatever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from shared.drift.concept import CalibrationError
from shared.drift.effects import Counts, Floats, magnitude
from shared.drift.quality import QualityFinding, QualityState
from shared.drift.several_windows import SeveralWindows
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.evaluation.intervals import Interval, wilson
from shared.telemetry.histograms import BINS, LARGEST_VALUE, Histogram, aligned, representatives
from shared.telemetry.histograms import lower_edges as histogram_edges

NOT_JUDGED: Final = (DriftState.NO_DATA, DriftState.INSUFFICIENT)
"States without a finding: neither drift nor no drift."
_FURTHEST: Final = 1e300
"Beyond it the difference of two values is no number; nobody reads an axis that far."


@dataclass(frozen=True)
class Period:
    """When the values of a window are from; `words` says how it was chosen, if there is more."""

    start: datetime
    end: datetime
    words: str = ""


class Quantiles(NamedTuple):
    """What is marked on a distribution: 5 %, 50 % and 95 % of its values are at most these."""

    low: float
    median: float
    high: float


class Gap(NamedTuple):
    """Where two distributions are furthest apart: shares of the windows at or below `value`."""

    value: float
    baseline: float
    current: float


@dataclass(frozen=True, eq=False)
class Distribution:
    """Both windows of a numeric metric, as counts over shared values in the metric's unit.

    Where a position stands for all values of a bin, `lower` and `upper` are the bin's edges, so
    that its count can be shared out; without them positions are the values themselves. Raises
    ValueError if positions are not finite and rising, or a count is not an integer from 0.
    """

    positions: Floats
    baseline: Counts
    current: Counts
    unit: str = ""
    lower: Floats | None = None
    upper: Floats | None = None

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, dtype=np.float64).ravel()
        if not (np.isfinite(positions).all() and (np.diff(positions) > 0).all()):
            raise ValueError("positions do not rise; expected finite, strictly rising values")
        for name in ("baseline", "current"):
            _replace(self, name, _counts(getattr(self, name), name, positions.size))
        if (self.lower is None) != (self.upper is None):
            raise ValueError("one edge of the bins; expected both or none")
        for name in ("lower", "upper"):
            edges = getattr(self, name)
            if edges is not None:
                edges = np.asarray(edges, dtype=np.float64).ravel()
                if edges.size != positions.size:
                    raise ValueError(f"{edges.size} {name} edges of {positions.size} positions")
                _replace(self, name, edges.clip(-_FURTHEST, _FURTHEST))
        _replace(self, "positions", positions.clip(-_FURTHEST, _FURTHEST))

    @classmethod
    def of_histograms(
        cls,
        baseline: Histogram,
        current: Histogram,
        unit: str = "",
        *,
        scale: float = 1.0,
        largest: float = np.inf,
    ) -> Self:
        """Two of the rollups' histograms; a value is the counted integer times `scale`.

        `largest` is the most that the metric can be (1 for a confidence): bins end there.
        """
        bins, old, new = aligned(baseline, current)
        edges = histogram_edges(np.arange(BINS))
        lower = edges[bins] * scale
        # The integers of a bin end one before the next bin begins.
        upper = np.append(edges[1:], LARGEST_VALUE + 1)[bins] * scale
        positions = representatives(bins) * scale
        kept = np.minimum(positions, largest)
        return cls(kept, old, new, unit, np.minimum(lower, kept), np.minimum(upper, largest))

    @cached_property
    def n_baseline(self) -> int:
        return int(self.baseline.sum())

    @cached_property
    def n_current(self) -> int:
        return int(self.current.sum())

    @cached_property
    def gap(self) -> Gap | None:
        """Where the Kolmogorov-Smirnov distance is found; None if a window is empty."""
        if not self.n_baseline or not self.n_current:
            return None
        old = np.cumsum(self.baseline) / self.n_baseline
        new = np.cumsum(self.current) / self.n_current
        at = int(np.abs(old - new).argmax())
        return Gap(float(self.positions[at]), float(old[at]), float(new[at]))


def quantile(positions: Floats, counts: Counts, q: float) -> float | None:
    """The smallest value that at least a share `q` does not exceed; None if nothing was counted."""
    cumulative = np.cumsum(counts)
    if not cumulative.size or not cumulative[-1]:
        return None
    # The product is rounded up unless it is an integer but for float error, as in `Histogram`.
    rank = max(1, int(np.ceil(q * float(cumulative[-1]) * (1 - 2**-52))))
    return float(positions[min(int(np.searchsorted(cumulative, rank)), positions.size - 1)])


def quantiles(positions: Floats, counts: Counts) -> Quantiles | None:
    """What is marked of a window; None if it is empty."""
    low, middle, high = (quantile(positions, counts, q) for q in (0.05, 0.5, 0.95))
    if low is None or middle is None or high is None:
        return None
    return Quantiles(low, middle, high)


@dataclass(frozen=True)
class Category:
    """A category in both windows, or several of them."""

    name: str
    baseline: int
    current: int


@dataclass(frozen=True)
class Categories:
    """Both windows of a metric whose values are names: counts of each."""

    all: tuple[Category, ...]

    def __post_init__(self) -> None:
        for one in self.all:
            if min(one.baseline, one.current) < 0:
                raise ValueError(f"category {one.name!r} has a negative count; expected from 0")

    @cached_property
    def n_baseline(self) -> int:
        return sum(one.baseline for one in self.all)

    @cached_property
    def n_current(self) -> int:
        return sum(one.current for one in self.all)

    def largest(self, most: int) -> tuple[tuple[Category, ...], Category | None]:
        """The `most` with the largest share of either window, and all others made into one.

        The other one has its number of names for a name; None if nothing is left out.
        """

        def share(one: Category) -> float:
            return max(one.baseline / max(self.n_baseline, 1), one.current / max(self.n_current, 1))

        held = [one for one in self.all if one.baseline or one.current]
        ordered = sorted(held, key=lambda one: (-share(one), one.name))
        rest = ordered[most:]
        if len(rest) == 1:
            # It takes the line that would say that one is left out.
            return tuple(ordered), None
        if not rest:
            return tuple(ordered), None
        other = Category(
            f"{len(rest):,} others",
            sum(one.baseline for one in rest),
            sum(one.current for one in rest),
        )
        return tuple(ordered[:most]), other


class Tally(NamedTuple):
    """How many of `n` had the outcome."""

    had: int
    n: int

    @property
    def rate(self) -> float | None:
        return self.had / self.n if self.n else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's, at 95 %; None if there were none. ValueError unless 0 <= had <= n."""
        return wilson(self.had, self.n)


@dataclass(frozen=True)
class Proportion:
    """Both windows of a metric that is a share, such as an error rate."""

    baseline: Tally
    current: Tally


class VolumeHour(NamedTuple):
    """Requests of one hour; None where it is not known how many came, or what was expected.

    Between `low` and `high` lies what such an hour brings 19 times of 20.
    """

    at: datetime
    observed: int | None
    expected: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Volume:
    """Requests of the current window, and what the same hours of earlier weeks make expected.

    Between `low` and `high` lie 19 of 20 such weeks. Numbers are None where nothing is known.
    """

    observed: int | None
    expected: float | None
    low: float | None
    high: float | None
    weeks: int
    hours: tuple[VolumeHour, ...] = ()


class WordTally(NamedTuple):
    """Words of a window's texts, each once for each text that holds it."""

    texts: int
    words: int
    different: int
    "Told apart by 16-bit hashes."


@dataclass(frozen=True)
class NewWords:
    """What share of the current window's words the baseline never had, and what is usual.

    Shares are None where nothing can be said.
    """

    baseline: WordTally
    current: WordTally
    unseen: float | None
    expected: float | None
    "If nothing had changed: some words are always new."


Shape = Distribution | Categories | Proportion | Volume | NewWords


@dataclass(frozen=True)
class PastSweep:
    """What one sweep said of a metric; without a magnitude nothing is known of the effect."""

    at: datetime
    state: DriftState
    effect: float | None


@dataclass(frozen=True)
class ShownMetric:
    """A metric of a function and model: its verdict, what its windows held, what was said before.

    `shape` is None where what the windows held is no longer known.
    """

    model: str
    verdict: MetricVerdict
    baseline: Period
    current: Period
    shape: Shape | None = None
    history: tuple[PastSweep, ...] = ()
    days: SeveralWindows | None = None
    "Whether the days of the baseline hold one distribution, where that was asked."
    change: str | None = None
    "From what to what, as the sweep said it; what the shape says comes first."

    @property
    def state(self) -> DriftState:
        return self.verdict.state

    @property
    def effect(self) -> float | None:
        """The magnitude of the effect that decides."""
        return _magnitude(self.verdict)

    @property
    def never_sent(self) -> bool:
        """Whether neither window has anything of it."""
        return _never_sent(self.verdict)


class OutcomeBin(NamedTuple):
    """How often the outcome was there where the input lay in one bin."""

    name: str
    baseline: Tally
    current: Tally


@dataclass(frozen=True)
class ShownConcept:
    """Whether an outcome given an input has moved: `relation` is "success given confidence"."""

    model: str
    relation: str
    verdict: MetricVerdict
    bins: tuple[OutcomeBin, ...]
    baseline: Period
    current: Period
    difference: float | None = None
    "Of the outcome's rates at the same inputs, current minus baseline."
    explained_by_inputs: float | None = None
    "What is left of the difference of the plain rates: other inputs came."
    calibration: tuple[CalibrationError, CalibrationError] | None = None
    "Of the baseline and the current window, where the input is a confidence."

    @property
    def state(self) -> DriftState:
        return self.verdict.state

    @property
    def effect(self) -> float | None:
        """The magnitude of the effect that decides."""
        return _magnitude(self.verdict)

    @property
    def never_sent(self) -> bool:
        """Whether neither window has anything of it."""
        return _never_sent(self.verdict)


@dataclass(frozen=True)
class ShownQuality:
    """One check of the data of one model."""

    model: str
    finding: QualityFinding

    @property
    def state(self) -> QualityState:
        return self.finding.state


@dataclass(frozen=True)
class FalseAlarmBudget:
    """How many false alarms a tenant accepts in a week, and how many alarms there were."""

    expected_per_week: float
    raised: int
    days: int = 7
    "That `raised` counts."


@dataclass(frozen=True)
class OpenAlert:
    """An alert of a metric of a function and model that nothing has closed yet."""

    function: str
    model: str
    metric: str
    message: str
    raised_at: datetime
    last_seen_at: datetime
    times_seen: int


@dataclass(frozen=True)
class ShownChange:
    """When the level of a metric changed, by one detector; the levels are said with their unit."""

    function: str
    model: str
    metric: str
    detector: str
    changed_at: datetime
    detected_at: datetime
    before: str
    after: str


@dataclass(frozen=True)
class FunctionDrift:
    """What is known of one function, of all its models."""

    function: str
    metrics: Sequence[ShownMetric]
    concepts: Sequence[ShownConcept] = ()
    quality: Sequence[ShownQuality] = ()
    quality_of: Period | None = None
    "When what was checked came."


@dataclass(frozen=True)
class DriftReport:
    """One sweep, or the newest of every model."""

    scope: str
    "Whose it is: the tenant's name."
    made_at: datetime
    functions: Sequence[FunctionDrift]
    budget: FalseAlarmBudget | None = None
    alerts: Sequence[OpenAlert] = ()
    changes: Sequence[ShownChange] = ()
    remarks: Sequence[str] = ()
    "What is missing on the page, and why."


def _never_sent(verdict: MetricVerdict) -> bool:
    return verdict.state is DriftState.NO_DATA and verdict.n_baseline == verdict.n_current == 0


def _magnitude(verdict: MetricVerdict) -> float | None:
    size = verdict.effect_size
    return None if size is None else magnitude(verdict.effect_name, size)


def _counts(counts: npt.ArrayLike, window: str, size: int) -> Counts:
    raw = np.asarray(counts).ravel()
    if raw.size != size:
        raise ValueError(f"{raw.size} {window} counts of {size} positions; expected equal")
    if raw.size and raw.dtype.kind not in "iu":
        raise ValueError(f"{window} counts of type {raw.dtype}; expected integers")
    if raw.size and raw.min() < 0:
        raise ValueError(f"{window} count {raw.min()}; expected 0 or more")
    return raw.astype(np.int64)


def _replace(frozen: object, name: str, value: object) -> None:
    object.__setattr__(frozen, name, value)
