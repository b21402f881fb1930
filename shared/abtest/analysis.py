"""What a test has shown so far: of agents by their benchmark episodes, else by what its units did.

Whichever they are, they are judged alike (`judging.judge`).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.abtest.episode_sums import is_of_agents, judge_episodes, plan_of_agents
from shared.abtest.finite import finite
from shared.abtest.lifecycle import find
from shared.abtest.plan import Plan
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import judge_units, plan_of
from shared.abtest.verdicts import Verdict
from shared.jobs.contracts import AnalyzeAbTest


def step(session: Session, job: AnalyzeAbTest) -> dict[str, Any]:
    """The analysis of a test as the result of its job. Raises `AbTestError` for no such test."""
    test = find(session, job.test, job.environment)
    return described(analysis_of(session, test, datetime.now(UTC)))


def analysis_of(session: Session, test: AbTest, now: datetime) -> Verdict:
    """The verdict as of `now` (aware), which says how long the test has run."""
    judged = judge_episodes if is_of_agents(test) else judge_units
    return judged(session, test, now)


def plan_judged_by(test: AbTest) -> Plan:
    """What `analysis_of` holds the test to."""
    return plan_of_agents(test) if is_of_agents(test) else plan_of(test)


def described(found: Verdict) -> dict[str, Any]:
    """It as JSON has it."""
    told: dict[str, Any] = finite(asdict(found))
    return told
