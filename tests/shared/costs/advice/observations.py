"""What the tests of advice look at: traffic, calls and episodes, made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from shared.costs.advice.observed import (
    CallGroup,
    RecentCalls,
    SplitTest,
    Traffic,
    Trial,
)
from shared.costs.advice.pieces import (
    Advice,
    Section,
)
from shared.costs.advice.substitutes import cheaper_models
from shared.costs.prices import shipped_prices
from shared.telemetry.histograms import Histogram
from shared.telemetry.reading import Sums, Window

NOW = datetime.now(UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)
MONTH = timedelta(days=30)
PRICES = shipped_prices()
NO_SUMS = Sums(*(0 for _ in range(17)))


def traffic(
    model: str = "dear@1",
    function: str = "checkout",
    lengths: Sequence[int] = (),
    tokens: Sequence[int] = (),
    **sums: int,
) -> Traffic:
    histograms = (Histogram.from_values(np.array(some, int)) for some in (lengths, tokens))
    return Traffic(model, function, replace(NO_SUMS, **sums), *histograms)


def calls(**changes: Any) -> CallGroup:
    values: dict[str, Any] = {
        "model": "dear@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1",
        "calls": 1000,
        "simulated": 0,
        "counted": 1000,
        "input_tokens": 5_000_000,
        "cached_tokens": 0,
        "commonest_error": None,
    }
    unset = {name: 0 for name in CallGroup.__dataclass_fields__ if name not in values}
    return CallGroup(**unset | values | changes)


def recent(*groups: CallGroup, days: float = 30, complete: bool = True) -> RecentCalls:
    return RecentCalls(groups, NOW - timedelta(days=days), NOW, complete)


def played(
    successes: Sequence[Sequence[bool]], nanos: int, **changes: Any
) -> dict[tuple[str, int], Trial]:
    """The episodes of one model: a row a task, a column a seed, each at about `nanos`."""
    return {
        (f"task-{task}", seed): replace(Trial(success, nanos + 10 * task + seed, 3, 0), **changes)
        for task, row in enumerate(successes)
        for seed, success in enumerate(row)
    }


ALL_OF_60 = [[True] * 3 for _ in range(60)]


def substitutes(
    models: dict[str, Any],
    used: Sequence[Traffic] = (),
    tests: Sequence[SplitTest] = (),
    *,
    functions: frozenset[str] = frozenset({"evaluation"}),
    simulated: frozenset[str] = frozenset(),
    margin: float = 0.05,
) -> Section:
    return cheaper_models(
        models,
        tests,
        used,
        MONTH,
        benchmark_functions=functions,
        simulated=simulated,
        margin=margin,
    )


def only(section: Section) -> Advice:
    (one,) = section.advice
    return one


def figure(advice: Advice, name: str) -> float:
    (value,) = (one.value for one in advice.evidence if one.name == name)
    return value
