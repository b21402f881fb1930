"""What alarms are worth where the changes are known: precision, recall, F1, delay.

Scores are those of G. J. J. van den Burg and C. K. I. Williams, "An evaluation of change point
detection algorithms" (arXiv 2003.06222, section 3.2): a change point is found if one that is
predicted lies within 5 observations of it, each of those once; precision is against the union of
all annotators, recall is the mean over annotators, and the start of a series is a change point
that everyone has and everyone predicts. So who never calls anything has a precision of 1.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

MARGIN = 5
PATIENCE = 100
"An alarm that comes more observations after a change has not found it."


@dataclass(frozen=True)
class Detections:
    """Alarms, in order, and where each says that the change was; both are indices."""

    alarms: tuple[int, ...]
    located: tuple[int, ...]


class Score(NamedTuple):
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def score(annotations: Sequence[Collection[int]], predicted: Collection[int]) -> Score:
    """Of one series. ValueError without an annotator."""
    if not annotations:
        raise ValueError("no annotators; expected at least one")
    calls = {0, *predicted}
    by_annotator = [{0, *points} for points in annotations]
    everyone = set().union(*by_annotator)
    precision = _matched(everyone, calls) / len(calls)
    recall = statistics.fmean(_matched(points, calls) / len(points) for points in by_annotator)
    return Score(precision, recall)


def delays(
    annotations: Sequence[Collection[int]], alarms: Sequence[int], patience: int = PATIENCE
) -> list[int | None]:
    """Of each change of each annotator, how long after it the first alarm came.

    None where none came within `patience`, or before the annotator's next change.
    """
    waited: list[int | None] = []
    for points in annotations:
        for change, following in pairwise([*sorted(points), sys.maxsize]):
            until = min(change + patience, following)
            waited.append(next((at - change for at in alarms if change <= at < until), None))
    return waited


def _matched(points: Collection[int], calls: Collection[int]) -> int:
    """How many of `points` have a call within the margin; the nearest is taken, and once."""
    left = set(calls)
    matched = 0
    for point in sorted(points):
        near = [call for call in left if abs(point - call) <= MARGIN]
        if near:
            left.remove(min(near, key=lambda call: (abs(point - call), call)))
            matched += 1
    return matched
