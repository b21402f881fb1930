"""What follows when a guardrail is harmed: the test is paused, if its author wished so."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from shared.abtest import lifecycle
from shared.abtest.finite import finite
from shared.abtest.history import harms_that_paused
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import plan_of
from shared.abtest.verdicts import Comparison, Standing, Verdict


def harmed_guardrails(verdict: Verdict) -> tuple[Comparison, ...]:
    """Of which variants which guardrails are worse than the plan tolerates."""
    return tuple(one for one in verdict.comparisons if one.standing is Standing.HARMED)


def pause_when_harmed(session: Session, test: AbTest, verdict: Verdict) -> tuple[Comparison, ...]:
    """Pause a running test for guardrails that are harmed, where its plan says so.

    Returns those it was paused for, and nothing where it was not. In the caller's transaction, with
    an audit row that has the figures. Nothing resumes it but a person; whoever does so knows of the
    harm, so the same guardrail of the same variant pauses the test once. Of two who ask at once one
    pauses it.
    """
    if not plan_of(test).pause_when_harmed:
        return ()
    harmed = harmed_guardrails(verdict)
    if not harmed:
        return ()
    session.refresh(test, with_for_update=True)
    known = harms_that_paused(session, test)
    news = tuple(one for one in harmed if (one.variant, one.metric) not in known)
    if test.status != AbStatus.RUNNING or not news:
        return ()
    why = {"harmed": [_told(one) for one in news], "units": verdict.units}
    lifecycle.pause(session, test.name, test.environment, why=why)
    return news


def _told(one: Comparison) -> dict[str, Any]:
    return {
        "variant": one.variant,
        "metric": one.metric,
        "unit": one.unit,
        "difference": one.difference,
        "interval": finite(one.interval or ()),
        "confidence": one.confidence,
        "p_adjusted": one.p_adjusted,
    }
