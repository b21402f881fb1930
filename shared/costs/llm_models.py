"""What each language model was billed, and why calls have no price, from the hourly rollups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.gaps import Gap, gap_of


@dataclass(frozen=True)
class Billed:
    """Calls of one language model that have a price, or that lack it for the same reason."""

    llm_model: str
    "`provider/model`, as far as either was named."
    gap: Gap | None
    "Why there is no price; None where there is one."
    cost_nanos: int
    llm_calls: int
    simulated_calls: int


@dataclass(frozen=True)
class UnpricedCalls:
    """Calls that have no price for the same reason, and whose they were, the most first."""

    gap: Gap
    llm_calls: int
    llm_models: tuple[tuple[str, int], ...]


def billed(session: Session, start: date, end_before: date) -> tuple[Billed, ...]:
    """From the day `start` up to `end_before` (UTC), by language model and reason."""
    rows = session.execute(_BILLED, {"start": start, "end_before": end_before})
    return tuple(
        Billed(
            "/".join(name for name in (provider, llm_model) if name),
            gap_of(gap) if gap else None,
            *map(int, sums),
        )
        for provider, llm_model, gap, *sums in rows
    )


def unpriced(found: Sequence[Billed]) -> tuple[UnpricedCalls, ...]:
    """The calls without a price by reason, the most frequent first."""
    by_gap: defaultdict[Gap, Counter[str]] = defaultdict(Counter)
    for one in found:
        if one.gap is not None:
            by_gap[one.gap][one.llm_model] += one.llm_calls
    counted = (
        UnpricedCalls(gap, models.total(), tuple(models.most_common()))
        for gap, models in by_gap.items()
    )
    return tuple(sorted(counted, key=lambda one: (-one.llm_calls, one.gap.code)))


# Every session's time zone is UTC, so a date is its midnight in UTC.
_BILLED: Final = sa.text(
    """
    SELECT provider, llm_model, gap, sum(cost_nanos), sum(llm_calls), sum(simulated_calls)
    FROM mlops.llm_model_costs
    WHERE hour >= CAST(CAST(:start AS date) AS timestamptz)
        AND hour < CAST(CAST(:end_before AS date) AS timestamptz)
    GROUP BY provider, llm_model, gap
    """
)
