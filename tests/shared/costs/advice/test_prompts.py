"""What prompts cost that are longer than others."""

from __future__ import annotations

import numpy as np
import pytest

from shared.costs.advice.pieces import (
    Certainty,
)
from shared.costs.advice.prompts import excess_share, long_prompts
from shared.telemetry.histograms import Histogram
from tests.shared.costs.advice.observations import (
    NOW,
    PRICES,
    calls,
    figure,
    only,
    recent,
    traffic,
)


def test_calls_far_above_the_median_save_their_share_of_the_input() -> None:
    lengths = [1_000] * 900 + [21_000] * 100
    one = only(
        long_prompts([traffic(lengths=lengths, llm_calls=1000)], recent(calls()), PRICES, NOW)
    )
    share = figure(one, "of all that is sent, beyond it in these calls")
    assert share == pytest.approx(100 * 20_000 / 3_000_000, rel=0.01)
    # Five million tokens at $2.00 a million.
    assert one.saving.nanos == pytest.approx(share * 10_000_000_000, rel=0.001)
    assert figure(one, "calls far above it") == 0.1
    # Nothing shows that the long ones need not be long.
    assert one.saving.certainty is Certainty.AT_MOST


def test_a_model_that_sends_far_more_than_others_to_a_function_is_told() -> None:
    used = [
        traffic("dear@1", lengths=[9_000] * 200, llm_calls=200),
        traffic("lean@1", lengths=[1_000] * 200, llm_calls=200),
        traffic("else@1", "search", lengths=[9_000] * 200, llm_calls=200),
    ]
    one = only(long_prompts(used, recent(calls()), PRICES, NOW))
    assert (one.model, one.function) == ("dear@1", "checkout")
    assert one.saving.certainty is Certainty.ESTIMATE
    assert one.saving.nanos == pytest.approx(8 / 9 * 10_000_000_000, rel=0.01)
    assert one.saving.interval is not None


def test_prompts_that_differ_as_prompts_do_are_not_oversized() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.lognormal(8, 0.5, 2000).astype(int)
    used = [traffic(lengths=lengths.tolist(), llm_calls=2000)]
    assert not long_prompts(used, recent(calls()), PRICES, NOW).advice


def test_tokens_are_looked_at_where_no_length_is_reported_and_neither_is_told() -> None:
    tokens = [1_000] * 900 + [21_000] * 100
    assert long_prompts(
        [traffic(tokens=tokens, llm_calls=1000)], recent(calls()), PRICES, NOW
    ).advice
    nothing = long_prompts([traffic(llm_calls=1000)], recent(calls()), PRICES, NOW)
    assert not nothing.advice
    assert "query_length" in nothing.missing[0]


def test_long_prompts_of_unknown_rates_save_an_unknown_amount() -> None:
    used = [traffic(lengths=[1_000] * 900 + [21_000] * 100, llm_calls=1000)]
    for groups in ((), (calls(provider=None),), (calls(counted=0),)):
        one = only(long_prompts(used, recent(*groups), PRICES, NOW))
        assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)


def test_the_excess_of_nothing_is_nothing() -> None:
    assert excess_share(Histogram.empty(), 10, 40) == 0.0
