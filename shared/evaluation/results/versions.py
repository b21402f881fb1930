"""What versions of models come to over all their runs, each by itself and against another.

A version is the same agent in each of its runs, so its scores are of tasks and seeds and not of
runs. Two versions are held against each other only where both have a score: whoever played the
easier tasks would win otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.evaluation.results.amounts import AmountDifference, compare_amounts
from shared.evaluation.results.clustering import Cluster, mean_interval
from shared.evaluation.results.pairing import Comparison, Unit, compare_paired
from shared.evaluation.results.scores import Amount, EpisodeScore, Rate, score

Units = Mapping[Unit, EpisodeScore]
"The scored episode of each task and seed of one version."


@dataclass(frozen=True)
class Measured:
    """A version's figures over some tasks and seeds. Intervals are for tasks like these."""

    units: int
    "Tasks and seeds."
    tasks: int
    success: Rate
    cost_nanos: Amount
    "Mean of an episode; unknown if any call of theirs has no price."
    seconds: Amount
    "Mean of an episode, over those whose duration is known."
    llm_calls: int


@dataclass(frozen=True)
class Difference:
    """`other` against `base`, over the tasks and seeds that both have."""

    success: Comparison
    cost_nanos: AmountDifference
    milliseconds: AmountDifference


def measured(units: Units) -> Measured:
    """The figures over all of `units`; unknown ones are None where there are none."""
    episodes = list(units.values())
    found = score(episodes)
    return Measured(
        units=len(episodes),
        tasks=found.tasks,
        success=found.strict,
        cost_nanos=_cost(episodes),
        seconds=found.seconds,
        llm_calls=found.llm_calls,
    )


def difference(base: Units, other: Units) -> Difference:
    """By how much `other` is better or worse; figures are None where no unit is in both."""
    return Difference(
        success=compare_paired(_successes(base), _successes(other)),
        cost_nanos=compare_amounts(base, other, _nanos),
        milliseconds=compare_amounts(base, other, lambda episode: episode.duration_ms),
    )


def common(sides: Sequence[Units]) -> Sequence[Units]:
    """Of each side the tasks and seeds that all of them have."""
    shared = set.intersection(*(set(side) for side in sides)) if sides else set()
    return [{unit: side[unit] for unit in sorted(shared)} for side in sides]


def _successes(units: Units) -> dict[Unit, bool]:
    return {unit: episode.success for unit, episode in units.items()}


def _nanos(episode: EpisodeScore) -> int | None:
    return None if episode.unpriced_calls else episode.cost_nanos


def _cost(episodes: Sequence[EpisodeScore]) -> Amount:
    n, unpriced = len(episodes), sum(episode.unpriced_calls for episode in episodes)
    if unpriced or not n:
        # The mean of those that have a price would be that of other tasks.
        return Amount(None, n, unknown=unpriced)
    by_task: dict[str, list[int]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task, []).append(episode.cost_nanos)
    clusters = [Cluster(float(sum(costs)), len(costs)) for costs in by_task.values()]
    total = sum(episode.cost_nanos for episode in episodes)
    return Amount(total / n, n, mean_interval(clusters))
