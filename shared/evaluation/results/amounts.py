"""By how much steps or costs of the same episodes differ between two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shared.evaluation.intervals import Interval
from shared.evaluation.results.bootstrap import bootstrap_interval
from shared.evaluation.results.clustering import Cluster
from shared.evaluation.results.pairing import Unit


class _Scored(Protocol):
    @property
    def scored(self) -> bool: ...


Episode = TypeVar("Episode", bound=_Scored)


@dataclass(frozen=True)
class AmountDifference:
    """Means per episode over the pairs in which both sides are known, in the amount's own unit."""

    pairs: int
    left_out: int
    "Pairs with a score on both sides, of which one side's amount is not known."
    base_mean: float | None
    other_mean: float | None
    difference: float | None
    "The other one's minus the base's."
    interval: Interval | None
    "95 %, by bootstrap over tasks; None for one task, and where all tasks differ by the same."


def compare_amounts(
    base: Mapping[Unit, Episode],
    other: Mapping[Unit, Episode],
    amount: Callable[[Episode], int | None],
) -> AmountDifference:
    """Compare `amount` over the units that have a score on both sides; None without pairs."""
    scored = [
        unit
        for unit in sorted(base.keys() & other.keys())
        if base[unit].scored and other[unit].scored
    ]
    pairs = {
        unit: (before, after)
        for unit in scored
        if (before := amount(base[unit])) is not None and (after := amount(other[unit])) is not None
    }
    by_task: dict[str, list[int]] = {}
    for (task, _), (before, after) in pairs.items():
        by_task.setdefault(task, []).append(after - before)
    n, left_out = len(pairs), len(scored) - len(pairs)
    if not n:
        return AmountDifference(0, left_out, None, None, None, None)
    before_sum, after_sum = (sum(pair[side] for pair in pairs.values()) for side in (0, 1))
    return AmountDifference(
        pairs=n,
        left_out=left_out,
        base_mean=before_sum / n,
        other_mean=after_sum / n,
        difference=(after_sum - before_sum) / n,
        interval=bootstrap_interval(
            [Cluster(sum(values), len(values)) for values in by_task.values()]
        ),
    )
