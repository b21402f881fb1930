"""How much a cheaper model may lose, at most and at least, of what was tried."""

from __future__ import annotations

import random

import pytest

from shared.costs.advice.noninferiority import paired_loss_bounds, split_loss_bounds


def test_pairs_without_any_difference_bound_the_loss_by_the_number_of_tasks() -> None:
    bounds = paired_loss_bounds([[0] * 5 for _ in range(20)])
    assert bounds is not None
    z = 1.7291  # Student's 95 % quantile of 19 degrees
    assert bounds[1] == pytest.approx(z**2 / (20 + z**2), abs=1e-4)
    assert bounds[0] == pytest.approx(-bounds[1])


def test_bounds_of_one_task_are_not_known() -> None:
    assert paired_loss_bounds([]) is None
    assert paired_loss_bounds([[0, 1, -1]]) is None


def test_the_bounds_enclose_the_observed_loss_and_turn_round_with_it() -> None:
    differences = [[1, 0, 0], [0, -1, 0], [1, 0, 1], *([0] * 3 for _ in range(20))]
    turned = [[-value for value in some] for some in differences]
    bounds, back = paired_loss_bounds(differences), paired_loss_bounds(turned)
    assert bounds is not None
    assert back is not None
    assert bounds[0] < 2 / 69 < bounds[1]
    assert back == (pytest.approx(-bounds[1]), pytest.approx(-bounds[0]))


def test_at_a_loss_of_just_the_margin_a_model_seldom_passes() -> None:
    """At most one in twenty, and a margin for the luck of 400 draws (seeds alike within a task)."""
    rng = random.Random(11)

    def passes() -> bool:
        differences = []
        for _ in range(30):
            base = rng.choice((0.4, 0.7, 0.9))
            other = base - 0.05 - rng.choice((-0.1, 0.1))
            differences.append(
                [int(rng.random() < base) - int(rng.random() < other) for _ in range(5)]
            )
        bounds = paired_loss_bounds(differences)
        return bounds is not None and bounds[1] < 0.05

    assert sum(passes() for _ in range(400)) <= 32


def test_bounds_of_two_groups_are_those_of_newcombe() -> None:
    # Newcombe 1998, Table II, case (a): 56/70 - 48/80, at 95 % on both sides 0.0524 to 0.3339.
    low, high = split_loss_bounds(56, 70, 48, 80)
    assert 0.0524 < low < 0.2 < high < 0.3339
    with pytest.raises(ValueError, match="expected at least 1"):
        split_loss_bounds(0, 0, 1, 2)
