"""Medians of at least five, taken in turns; what a ratio means and when a target is met."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.measure import Figure, interleaved, interleaved_values, median_cpu_seconds


def returning(values: list[float], name: str, order: list[str]) -> Callable[[], float]:
    def next_value() -> float:
        order.append(name)
        return values.pop(0)

    return next_value


def test_the_median_leaves_out_the_first_round_and_outliers() -> None:
    order: list[str] = []
    ours = returning([99, 1, 2, 3, 4, 500], "ours", order)
    other = returning([0, 50, 10, 20, 30, 40], "other", order)

    assert interleaved_values(ours, other) == (3, 30)


def test_the_sides_take_turns() -> None:
    order: list[str] = []

    interleaved(lambda: order.append("ours"), lambda: order.append("other"), rounds=6)

    assert order == ["ours", "other"] * 7


def test_work_is_timed_when_it_does_not_time_itself() -> None:
    medians = interleaved(lambda: sum(range(1000)), lambda: None)

    assert medians.ours > 0
    assert medians.other > 0


@pytest.mark.parametrize(
    "measure",
    [
        lambda: interleaved(lambda: None, lambda: None, rounds=4),
        lambda: interleaved_values(lambda: 1.0, lambda: 1.0, rounds=4),
        lambda: median_cpu_seconds(lambda: None, rounds=4),
    ],
)
def test_fewer_than_five_rounds_are_no_median(measure: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="4 rounds; expected at least 5"):
        measure()


@pytest.mark.parametrize(
    ("ours", "other", "more_is_better", "ratio", "met"),
    [
        (2.0, 5.0, False, 2.5, True),
        (5.0, 2.0, False, 0.4, False),
        (80.0, 100.0, True, 0.8, False),
        (100.0, 100.0, True, 1.0, True),
    ],
)
def test_a_ratio_above_one_means_that_ours_is_better(
    ours: float, other: float, more_is_better: bool, ratio: float, met: bool
) -> None:
    figure = Figure("x", ours, other, "s", "peer", target=1, more_is_better=more_is_better)

    assert figure.ratio == pytest.approx(ratio)
    assert figure.met is met
