"""What prompt caching would save, and where nothing can be said of it."""

from __future__ import annotations

from shared.costs.advice.caching import unused_caching
from shared.costs.advice.pieces import (
    Certainty,
)
from tests.shared.costs.advice.observations import (
    NOW,
    PRICES,
    calls,
    only,
    recent,
)


def test_caching_that_is_not_used_saves_at_most_what_a_cached_token_costs_less() -> None:
    one = only(unused_caching(recent(calls()), PRICES, NOW))
    # gpt-4.1: $2.00 a million input tokens, $0.50 cached; five million were sent.
    assert one.saving.nanos == 7_500_000_000
    assert one.saving.certainty is Certainty.AT_MOST
    assert one.saving.interval == (0, 7_500_000_000)
    assert "not known" in one.saving.explanation


def test_what_is_cached_already_is_not_advised_again_nor_what_is_too_short() -> None:
    for group in (
        calls(cached_tokens=2_000_000),
        calls(input_tokens=900_000),
        calls(calls=99, counted=99),
        calls(provider="stand-in", llm_model="nothing"),
    ):
        assert not unused_caching(recent(group), PRICES, NOW).advice


def test_a_provider_without_a_cached_rate_has_nothing_to_gain() -> None:
    assert not unused_caching(
        recent(calls(provider="openai", llm_model="gpt-4")), PRICES, NOW
    ).advice


def test_who_does_not_say_how_much_was_cached_is_not_advised_but_told() -> None:
    section = unused_caching(recent(calls(counted=0, input_tokens=0, silent=1000)), PRICES, NOW)
    assert not section.advice
    assert "cached_input_tokens" in section.missing[0]


def test_unknown_rates_are_told_as_missing() -> None:
    for changes in ({"llm_model": None}, {"provider": "nobody"}):
        section = unused_caching(recent(calls(**changes)), PRICES, NOW)
        assert (section.advice, len(section.missing)) == ((), 1)


def test_the_price_of_the_stand_in_is_simulated() -> None:
    group = calls(provider="stand-in", llm_model="stand-in")
    assert only(unused_caching(recent(group), PRICES, NOW)).simulated
