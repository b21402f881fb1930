"""How money is told: one way for people, one for machines, and unknown is not nothing."""

from __future__ import annotations

import pytest

from shared.money import call_count, cost_text, dollars, known_nanos, money_fields


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_234_567, "$0.00123"),
        (28_512_345, "$0.0285"),
        (333_000_000, "$0.333"),
        (2_500_000_000, "$2.50"),
        (999_999_999, "$1.00"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-50_000_000, "-$0.05"),
        (12_345_678.9, "$0.0123"),
        (None, "unknown"),
    ],
)
def test_dollars_have_the_decimals_that_they_need(nanos: float | None, text: str) -> None:
    assert dollars(nanos) == text


def test_calls_of_which_none_has_a_price_have_not_cost_nothing() -> None:
    assert known_nanos(0, calls=2, unpriced_calls=2) is None
    assert known_nanos(7, calls=2, unpriced_calls=1) == 7
    assert known_nanos(0, calls=0, unpriced_calls=0) == 0


def test_a_cost_is_told_with_what_is_not_in_it() -> None:
    assert cost_text(4_000_000_000, 1, simulated=False) == "$4.00 + unpriced: 1 call"
    assert cost_text(5, 1_200, simulated=True) == (
        "$0.000000005 (simulated) + unpriced: 1,200 calls"
    )
    assert cost_text(None, 2, simulated=False) == "unpriced: 2 calls"
    assert cost_text(None, 0, simulated=False) == "unknown"
    assert [call_count(n) for n in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]


def test_machines_are_told_every_nano_dollar_and_the_same_in_dollars() -> None:
    assert money_fields(cost=2_500_000_001, each=1.6, left=None) == {
        "cost_nanos": 2_500_000_001,
        "cost_dollars": "2.500000001",
        "each_nanos": 2,
        "each_dollars": "0.000000002",
        "left_nanos": None,
        "left_dollars": None,
    }
