"""A look at an A/B test: judge it, keep what it shows, tell of it, and act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.analysis import analysis_of
from shared.abtest.bandit import follow
from shared.abtest.guarding import pause_when_harmed
from shared.abtest.looks import keep, look_of
from shared.abtest.states import ENDED, AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import AbState
from shared.alerts.ab_tests import close_alerts_of, tell_of_test, told_of

OPEN: Final = (AbStatus.RUNNING, AbStatus.PAUSED)
"Of a paused test units go on doing what they do."


@dataclass(frozen=True)
class Looked:
    """What a look has found and done."""

    state: AbState
    verdict: str
    units: int
    alerts_raised: int
    alerts_resolved: int
    paused_for: tuple[str, ...] = ()
    "The guardrails that were harmed, as `metric of variant`."
    weights: dict[str, float] | None = None
    "Those that the test was given; None where they stay."


def look_at(session: Session, test: AbTest, now: datetime) -> Looked:
    """Look at a test, as of `now` (aware); of one that has ended this closes the alerts."""
    found = analysis_of(session, test, now)
    keep(session, test, look_of(test, found, now))
    if test.status in ENDED:
        told = close_alerts_of(session, test)
        return Looked(found.state, found.verdict, found.units, told.raised, told.resolved)
    told = tell_of_test(session, test, found, now)
    paused_for = pause_when_harmed(session, test, found)
    return Looked(
        found.state,
        found.verdict,
        found.units,
        told.raised,
        told.resolved,
        tuple(f"{one.metric} of {one.variant}" for one in paused_for),
        follow(session, test, found),
    )


def to_be_looked_at(session: Session) -> Sequence[AbTest]:
    """The tests that are open, and those that have ended and whose alerts have not.

    Each test is looked at once after its end, see `lifecycle`; these are those whose look failed.
    """
    named = sa.tuple_(AbTest.environment, AbTest.name).in_(told_of(session))
    return session.scalars(sa.select(AbTest).where(AbTest.status.in_(OPEN) | named)).all()
