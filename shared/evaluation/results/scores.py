"""What the episodes of one agent come to, over all of them and by category, difficulty and task.

Pure: episodes in, figures out. Each figure has its n, and an interval where one can be told. An
unknown figure is None; a count of what makes it unknown stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.evaluation.intervals import Interval, wilson
from shared.evaluation.protocol import Outcome
from shared.evaluation.results.clustering import (
    Cluster,
    mean_interval,
    rate_interval,
    ratio_interval,
)
from shared.evaluation.results.repeats import RepeatedRate, Tries, pass_at_k, pass_hat_k


@dataclass(frozen=True)
class EpisodeScore:
    """An episode that has ended, as far as scores go.

    Tokens and cost are of all its attempts; `uncounted_calls` and `unpriced_calls` are not in them.
    """

    task: str
    "With its benchmark and, for a task that is defined anew, its definition: a task's identity."
    name: str
    category: str
    difficulty: str
    seed: int
    outcome: Outcome
    raw_reward: float | None
    steps: int | None
    duration_ms: int | None
    tokens: int
    llm_calls: int
    uncounted_calls: int
    unpriced_calls: int
    cost_nanos: int
    violations: int | None
    "None where the task does not test that."

    @property
    def scored(self) -> bool:
        """Whether the end says something of the agent."""
        return self.outcome.scored

    @property
    def success(self) -> bool:
        """Strict: the benchmark called it a success, for MiniWoB++ a raw reward of 1."""
        return self.outcome is Outcome.SUCCESS

    @property
    def loose_success(self) -> bool:
        """As most of the field counts MiniWoB++: any raw reward above 0 as well."""
        return self.success or (self.raw_reward is not None and self.raw_reward > 0)


@dataclass(frozen=True)
class Rate:
    """`count` of `n`, with Wilson's 95 % interval; `rate` and interval are None for n = 0.

    The interval holds for the tasks that were tried: their seeds are independent, and different
    chances among them only make it wider than it need be.
    """

    count: int
    n: int
    rate: float | None
    interval: Interval | None
    clustered: Interval | None = None
    "For tasks like these: seeds clustered by task. None where there are fewer than two tasks."


@dataclass(frozen=True)
class Amount:
    """A mean or a ratio over `n`, with a 95 % interval clustered by task.

    `value` is None where it is not known; `unknown` says how many calls make it so.
    """

    value: float | None
    n: int
    interval: Interval | None = None
    unknown: int = 0


@dataclass(frozen=True)
class Slice:
    """The scored episodes of one category, difficulty or task."""

    name: str
    tasks: int
    strict: Rate
    loose: Rate
    steps: Amount


@dataclass(frozen=True)
class Scores:
    """All figures of one agent's episodes."""

    episodes: int
    tasks: int
    outcomes: Mapping[Outcome, int]
    "Of all episodes, without those that none ended as."
    strict: Rate
    loose: Rate
    environment_errors: Rate
    "Of the episodes that it broke or let end; only that of violations has them as well."
    violations: Rate
    "Episodes with at least one, of those whose task tests for it. n = 0: not tested. "
    "Unscored ones only if they had one."
    steps: Amount
    seconds: Amount
    llm_calls: int
    tokens_per_success: Amount
    "Of input and output, over all scored episodes. n is the successes."
    nanos_per_success: Amount
    "Nano-dollars of all scored episodes; unknown if any call of theirs has no price."
    pass_at_k: tuple[RepeatedRate, ...]
    pass_hat_k: tuple[RepeatedRate, ...]
    by_category: tuple[Slice, ...]
    by_difficulty: tuple[Slice, ...]
    by_task: tuple[Slice, ...]


def score(episodes: Sequence[EpisodeScore]) -> Scores:
    """The figures of one agent's ended episodes, at most one for each task and seed."""
    scored = [episode for episode in episodes if episode.scored]
    tasks = _grouped(scored, lambda episode: episode.task)
    broken = sum(episode.outcome is Outcome.ENVIRONMENT_ERROR for episode in episodes)
    # One that was broken off says that the agent did wrong, and never that it did not.
    tested = [
        episode
        for episode in episodes
        if episode.violations or (episode.scored and episode.violations is not None)
    ]
    tries = [Tries(sum(one.success for one in group), len(group)) for group in tasks.values()]
    return Scores(
        episodes=len(episodes),
        tasks=len(tasks),
        outcomes={
            outcome: count
            for outcome in Outcome
            if (count := sum(episode.outcome is outcome for episode in episodes))
        },
        strict=_rate(scored, _strict),
        loose=_rate(scored, _loose),
        environment_errors=counted(broken, broken + len(scored)),
        violations=_rate(tested, lambda episode: bool(episode.violations)),
        steps=_mean(scored, lambda episode: episode.steps),
        seconds=_mean(scored, lambda episode: episode.duration_ms and episode.duration_ms / 1000),
        llm_calls=sum(episode.llm_calls for episode in scored),
        tokens_per_success=_per_success(
            scored, lambda episode: episode.tokens, lambda episode: episode.uncounted_calls
        ),
        nanos_per_success=_per_success(
            scored, lambda episode: episode.cost_nanos, lambda episode: episode.unpriced_calls
        ),
        pass_at_k=_repeated(tries, pass_at_k),
        pass_hat_k=_repeated(tries, pass_hat_k),
        by_category=_slices(scored, lambda episode: episode.category),
        by_difficulty=_slices(scored, lambda episode: episode.difficulty, DIFFICULTIES),
        by_task=_slices(scored, lambda episode: episode.task, named=True),
    )


