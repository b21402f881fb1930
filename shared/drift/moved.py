"""What became of a metric that a sweep has judged, in one phrase, from what the sweep has read."""

from __future__ import annotations

from shared.drift.concept import compare_outcomes
from shared.drift.monitored import outcomes
from shared.drift.movement import change, new_words, points
from shared.drift.shapes import shape_of, shape_of_volume
from shared.drift.vocabulary import VocabularyComparison
from shared.drift.volume import VolumeComparison
from shared.drift.windows import LookedAt
from shared.telemetry.metrics import Relation, Volume, Words


def moved(
    metric: str, looked_at: LookedAt, requests: VolumeComparison, words: VocabularyComparison
) -> str | None:
    """As `movement.change` says it, with a direction; None where a window is empty or not known.

    `requests` and `words` are those of the same function and model.
    """
    if metric == Volume.REQUESTS:
        return change(shape_of_volume(requests))
    if metric == Words.QUERY_VOCABULARY:
        return new_words(words.unseen_rate, words.expected_rate)
    old, new = looked_at.baseline, looked_at.current
    if metric in list(Relation):
        found = compare_outcomes(outcomes(Relation(metric), old, new))
        return points(found.difference, found.explained_by_inputs)
    return change(shape_of(metric, old, new))
