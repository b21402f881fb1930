"""What several tries at a task come to: at least one success, or nothing but successes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

from shared.evaluation.intervals import Interval
from shared.evaluation.results.clustering import Cluster, rate_interval


@dataclass(frozen=True)
class Tries:
    """The scored episodes of one task."""

    successes: int
    n: int


@dataclass(frozen=True)
class RepeatedRate:
    """The mean over the `tasks` that were tried at least `k` times; `left_out` were not."""

    k: int
    rate: float
    interval: Interval | None
    tasks: int
    left_out: int


def pass_at_k(tasks: Sequence[Tries], k: int) -> RepeatedRate | None:
    """The chance that at least one of `k` tries at a task succeeds; None if no task has `k` tries.

    The unbiased estimator 1 - C(n - c, k) / C(n, k), mean over tasks (M. Chen et al., "Evaluating
    Large Language Models Trained on Code", arXiv:2107.03374, 2021, eq. 1). ValueError for k < 1.
    """
    return _mean(tasks, k, at_least_one)


def pass_hat_k(tasks: Sequence[Tries], k: int) -> RepeatedRate | None:
    """The chance that all of `k` tries at a task succeed; None if no task has `k` tries.

    The unbiased estimator C(c, k) / C(n, k), mean over tasks (S. Yao et al., "tau-bench",
    arXiv:2406.12045, 2024, section 3, pass^k). ValueError for k < 1.
    """
    return _mean(tasks, k, all_of)


def at_least_one(tries: Tries, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): exact, in integers, until the division."""
    ways = comb(tries.n, k)
    return (ways - comb(tries.n - tries.successes, k)) / ways


def all_of(tries: Tries, k: int) -> float:
    """C(c, k) / C(n, k)."""
    return comb(tries.successes, k) / comb(tries.n, k)


def _mean(
    tasks: Sequence[Tries], k: int, estimate: Callable[[Tries, int], float]
) -> RepeatedRate | None:
    if k < 1:
        raise ValueError(f"k = {k}; expected 1 or more")
    enough = [tries for tries in tasks if tries.n >= k]
    if not enough:
        return None
    values = [estimate(tries, k) for tries in enough]
    return RepeatedRate(
        k=k,
        rate=sum(values) / len(values),
        # Each task is one value between 0 and 1.
        interval=rate_interval([Cluster(value, 1) for value in values]),
        tasks=len(enough),
        left_out=len(tasks) - len(enough),
    )
