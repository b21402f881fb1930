"""Paired comparisons: against enumeration, scipy and worked examples, and by simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shared.evaluation.results.pairing import (
    Finding,
    compare_paired,
    difference_interval,
    mcnemar_p,
    sign_flip_p,
)


def units(**tasks: str) -> dict[tuple[str, int], bool]:
    """`click="110"`: seeds 0 and 1 of the task succeeded, seed 2 did not; a dot has no score."""
    return {
        (task, seed): mark == "1"
        for task, marks in tasks.items()
        for seed, mark in enumerate(marks)
        if mark != "."
    }


def test_a_worked_comparison():
    base = units(a="1100", b="10", c="11", only_base="1")
    other = units(a="1111", b="01", c="1.", only_other="00")
    found = compare_paired(base, other)
    assert (found.pairs, found.tasks) == (7, 3)
    assert (found.only_base, found.only_other, found.missing) == (2, 2, 4)
    assert (found.gained, found.lost) == (3, 1)
    assert found.base_rate == pytest.approx(4 / 7)
    assert found.other_rate == pytest.approx(6 / 7)
    assert found.difference == pytest.approx(2 / 7)
    # Of the tasks only a has a sum that is not 0: both signs are as far from 0 as what was seen.
    assert found.p_value == 1
    assert found.mcnemar_p == pytest.approx(stats.binomtest(1, 4).pvalue)
    assert found.interval.low < 2 / 7 < found.interval.high


def test_the_order_of_the_sides_turns_the_sign():
    base, other = units(a="110", b="000", c="100"), units(a="111", b="010", c="110")
    there, back = compare_paired(base, other), compare_paired(other, base)
    assert there.difference == -back.difference
    assert there.interval == pytest.approx((-back.interval.high, -back.interval.low))
    assert there.p_value == back.p_value


def test_without_pairs_nothing_is_known():
    found = compare_paired(units(a="11"), units(b="11"))
    assert (found.pairs, found.missing) == (0, 4)
    assert found.difference is found.interval is found.p_value is found.mcnemar_p is None


def test_a_difference_is_shown_where_interval_and_test_agree():
    tasks = "abcdefgh"
    none, every = units(**dict.fromkeys(tasks, "00")), units(**dict.fromkeys(tasks, "11"))
    half = units(**dict.fromkeys(tasks[:3], "11"), **dict.fromkeys(tasks[3:], "00"))
    assert compare_paired(none, every).finding is Finding.BETTER
    assert compare_paired(every, none).finding is Finding.WORSE
    assert compare_paired(none, none).finding is Finding.NO_DIFFERENCE_SHOWN
    # Three tasks of eight: 2 of their 8 signs are as far, p = 0.25.
    assert compare_paired(none, half).p_value == 0.25
    assert compare_paired(none, half).finding is Finding.NO_DIFFERENCE_SHOWN
    assert compare_paired(units(a="00"), units(a="11")).finding is Finding.UNKNOWN
    assert compare_paired(none, {}).finding is Finding.UNKNOWN


@given(st.lists(st.integers(-3, 3), max_size=10))
def test_the_permutation_test_is_all_signs_enumerated(sums):
    seen = abs(sum(sums))
    totals = [abs(sum(s * v for s, v in zip(signs, sums, strict=True)))
              for signs in product((1, -1), repeat=len(sums))]  # fmt: skip
    assert sign_flip_p(sums) == pytest.approx(np.mean([total >= seen for total in totals]))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(gained, lost):
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_p(gained, lost) == pytest.approx(expected)
    # With one seed per task the tasks are the pairs.
    assert sign_flip_p([1] * gained + [-1] * lost) == pytest.approx(expected)


def test_the_interval_is_that_of_the_tasks_means():
    means = [0.5, 0.0, -0.5, 1.0]
    low, high = difference_interval([[1, 0], [1, -1], [-1, 0], [1, 1]])
    half = stats.t.ppf(0.975, 3) * np.std(means, ddof=1) / 2
    assert (low, high) == pytest.approx((max(-1, 0.25 - half), min(1, 0.25 + half)))


@pytest.mark.parametrize("value", [-1, 0, 1])
def test_tasks_that_do_not_differ_are_still_not_sure(value):
    low, high = difference_interval([[value, value]] * 10)
    assert low <= value <= high
    assert high - low >= 0.25
    assert difference_interval([[1, 0]]) is None


def test_under_no_difference_the_test_rejects_no_more_often_than_it_says():
    rng = np.random.default_rng(11)
    runs, tasks, seeds = 1_500, 25, 4
    by_task = by_pair = covered = 0
    for _ in range(runs):
        # The two agents are good at different tasks, and equally good over all.
        shared, own = rng.beta(0.4, 0.4, tasks), rng.beta(0.4, 0.4, (2, tasks))
        p = np.where(rng.random(tasks) < 0.3, shared, own)
        results = rng.random((2, tasks, seeds)) < p[:, :, None]
        differences = (results[1].astype(int) - results[0].astype(int)).tolist()
        by_task += sign_flip_p([sum(one) for one in differences]) <= 0.05
        by_pair += (
            mcnemar_p(sum(v > 0 for d in differences for v in d),
                      sum(v < 0 for d in differences for v in d)) <= 0.05
        )  # fmt: skip
        low, high = difference_interval(differences)
        covered += low <= 0 <= high
    assert by_task / runs <= 0.065
    assert covered / runs >= 0.93
    # Why the test over pairs is not the one to go by.
    assert by_pair / runs >= 0.15
