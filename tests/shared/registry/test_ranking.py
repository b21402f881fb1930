from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.registry.errors import RegistryError
from shared.registry.ranking import Figures, rank, required_weights

CHEAP = Figures("cheap", 0.6, 10.0, 2.0)
GOOD = Figures("good", 0.9, 40.0, 4.0)
POOR = Figures("poor", 0.5, 40.0, 4.0)
UNPRICED = Figures("unpriced", 0.95, None, 1.0)
UNTRIED = Figures("untried", None, None, None)


def test_the_score_is_the_weighted_mean_of_rate_and_ratios_to_the_best() -> None:
    found = rank([GOOD, CHEAP], {"success": 2, "cost": 1, "latency": 1})
    assert dict(found.weights) == {"success": 0.5, "cost": 0.25, "latency": 0.25}
    cheap, good = found.ranked
    assert (cheap.name, cheap.place, good.name, good.place) == ("cheap", 1, "good", 2)
    assert cheap.parts == {"success": 0.6, "cost": 1.0, "latency": 1.0}
    assert good.parts == {"success": 0.9, "cost": 0.25, "latency": 0.5}
    assert good.score == pytest.approx(0.5 * 0.9 + 0.25 * 0.25 + 0.25 * 0.5)


def test_what_another_beats_in_everything_is_not_on_the_front() -> None:
    found = rank([GOOD, CHEAP, POOR])
    assert set(found.front) == {"cheap", "good"}
    poor = found.ranked[-1]
    assert (poor.name, poor.on_front, set(poor.dominated_by)) == ("poor", False, {"good", "cheap"})


def test_a_version_without_a_figure_is_unknown_and_not_on_the_front() -> None:
    found = rank([GOOD, UNPRICED, UNTRIED])
    assert [one.name for one in found.ranked] == ["good"]
    assert [(one.name, one.unknown) for one in found.unknown] == [
        ("unpriced", ("cost",)),
        ("untried", ("success", "cost", "latency")),
    ]
    assert found.front == ("good",)


def test_a_figure_without_a_weight_may_be_unknown_but_then_the_front_is_too() -> None:
    found = rank([GOOD, UNPRICED], {"success": 1})
    assert [(one.name, one.on_front) for one in found.ranked] == [
        ("unpriced", None),
        ("good", True),
    ]


def test_what_is_free_is_the_best_and_all_else_infinitely_dearer() -> None:
    free, paid = rank([Figures("free", 0.5, 0.0, 1.0), Figures("paid", 0.5, 1.0, 1.0)]).ranked
    assert (free.parts["cost"], paid.parts["cost"]) == (1.0, 0.0)


def test_equal_scores_have_the_same_place() -> None:
    found = rank([GOOD, Figures("as good", 0.9, 40.0, 4.0), POOR])
    assert [one.place for one in found.ranked] == [1, 1, 3]
    assert all(one.on_front for one in found.ranked[:2])


def test_nothing_to_rank_is_no_ranking() -> None:
    assert rank([]).ranked == ()


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ({"sucess": 1}, "no weight 'sucess'; near it: success"),
        ({"cost": -1}, "weight of cost -1: expected 0 or more"),
        ({"cost": math.nan}, "weight of cost nan"),
        ({"cost": "1"}, "weight of cost '1': expected a number"),
        ({}, "sum to nothing"),
        ({"cost": 0}, "sum to nothing"),
    ],
)
def test_weights_that_are_none_are_refused(weights: dict[str, float], complaint: str) -> None:
    with pytest.raises(RegistryError, match=complaint):
        required_weights(weights)


amounts = st.none() | st.floats(0, 1e12)


@given(
    st.lists(st.tuples(st.none() | st.floats(0, 1), amounts, amounts), max_size=8),
)
def test_of_what_is_known_somebody_is_on_the_front_and_nobody_there_is_beaten(
    values: list[tuple[float | None, float | None, float | None]],
) -> None:
    figures = [Figures(str(number), *of) for number, of in enumerate(values)]
    found = rank(figures)
    named = {one.name: one for one in figures}
    assert bool(found.front) == bool(found.ranked)
    assert {one.name for one in found.ranked} | {one.name for one in found.unknown} == set(named)
    assert all(0 <= one.score <= 1 + 1e-9 for one in found.ranked)
    for one in found.ranked:
        assert bool(one.dominated_by) is not one.on_front
        # Whoever is beaten is beaten by somebody on the front.
        assert one.on_front or set(one.dominated_by) & set(found.front)
