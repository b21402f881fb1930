"""A cheaper model is advised where it has been shown to lose no more than a margin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.costs.advice.observed import (
    Arm,
    SplitTest,
)
from shared.costs.advice.pieces import (
    Certainty,
    Kind,
)
from tests.shared.costs.advice.observations import (
    ALL_OF_60,
    figure,
    only,
    played,
    substitutes,
    traffic,
)


def test_a_cheaper_model_that_loses_nothing_is_advised_for_the_traffic_of_the_dearer() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    used = [
        traffic(tasks=500, successes=400, llm_calls=900, cost_nanos=4_500_000),
        traffic(function="evaluation", tasks=180, llm_calls=900, cost_nanos=10**9),
    ]
    one = only(substitutes(models, used))
    assert (one.kind, one.model) == (Kind.CHEAPER_MODEL, "dear@1")
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.ESTIMATE, 500 * 8_000)
    assert one.saving.interval is not None
    assert one.saving.interval.low <= 4_000_000 <= one.saving.interval.high
    assert "cheap@1" in one.action
    assert "500 tasks" in one.saving.explanation
    assert figure(one, "tasks of dear@1 outside of benchmark runs") == 500


def test_a_saving_is_never_more_than_what_the_tasks_cost() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    one = only(substitutes(models, [traffic(tasks=500, llm_calls=900, cost_nanos=1_000_000)]))
    assert one.saving.nanos == 1_000_000
    assert "no more than" in one.saving.explanation


def test_without_traffic_outside_of_benchmarks_the_saving_is_unknown_and_not_zero() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    used = [traffic(function="evaluation", tasks=180, llm_calls=900, cost_nanos=10**9)]
    one = only(substitutes(models, used))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)
    assert "outside of benchmark runs" in one.saving.explanation


def test_too_few_pairs_or_tasks_are_no_evidence_and_that_is_said() -> None:
    few = [[True] * 3 for _ in range(9)]
    section = substitutes({"dear@1": played(few, 9_000), "cheap@1": played(few, 1_000)})
    assert not section.advice
    assert section.missing == (
        "cheap@1 and dear@1 have 27 scored episodes of 9 tasks in common; 30 of 10 tasks are"
        " needed",
    )


def test_a_difference_that_is_merely_not_significant_is_no_advice() -> None:
    """Ten tasks alike: the loss may still be 20 points and more."""
    alike = [[True] * 3 for _ in range(10)]
    models = {"dear@1": played(alike, 9_000), "cheap@1": played(alike, 1_000)}
    assert not substitutes(models).advice
    assert substitutes(models, margin=0.3).advice


def test_averages_of_different_tasks_are_never_compared() -> None:
    other = {(f"other/{task}", seed): one for (task, seed), one in played(ALL_OF_60, 10).items()}
    section = substitutes({"dear@1": played(ALL_OF_60, 9_000), "cheap@1": other})
    assert not section.advice
    assert "0 scored episodes of 0 tasks in common" in section.missing[0]


def test_a_model_that_loses_more_than_the_margin_is_not_advised() -> None:
    worse = [[True, True, task % 10 != 0] for task in range(60)]
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(worse, 1_000)}
    assert not substitutes(models).advice


def test_of_several_models_that_are_good_enough_the_cheapest_is_advised() -> None:
    models = {
        "dear@1": played(ALL_OF_60, 9_000),
        "cheap@1": played(ALL_OF_60, 1_000),
        "middle@1": played(ALL_OF_60, 4_000),
    }
    advised = {one.model: one.action for one in substitutes(models).advice}
    assert set(advised) == {"dear@1", "middle@1"}
    assert "cheap@1" in advised["dear@1"]


def test_a_model_without_prices_or_calls_is_not_called_cheap() -> None:
    dear = played(ALL_OF_60, 9_000)
    unpriced = substitutes({"dear@1": dear, "cheap@1": played(ALL_OF_60, 0, unpriced_calls=1)})
    silent = substitutes({"dear@1": dear, "rules@1": played(ALL_OF_60, 0, calls=0)})
    assert not unpriced.advice
    assert not silent.advice
    assert "cheap@1 has 180 calls without a price" in unpriced.missing[0]
    assert "rules@1 reported no model calls" in silent.missing[0]


def test_unpriced_calls_of_the_dearer_make_the_saving_a_lower_bound() -> None:
    models = {
        "dear@1": played(ALL_OF_60, 9_000, unpriced_calls=1),
        "cheap@1": played(ALL_OF_60, 1_000),
    }
    one = only(substitutes(models, [traffic(tasks=10, llm_calls=20, cost_nanos=10**9)]))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.AT_LEAST, 80_000)


def test_a_simulated_price_is_marked() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    assert only(substitutes(models, simulated=frozenset({"cheap@1"}))).simulated
    assert not only(substitutes(models)).simulated


def arm(model: str, successes: int, nanos: float, scored: int = 1000, **changes: Any) -> Arm:
    return replace(Arm(model, scored, successes, nanos, 100.0, 3 * scored, 0), **changes)


def test_an_ab_test_is_evidence_if_its_split_held_and_its_arms_are_large_enough() -> None:
    arms = (arm("dear@1", 900, 9_000), arm("cheap@1", 905, 1_000))
    one = only(substitutes({}, [], [SplitTest("prompt", arms)]))
    assert one.model == "dear@1"
    assert "A/B test prompt" in one.evidence[0].source
    mismatch = substitutes({}, [], [SplitTest("prompt", arms, mismatch=True)])
    assert not mismatch.advice
    assert "do not follow its weights" in mismatch.missing[0]
    small = (arm("dear@1", 29, 9_000, 29), arm("cheap@1", 29, 1_000, 29))
    assert not substitutes({}, [], [SplitTest("prompt", small)]).advice


def test_what_one_source_shows_to_be_worse_another_does_not_make_good() -> None:
    models = {"dear@1": played(ALL_OF_60, 9_000), "cheap@1": played(ALL_OF_60, 1_000)}
    arms = (arm("dear@1", 900, 9_000), arm("cheap@1", 700, 1_000))
    assert not substitutes(models, [], [SplitTest("prompt", arms)]).advice


@pytest.mark.parametrize("margin", [0, 1, -0.1, float("nan")])
def test_a_margin_is_a_share_of_successes(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        substitutes({}, margin=margin)
