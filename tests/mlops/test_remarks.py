"""What is said beside the table of a run."""

from __future__ import annotations

from uuid import uuid4

import pytest

from mlops.evaluations.outcome import remarks
from shared.evaluation.standing import Standing


@pytest.mark.parametrize(
    ("of_agents", "of_judges", "said"),
    [
        (0, 0, "cost $0.50 of a budget of $1.00"),
        (3, 0, "$1.00, and 3 calls without a known price are not in it"),
        (3, 2, "$1.00, and 5 calls without a known price (2 of them by judges) are not in it"),
    ],
)
def test_calls_that_a_budget_does_not_count_are_told(
    of_agents: int, of_judges: int, said: str
) -> None:
    now = Standing(
        queued=0,
        running=0,
        scored=1,
        environment_errors=0,
        over_budget=0,
        cancelled=0,
        cost_nanos=500_000_000,
        unpriced_calls=of_agents,
        unpriced_judge_calls=of_judges,
        budget_nanos=1_000_000_000,
    )
    (line,) = remarks(now, uuid4())
    assert line.endswith(said)
