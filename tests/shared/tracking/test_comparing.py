"""Comparing runs and experiments: what has an interval, and what has none."""

from __future__ import annotations

import math

import pytest

from shared.tracking.comparing import Method, by_episode, compare_experiments, compare_runs


def test_one_value_each_has_a_difference_and_no_interval() -> None:
    (found,) = compare_runs({"cost": 2.0}, {"cost": 3.0}, {}, {})
    assert (found.difference, found.interval, found.p_value) == (1.0, None, None)
    assert found.method is Method.ONE_VALUE


def test_what_one_run_has_not_logged_is_unknown_and_not_zero() -> None:
    (found,) = compare_runs({"cost": 2.0}, {}, {}, {})
    assert (found.other.value, found.difference) == (None, None)


def test_runs_with_the_same_episodes_are_compared_pair_by_pair() -> None:
    """Student's t for pairs: differences 1, 2, 3 have mean 2 and standard error 1/sqrt(3)."""
    base = {"time": {"a": 10.0, "b": 20.0, "c": 30.0, "left out": 5.0}}
    other = {"time": {"a": 11.0, "b": 22.0, "c": 33.0}}
    (found,) = compare_runs({"time": 0.0}, {"time": 0.0}, base, other)
    assert (found.pairs, found.difference) == (3, 2.0)
    assert found.interval == pytest.approx((-0.4841, 4.4841), abs=1e-4)
    assert found.p_value == pytest.approx(0.07418, abs=1e-5)


def test_episodes_that_succeed_or_fail_have_an_exact_p_value() -> None:
    base = {"success": {str(n): float(n < 2) for n in range(12)}}
    other = {"success": {str(n): float(n < 10) for n in range(12)}}
    (found,) = compare_runs({"success": 0}, {"success": 0}, base, other)
    assert found.method is Method.MCNEMAR
    assert found.p_value == pytest.approx(2 * 0.5**8)


def test_an_episode_with_several_values_has_their_mean() -> None:
    points = [("s", "a", 1.0), ("s", "a", 0.0), ("s", "b", 1.0), ("s", None, 9.0)]
    assert by_episode(points) == {"s": {"a": 0.5, "b": 1.0}}


def test_each_run_of_an_experiment_is_a_trial() -> None:
    """Welch's test on 1, 2, 3 and 2, 4, 6: t = 1.5492, 2.9412 degrees of freedom."""
    base = [{"m": value} for value in (1.0, 2.0, 3.0)]
    other = [{"m": value} for value in (2.0, 4.0, 6.0)]
    (found,) = compare_experiments(base, other)
    assert (found.base.value, found.other.value, found.difference) == (2.0, 4.0, 2.0)
    assert found.p_value == pytest.approx(0.2209, abs=1e-4)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


@pytest.mark.parametrize(
    ("base", "other", "why"),
    [
        ([1.0], [1.0, 2.0], "fewer than 2 runs on a side"),
        ([], [1.0], "runs on one side alone"),
        ([1.0, math.nan], [1.0, 2.0], "not finite"),
    ],
)
def test_why_there_is_no_interval_is_said(base: list[float], other: list[float], why: str) -> None:
    (found,) = compare_experiments([{"m": one} for one in base], [{"m": one} for one in other])
    assert found.interval is None
    assert why in str(found.note)


def test_values_that_never_varied_prove_nothing() -> None:
    (found,) = compare_experiments([{"m": 1.0}] * 2, [{"m": 2.0}] * 2)
    assert (found.difference, found.interval, found.p_value) == (1.0, None, None)
