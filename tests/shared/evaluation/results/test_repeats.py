"""pass@k and pass^k: exact, against enumeration and against published definitions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.results.repeats import (
    Tries,
    all_of,
    at_least_one,
    pass_at_k,
    pass_hat_k,
)

tries = st.integers(1, 9).flatmap(
    lambda n: st.tuples(st.builds(Tries, st.integers(0, n), st.just(n)), st.integers(1, n))
)


@given(tries)
def test_both_are_the_share_of_all_ways_to_draw_k_tries(drawn):
    one, k = drawn
    outcomes = [True] * one.successes + [False] * (one.n - one.successes)
    draws = list(combinations(outcomes, k))
    assert at_least_one(one, k) == float(Fraction(sum(map(any, draws)), len(draws)))
    assert all_of(one, k) == float(Fraction(sum(map(all, draws)), len(draws)))


def test_worked_examples():
    tasks = [Tries(2, 5), Tries(5, 5), Tries(0, 5)]
    # 1 - C(3,2)/C(5,2) = 0.7 and C(2,2)/C(5,2) = 0.1 for the first.
    assert pass_at_k(tasks, 2).rate == pytest.approx((0.7 + 1 + 0) / 3)
    assert pass_hat_k(tasks, 2).rate == pytest.approx((0.1 + 1 + 0) / 3)
    assert pass_at_k(tasks, 1).rate == pass_hat_k(tasks, 1).rate == pytest.approx(7 / 15)


def test_a_thousand_tries_do_not_overflow():
    assert at_least_one(Tries(1, 1_000), 500) == pytest.approx(0.5)


def test_tasks_with_too_few_tries_are_left_out_and_counted():
    found = pass_at_k([Tries(1, 2), Tries(1, 1), Tries(0, 3)], 2)
    assert (found.tasks, found.left_out) == (2, 1)
    assert pass_at_k([Tries(1, 2)], 3) is None
    assert pass_hat_k([], 1) is None


@pytest.mark.parametrize("k", [0, -1])
def test_an_impossible_k_is_refused(k):
    with pytest.raises(ValueError, match="expected 1 or more"):
        pass_at_k([Tries(1, 1)], k)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_more_tries_help_one_and_hurt_all(successes):
    tasks = [Tries(c, 5) for c in successes]
    one = [pass_at_k(tasks, k).rate for k in range(1, 6)]
    every = [pass_hat_k(tasks, k).rate for k in range(1, 6)]
    assert one == sorted(one)
    assert every == sorted(every, reverse=True)
    # All five tries at hand: any success at all, and nothing but successes.
    assert one[-1] == pytest.approx(np.mean([c > 0 for c in successes]))
    assert every[-1] == pytest.approx(np.mean([c == 5 for c in successes]))


def test_the_estimators_are_unbiased():
    rng = np.random.default_rng(3)
    p, k = np.repeat([0.2, 0.5, 0.9], 4_000), 3
    drawn = [Tries(int(c), 5) for c in rng.binomial(5, p)]
    assert pass_at_k(drawn, k).rate == pytest.approx(np.mean(1 - (1 - p) ** k), abs=0.01)
    assert pass_hat_k(drawn, k).rate == pytest.approx(np.mean(p**k), abs=0.01)


def test_the_interval_is_that_of_tasks():
    assert pass_at_k([Tries(1, 5)], 2).interval is None
    low, high = pass_at_k([Tries(3, 5)] * 10 + [Tries(0, 5)] * 10, 5).interval
    assert 0.2 < low < 0.5 < high < 0.8
