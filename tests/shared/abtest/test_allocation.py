from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.abtest.allocation import is_worth_moving, thompson_weights


def test_weights_follow_the_probability_to_be_best_above_the_least_share() -> None:
    assert thompson_weights({"a": 0.0, "b": 1.0}, 0.05) == {"a": 0.05, "b": 0.95}
    assert thompson_weights({"a": 0.5, "b": 0.5}, 0.05) == {"a": 0.5, "b": 0.5}
    assert thompson_weights({"a": 0.2, "b": 0.8}, 0.0) == {"a": 0.2, "b": 0.8}
    assert thompson_weights({"a": 0.2, "b": 0.8}, 0.5) == {"a": 0.5, "b": 0.5}


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=20).filter(any),
    st.floats(0, 1),
)
def test_weights_sum_to_one_and_none_is_below_the_least_share(
    drawn: list[int], share: float
) -> None:
    best = {str(n): one / sum(drawn) for n, one in enumerate(drawn)}
    least = share / len(drawn)
    weights = thompson_weights(best, least)
    assert sum(round(1_000 * one) for one in weights.values()) == 1_000
    # A third is no whole number of thousandths.
    assert min(weights.values()) > least - 1e-3


@pytest.mark.parametrize(
    ("best", "least"),
    [({"a": 0.5, "b": 0.6}, 0.05), ({"a": -0.5, "b": 1.5}, 0.05), ({"a": 0.5, "b": 0.5}, 0.51)],
)
def test_what_cannot_be_is_refused(best: dict[str, float], least: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        thompson_weights(best, least)


def test_small_moves_are_not_made() -> None:
    assert not is_worth_moving({"a": 0.5, "b": 0.5}, {"a": 0.491, "b": 0.509})
    assert is_worth_moving({"a": 0.5, "b": 0.5}, {"a": 0.49, "b": 0.51})
