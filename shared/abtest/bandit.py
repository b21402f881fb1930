"""The weights of a test that looks for its best variant follow what the variants have done."""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy.orm import Session

from shared.abtest.allocation import Allocation, is_worth_moving, thompson_weights
from shared.abtest.lifecycle import change_weights
from shared.abtest.states import AbStatus, AbTestError
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import plan_of
from shared.abtest.verdicts import Verdict
from shared.tenancy.tenants import acting_as

log = logging.getLogger(__name__)

ACTOR: Final = "bandit"
"Whose changes of weights they are in the audit trail."


def follow(session: Session, test: AbTest, verdict: Verdict) -> dict[str, float] | None:
    """Give the test the weights that its verdict asks for, in the caller's transaction.

    The new weights; None where they stay: of fixed weights, of a test that does not run, whose
    figures are withheld or not known yet, or that somebody else has changed since it was read.
    """
    plan = plan_of(test)
    if plan.allocation is not Allocation.THOMPSON or test.status != AbStatus.RUNNING:
        return None
    if not verdict.best:
        return None
    best = {name: posterior.probability_best for name, posterior in verdict.best.items()}
    wanted = thompson_weights(best, plan.least_share)
    if not is_worth_moving({one["name"]: one["weight"] for one in test.variants}, wanted):
        return None
    try:
        with acting_as(ACTOR):
            change_weights(
                session,
                test.name,
                wanted,
                test.environment,
                expected_version=test.table_version,
            )
    except AbTestError as error:
        log.warning("weights left as they are: %s", error)
        return None
    return wanted
