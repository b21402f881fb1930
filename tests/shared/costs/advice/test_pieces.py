"""The order of advice, by what it is known to save."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Kind,
    Saving,
    in_a_month,
    ranked,
    unknown,
)


def test_known_savings_come_before_upper_bounds_and_simulated_money_comes_last() -> None:
    def piece(name: str, saving: Saving, *, simulated: bool = False) -> Advice:
        return Advice(Kind.FAILED_CALLS, name, None, saving, (), "", simulated)

    def saving(certainty: Certainty, nanos: int) -> Saving:
        return Saving(certainty, nanos, None, "")

    pieces = [
        piece("nobody knows", unknown("no price")),
        piece("simulated", saving(Certainty.ESTIMATE, 10**12), simulated=True),
        piece("at most", saving(Certainty.AT_MOST, 10**11)),
        piece("small", saving(Certainty.ESTIMATE, 1)),
        piece("at least", saving(Certainty.AT_LEAST, 5)),
    ]
    assert [one.model for one in ranked(pieces)] == [
        "at least",
        "small",
        "at most",
        "nobody knows",
        "simulated",
    ]


def test_a_month_is_thirty_days() -> None:
    assert in_a_month(10, timedelta(days=15)) == 20
    with pytest.raises(ValueError, match="expected some time"):
        in_a_month(10, timedelta(0))
