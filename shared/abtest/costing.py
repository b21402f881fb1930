"""What a unit costs in each variant of a test, for advice about cheaper models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.episode_sums import TRIALS, is_of_agents, judge_episodes
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import AbState
from shared.costs.advice.observed import Arm, SplitTest

_ARMS: Final = sa.text(
    f"""
    WITH {TRIALS}
    SELECT variant, count(*) AS scored,
           count(*) FILTER (WHERE outcome = 'success') AS successes,
           avg(cost_nanos)::float8 AS mean_nanos,
           coalesce(var_samp(cost_nanos), 0)::float8 AS variance,
           sum(llm_calls)::bigint AS calls, sum(unpriced_calls)::bigint AS unpriced_calls
    FROM trials GROUP BY variant
    """  # noqa: S608 (a constant)
)


def split_tests(session: Session) -> tuple[SplitTest, ...]:
    """The tenant's tests of models that were started, with the scored units of each variant."""
    tests = session.scalars(
        sa.select(AbTest)
        .where(AbTest.status != AbStatus.DRAFT)
        .order_by(AbTest.environment, AbTest.name)
    )
    return tuple(_split(session, test) for test in tests.all() if is_of_agents(test))


def _split(session: Session, test: AbTest) -> SplitTest:
    named = {"name": test.name, "environment": test.environment}
    found = {row.variant: tuple(row)[1:] for row in session.execute(_ARMS, named)}
    nothing = (0, 0, 0.0, 0.0, 0, 0)
    return SplitTest(
        test.name,
        tuple(
            Arm(variant["model"], *found.get(variant["name"], nothing)) for variant in test.variants
        ),
        mismatch=judge_episodes(session, test, datetime.now(UTC)).state
        is AbState.SAMPLE_RATIO_MISMATCH,
    )
