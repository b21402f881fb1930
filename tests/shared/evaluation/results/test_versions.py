"""Versions are held against each other where both have a score, and unknown is never zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.evaluation.protocol import Outcome
from shared.evaluation.results.scores import EpisodeScore
from shared.evaluation.results.versions import Units, common, difference, measured

ONE = EpisodeScore(
    task="miniwob/click-test",
    name="click-test",
    category="click",
    difficulty="easy",
    seed=0,
    outcome=Outcome.SUCCESS,
    raw_reward=1.0,
    steps=1,
    duration_ms=2_000,
    tokens=100,
    llm_calls=1,
    uncounted_calls=0,
    unpriced_calls=0,
    cost_nanos=1_000,
    violations=None,
)


def units(tasks: str, seeds: int = 2, **changed: object) -> Units:
    """One unit for each letter of `tasks` and each seed."""
    return {
        (task, seed): replace(ONE, task=task, seed=seed, **changed)  # type: ignore[arg-type]
        for task in tasks
        for seed in range(seeds)
    }


def test_figures_are_of_every_task_and_seed() -> None:
    found = measured(units("abc") | units("d", outcome=Outcome.FAILURE, cost_nanos=5_000))
    assert (found.units, found.tasks, found.llm_calls) == (8, 4, 8)
    assert (found.success.count, found.success.n, found.success.rate) == (6, 8, 0.75)
    assert (found.cost_nanos.value, found.seconds.value) == (2_000, 2.0)
    assert found.cost_nanos.interval is not None
    assert found.cost_nanos.interval.low < 2_000 < found.cost_nanos.interval.high


def test_a_call_without_a_price_makes_the_cost_unknown() -> None:
    found = measured(units("abc") | units("d", unpriced_calls=1))
    assert (found.cost_nanos.value, found.cost_nanos.unknown) == (None, 2)


def test_of_nothing_nothing_is_known() -> None:
    found = measured({})
    assert (found.success.rate, found.cost_nanos.value, found.seconds.value) == (None, None, None)


def test_only_what_both_have_is_compared() -> None:
    base = units("abcdef") | units("easy", outcome=Outcome.SUCCESS)
    other = units("abcdef", outcome=Outcome.FAILURE, cost_nanos=3_000, duration_ms=None)
    found = difference(base, other)
    assert (found.success.pairs, found.success.difference) == (12, -1.0)
    assert found.success.finding.value == "worse"
    assert found.cost_nanos.difference == 2_000
    assert (found.milliseconds.pairs, found.milliseconds.left_out) == (0, 12)


def test_what_has_nothing_in_common_is_not_compared() -> None:
    assert difference(units("ab"), units("cd")).success.difference is None


@pytest.mark.parametrize(
    ("sides", "left"),
    [((), []), (("abc", "bcd", "cde"), ["c"]), (("ab", "cd"), []), (("ab",), ["a", "b"])],
)
def test_the_units_in_common_are_those_of_every_side(
    sides: tuple[str, ...], left: list[str]
) -> None:
    found = common([units(side, seeds=1) for side in sides])
    assert [sorted(task for task, _ in side) for side in found] == [left] * len(sides)
