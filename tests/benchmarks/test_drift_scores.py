"""Precision, recall and delay of alarms: the examples of the benchmark that they come from."""

from __future__ import annotations

import pytest

from benchmarks.drift_scores import delays, score


@pytest.mark.parametrize(
    ("annotations", "predicted", "f1"),
    [
        ([[10, 20], [11, 20], [10], [0, 5]], [10, 20], 1.0),
        ([[], [10], [50]], [10], 10 / 11),
        ([[], [10], [50]], [], 0.8),
        ([[100]], [94, 106], 0.4),
    ],
)
def test_f1_is_that_of_the_turing_change_point_benchmark(
    annotations: list[list[int]], predicted: list[int], f1: float
) -> None:
    assert score(annotations, predicted).f1 == pytest.approx(f1)


def test_who_never_calls_is_never_wrong_and_finds_but_the_start() -> None:
    silent = score([[50, 80]], [])

    assert silent.precision == 1
    assert silent.recall == pytest.approx(1 / 3)


def test_a_change_is_found_once_and_a_call_counts_once() -> None:
    assert score([[50]], [49, 51, 52]).precision == 0.5
    assert score([[50, 54]], [52]).recall == pytest.approx(2 / 3)


def test_scores_need_an_annotator() -> None:
    with pytest.raises(ValueError, match="at least one"):
        score([], [3])


def test_a_delay_ends_with_patience_and_with_the_next_change() -> None:
    changes = [[10, 40, 300], []]

    assert delays(changes, [12, 13, 299, 330]) == [2, None, 30]
    assert delays(changes, [50, 399]) == [None, 10, 99]
    assert delays(changes, [41], patience=1) == [None, None, None]
