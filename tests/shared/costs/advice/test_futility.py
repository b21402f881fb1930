"""What is paid for and never succeeds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.costs.advice.futility import hopeless, never_succeeding
from shared.costs.advice.observed import (
    TaskCost,
)
from shared.costs.advice.pieces import (
    Certainty,
)
from tests.shared.costs.advice.observations import (
    MONTH,
    only,
    traffic,
)


def test_a_rate_is_hopeless_only_when_enough_was_tried() -> None:
    assert not hopeless(0, 0)
    assert not hopeless(0, 72)
    assert hopeless(0, 73)
    assert not hopeless(5, 200)
    assert hopeless(3, 400)


def test_a_function_that_never_succeeds_saves_all_that_it_costs() -> None:
    used = [
        traffic(tasks=100, llm_calls=300, cost_nanos=5_000),
        traffic(function="search", tasks=100, successes=90, llm_calls=300, cost_nanos=5_000),
    ]
    one = only(never_succeeding(used, [], frozenset(), timedelta(days=15)))
    assert (one.function, one.saving.nanos) == ("checkout", 10_000)
    assert one.saving.certainty is Certainty.ESTIMATE


def task(name: str = "miniwob/a", model: str = "dear@1", **changes: Any) -> TaskCost:
    return replace(TaskCost(name, model, "evaluation", 80, 0, 1_000, 200, 0), **changes)


def test_a_benchmark_task_is_told_once_for_all_models_or_for_the_one_that_fails() -> None:
    both = [task(), task(model="cheap@1")]
    together = only(never_succeeding([], both, frozenset(), MONTH))
    assert (together.model, together.saving.nanos) == (None, 2_000)
    alone = [task(), task(model="good@1", successes=80)]
    assert only(never_succeeding([], alone, frozenset(), MONTH)).model == "dear@1"
    of_hopeless_function = [traffic(function="evaluation", tasks=80, llm_calls=200, cost_nanos=9)]
    told = only(never_succeeding(of_hopeless_function, [task()], frozenset(), MONTH))
    assert (told.function, told.saving.nanos) == ("evaluation", 9)


def test_what_never_succeeds_for_free_is_no_cost_and_without_a_price_is_unknown() -> None:
    free = traffic(tasks=100, llm_calls=100)
    assert not never_succeeding([free], [], frozenset(), MONTH).advice
    unpriced = traffic(tasks=100, llm_calls=100, unpriced_calls=100)
    one = only(never_succeeding([unpriced], [], frozenset(), MONTH))
    assert (one.saving.certainty, one.saving.nanos) == (Certainty.UNKNOWN, None)
    partly = traffic(tasks=100, llm_calls=100, unpriced_calls=1, cost_nanos=10)
    least = only(never_succeeding([partly], [], frozenset(), MONTH))
    assert (least.saving.certainty, least.saving.nanos) == (Certainty.AT_LEAST, 10)
