"""Steps and costs of pairs, and what makes no pair: worked examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.evaluation.protocol import Outcome
from shared.evaluation.results.amounts import compare_amounts
from shared.evaluation.results.played import (
    DifferentVersionsError,
    Played,
    Unpaired,
    require_same_version,
    successes,
    unpaired,
)


def episode(task: str = "a", outcome: Outcome | None = Outcome.SUCCESS, **more: int | None):
    return Played(task.partition("#")[0], outcome, **more)


def test_means_are_of_the_pairs_that_are_known_on_both_sides():
    base = {
        ("a", 0): episode(steps=4),
        ("a", 1): episode(steps=6),
        ("b", 0): episode("b", steps=2),
        ("b", 1): episode("b", steps=None),
        ("b", 2): episode("b", Outcome.ENVIRONMENT_ERROR, steps=50),
        ("c", 0): episode("c", steps=70),
    }
    other = {
        ("a", 0): episode(steps=3),
        ("a", 1): episode(steps=3),
        ("b", 0): episode("b", Outcome.FAILURE, steps=3),
        ("b", 1): episode("b", steps=9),
        ("b", 2): episode("b", steps=1),
    }
    found = compare_amounts(base, other, lambda one: one.steps)
    assert (found.pairs, found.left_out) == (3, 1)
    assert (found.base_mean, found.other_mean, found.difference) == (4, 3, -1)
    # Means of tasks: -2 and 1.
    assert -2 <= found.interval.low < -1 < found.interval.high <= 1


def test_unknown_costs_are_left_out_and_never_zero():
    base = {("a", seed): episode(cost_nanos=None) for seed in range(3)}
    other = {("a", seed): episode(cost_nanos=5) for seed in range(3)}
    found = compare_amounts(base, other, lambda one: one.cost_nanos)
    assert (found.pairs, found.left_out) == (0, 3)
    assert found.base_mean is found.other_mean is found.difference is found.interval is None


def test_each_task_and_seed_without_a_pair_has_its_reason():
    base = {
        ("a", 0): episode(),
        ("a", 1): episode(outcome=None),
        ("a", 2): episode(outcome=Outcome.CANCELLED),
        ("b#1", 0): episode("b"),
        ("b#1", 1): episode("b"),
    }
    other = {
        ("a", 0): episode(outcome=Outcome.FAILURE),
        ("a", 1): episode(),
        ("a", 2): episode(outcome=Outcome.ENVIRONMENT_ERROR),
        ("a", 3): episode(),
        ("b#2", 0): episode("b"),
    }
    assert unpaired(base, other) == (
        Unpaired(2, None, "another definition of the task"),
        Unpaired(1, "another definition of the task", None),
        Unpaired(1, "cancelled", "environment_error"),
        Unpaired(1, "not ended", None),
        Unpaired(1, "not in the run", None),
    )
    assert successes(base) == {("a", 0): True, ("b#1", 0): True, ("b#1", 1): True}


SIDES = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 4)),
    st.builds(
        Played,
        task=st.just("any"),
        outcome=st.none() | st.sampled_from(Outcome),
        steps=st.none() | st.integers(0, 50),
    ),
)


@hypothesis_settings(max_examples=40)
@given(SIDES, SIDES)
def test_each_task_and_seed_is_a_pair_or_has_a_reason(base, other):
    found = compare_amounts(base, other, lambda one: one.steps)
    apart = sum(one.count for one in unpaired(base, other))
    assert found.pairs + found.left_out + apart == len(base.keys() | other.keys())
    assert len(successes(base).keys() & successes(other).keys()) == found.pairs + found.left_out


@hypothesis_settings(max_examples=40)
@given(SIDES, SIDES)
def test_the_other_way_round_the_sign_turns(base, other):
    there = compare_amounts(base, other, lambda one: one.steps)
    back = compare_amounts(other, base, lambda one: one.steps)
    assert (there.base_mean, there.other_mean) == (back.other_mean, back.base_mean)
    if there.difference is not None and back.difference is not None:
        assert there.difference == -back.difference
    if there.interval is not None and back.interval is not None:
        turned = (-back.interval.high, -back.interval.low)
        assert there.interval == pytest.approx(turned)


def test_two_versions_of_a_benchmark_are_refused_where_no_task_is_the_same():
    before, after = {("b#1", 0): episode("b")}, {("b#2", 0): episode("b")}
    with pytest.raises(DifferentVersionsError, match="two versions of the benchmark: all 1 tasks"):
        require_same_version(before, after)
    require_same_version(before, after | before)
    require_same_version(before, {("c", 0): episode("c")})
