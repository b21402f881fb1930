"""What a unit costs in each variant of a test, for advice about cheaper models."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.analysis import VariantCounts, analyze
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import AbState
from shared.costs.advice.observed import Arm, SplitTest

# As in the analysis: a unit that several runs have tried is one trial, its first that is scored.
_COSTS: Final = sa.text(
    """
    WITH tried AS (
        SELECT e.variant, e.cost_nanos, e.llm_calls, e.unpriced_calls, e.scored,
               row_number() OVER (
                   PARTITION BY e.variant, e.unit_id
                   ORDER BY e.scored DESC, r.created_at, e.id
               ) AS place
        FROM mlops.episode_results e JOIN mlops.benchmark_runs r ON r.id = e.run_id
        WHERE r.specification->'ab'->>'test' = :name
          AND r.specification->'ab'->>'environment' = :environment
    )
    SELECT variant, avg(cost_nanos)::float8 AS mean_nanos,
           coalesce(var_samp(cost_nanos), 0)::float8 AS variance,
           sum(llm_calls)::bigint AS calls, sum(unpriced_calls)::bigint AS unpriced_calls
    FROM tried WHERE scored AND place = 1 GROUP BY variant
    """
)


def split_tests(session: Session) -> tuple[SplitTest, ...]:
    """The tenant's tests of models that were started, with the scored units of each variant."""
    tests = session.scalars(
        sa.select(AbTest)
        .where(AbTest.status != AbStatus.DRAFT)
        .order_by(AbTest.environment, AbTest.name)
    )
    return tuple(
        _split(session, test)
        for test in tests.all()
        if all(variant["model"] for variant in test.variants)
    )


def _split(session: Session, test: AbTest) -> SplitTest:
    analysis = analyze(session, test)
    named = {"name": test.name, "environment": test.environment}
    costs = {row.variant: row for row in session.execute(_COSTS, named)}
    return SplitTest(
        test.name,
        tuple(
            _arm(variant.counts, costs.get(variant.counts.name)) for variant in analysis.variants
        ),
        mismatch=analysis.state is AbState.SAMPLE_RATIO_MISMATCH,
    )


def _arm(counts: VariantCounts, cost: sa.Row[tuple[str, float, float, int, int]] | None) -> Arm:
    known = (0.0, 0.0, 0, 0) if cost is None else tuple(cost)[1:]
    return Arm(counts.model or counts.name, counts.scored, counts.successes, *known)