DIFFICULTIES: Final = ("easy", "medium", "hard")
"In the order that people read them."


def counted(count: int, n: int) -> Rate:
    """A rate of independent trials."""
    return Rate(count, n, count / n if n else None, wilson(count, n))


def repeat_counts(most: int) -> tuple[int, ...]:
    """The k of pass@k that are worth showing for tasks of at most `most` tries: 1, 2, 4, ..., most.

    Empty for none.
    """
    doubled = [2**power for power in range(most.bit_length()) if 2**power <= most]
    return tuple(dict.fromkeys([*doubled, most])) if most else ()


def _strict(episode: EpisodeScore) -> bool:
    return episode.success


def _loose(episode: EpisodeScore) -> bool:
    return episode.loose_success


def _grouped(
    episodes: Iterable[EpisodeScore], by: Callable[[EpisodeScore], str]
) -> dict[str, list[EpisodeScore]]:
    groups: dict[str, list[EpisodeScore]] = {}
    for episode in episodes:
        groups.setdefault(by(episode), []).append(episode)
    return groups


def _by_task(episodes: Sequence[EpisodeScore]) -> list[list[EpisodeScore]]:
    return list(_grouped(episodes, lambda episode: episode.task).values())


def _rate(episodes: Sequence[EpisodeScore], holds: Callable[[EpisodeScore], bool]) -> Rate:
    count, n = sum(map(holds, episodes)), len(episodes)
    clusters = [Cluster(sum(map(holds, group)), len(group)) for group in _by_task(episodes)]
    return Rate(count, n, count / n if n else None, wilson(count, n), rate_interval(clusters))


def _mean(
    episodes: Sequence[EpisodeScore], value: Callable[[EpisodeScore], float | None]
) -> Amount:
    known = [episode for episode in episodes if value(episode) is not None]
    if not known:
        return Amount(None, 0)
    clusters = [
        Cluster(sum(value(episode) or 0.0 for episode in group), len(group))
        for group in _by_task(known)
    ]
    mean = sum(cluster.total for cluster in clusters) / len(known)
    return Amount(mean, len(known), mean_interval(clusters))


def _per_success(
    episodes: Sequence[EpisodeScore],
    spent: Callable[[EpisodeScore], int],
    unknown: Callable[[EpisodeScore], int],
) -> Amount:
    successes, missing = sum(map(_strict, episodes)), sum(map(unknown, episodes))
    if missing or not successes:
        # A part of what was spent over all of the successes would be too little.
        return Amount(None, successes, unknown=missing)
    groups = _by_task(episodes)
    sums = [float(sum(map(spent, group))) for group in groups]
    wins = [float(sum(map(_strict, group))) for group in groups]
    return Amount(sum(sums) / successes, successes, ratio_interval(sums, wins))


def _repeated(
    tries: Sequence[Tries], estimate: Callable[[Sequence[Tries], int], RepeatedRate | None]
) -> tuple[RepeatedRate, ...]:
    counts = repeat_counts(max((one.n for one in tries), default=0))
    found = (estimate(tries, k) for k in counts)
    return tuple(one for one in found if one is not None)


def _slices(
    episodes: Sequence[EpisodeScore],
    by: Callable[[EpisodeScore], str],
    order: Sequence[str] = (),
    *,
    named: bool = False,
) -> tuple[Slice, ...]:
    """One slice a group, in `order` and then by name; `named` shows the task's plain name."""
    groups = _grouped(episodes, by)
    names = sorted(groups, key=lambda name: (order.index(name) if name in order else 99, name))
    return tuple(
        Slice(
            name=groups[name][0].name if named else name,
            tasks=len(_by_task(groups[name])),
            strict=_rate(groups[name], _strict),
            loose=_rate(groups[name], _loose),
            steps=_mean(groups[name], lambda episode: episode.steps),
        )
        for name in names
    )
