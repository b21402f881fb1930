"""Our window tests on a stream: the newest values against those before them, again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.drift_scores import Detections
from shared.drift.comparison import Comparison, compare
from shared.drift.effects import Effect
from shared.drift.verdicts import ComparedMetric, DriftState, MetricRule, judge
from shared.drift.window_pair import WindowPair

Floats = npt.NDArray[np.float64]

LOOK_EVERY = 5
"Values between two looks."
BASELINE_WINDOWS = 7
"A baseline is so many current windows long, as that of the timetable is."
AT_AN_END = 5
"Values that a change point has on both of its sides at least."


@dataclass(frozen=True)
class Windows:
    """How to look. The rest is the rule of `shared.drift.verdicts`: significant, and large."""

    current: int = 30
    "Values of the current window; the rule needs 30 unless it is told otherwise."
    alpha: float = 0.05
    "False discovery rate of a look."
    minimum_effect: float = 0.1


def watch(columns: Floats, windows: Windows) -> Detections:
    """Look at a series of shape (values, columns), all columns as one sweep.

    After an alarm, what came since the change is the new baseline.
    """
    rule = MetricRule(windows.minimum_effect, minimum_values=windows.current)
    alarms, located = [], []
    begins = 0
    for end in range(2 * windows.current, len(columns) + 1, LOOK_EVERY):
        middle = end - windows.current
        begins = max(begins, middle - BASELINE_WINDOWS * windows.current)
        if middle - begins < windows.current:
            continue
        metrics = [
            ComparedMetric("", str(number), _compared(values, middle - begins), rule)
            for number, values in enumerate(columns[begins:end].T)
        ]
        verdicts = judge(metrics, windows.alpha)
        drifted = [n for n, verdict in enumerate(verdicts) if verdict.state is DriftState.DRIFT]
        if drifted:
            most = max(drifted, key=lambda n: verdicts[n].effect_size or 0.0)
            change = begins + split(columns[begins:end, most])
            alarms.append(end - 1)
            located.append(change)
            begins = change
    return Detections(tuple(alarms), tuple(located))


def split(values: Floats) -> int:
    """Where a series falls apart: the first index of its second part.

    The split at which the two parts' Kolmogorov-Smirnov distance is most above what its chance
    is: D sqrt(k (n - k) / n) is largest.
    """
    n = values.size
    ranks = np.unique(values, return_inverse=True)[1]
    seen = np.zeros((n, int(ranks.max()) + 1))
    seen[np.arange(n), ranks] = 1
    below = seen.cumsum(axis=0).cumsum(axis=1)
    k = np.arange(AT_AN_END, n - AT_AN_END + 1)[:, None]
    first = below[k[:, 0] - 1]
    distance = np.abs(first / k - (below[-1] - first) / (n - k)).max(axis=1)
    size = k[:, 0]
    return int(size[(distance * np.sqrt(size * (n - size) / n)).argmax()])


def _compared(values: Floats, middle: int) -> Comparison:
    compared = compare(WindowPair.from_arrays(values[:middle], values[middle:]))
    assert compared.reason is not None or Effect.KS_DISTANCE in compared.effects
    return compared
