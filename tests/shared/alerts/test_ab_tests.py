"""Alerts of A/B tests: once for each thing that is wrong, and closed when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.judging import judge
from shared.abtest.lifecycle import conclude, create, start
from shared.abtest.plan import Plan
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import MetricSums, VariantSums, Verdict
from shared.alerts.ab_tests import Told, close_alerts_of, tell_of_test, told_of
from shared.alerts.tables import Alert
from tests.shared.abtest.units import of_share

NOW = datetime(2026, 11, 20, 12, 17, tzinfo=UTC)
SPLIT = [{"name": name, "weight": 0.5} for name in ("standard", "concise")]
PLAN = Plan.model_validate({"guardrails": ["error_rate"]})


def judged(
    standard: int = 250, concise: int = 250, units: tuple[int, int] = (500, 500), mixed: int = 0,
    errors: tuple[int, int] = (50, 50), split_changed: bool = False,
) -> Verdict:  # fmt: skip
    """Of so many units that solved their task, and so many whose one call failed."""
    variants = []
    for name, n, *counts in zip(
        ("standard", "concise"), units, (standard, concise), errors, strict=True
    ):
        metrics = {}
        for metric, count in zip(("task_completion_rate", "error_rate"), counts, strict=True):
            metrics[metric] = MetricSums(of_share(count, n))
        variants.append(VariantSums(name, 0.5, n, mixed, metrics))
    return judge(PLAN, variants, split_changed=split_changed)


@pytest.fixture
def running(session: Session) -> AbTest:
    create(session, "prompt", SPLIT, environment="staging")
    return start(session, "prompt", "staging")


def alerts(session: Session, *, opened: bool = True) -> list[Alert]:
    query = sa.select(Alert).order_by(Alert.raised_at, Alert.fingerprint)
    rows = session.scalars(query, execution_options={"populate_existing": True})
    return [row for row in rows if (row.resolved_at is None) == opened]


def test_units_that_do_not_follow_the_weights_are_told_until_they_do(
    session: Session, running: AbTest
) -> None:
    for hours in (0, 1):
        found = judged(units=(1_000, 1_250))
        assert tell_of_test(session, running, found, NOW + timedelta(hours=hours)) == Told(1, 0)
    (alert,) = alerts(session)
    assert (alert.severity, alert.times_seen) == ("critical", 2)
    assert alert.message == (
        "A/B test prompt in staging: the units do not follow the weights: 1,000 of 2,250 in"
        " standard where 1,125 were to be, 1,250 of 2,250 in concise where 1,125 were to be,"
        f" p = {found.sample_ratio_sequential_p:.2g} (below 0.001), so no figure can be trusted;"
        " since 2026-11-20 12:17 UTC; mlops ab show prompt --environment staging"
    )
    assert tell_of_test(session, running, judged(), NOW) == Told(0, 1)
    (closed,) = alerts(session, opened=False)
    assert closed.details["resolved_because"] == "the units follow the weights (p = 1)"


def test_after_a_change_of_weights_there_is_no_ratio_to_be_told_of(
    session: Session, running: AbTest
) -> None:
    tell_of_test(session, running, judged(units=(1_000, 1_250)), NOW)
    changed = judged(units=(1_000, 1_250), split_changed=True)
    assert tell_of_test(session, running, changed, NOW) == Told(0, 1)


def test_a_guardrail_that_is_harmed_is_told_until_it_is_not_shown_any_more(
    session: Session, running: AbTest
) -> None:
    assert tell_of_test(session, running, judged(errors=(50, 150)), NOW) == Told(1, 0)
    (alert,) = alerts(session)
    assert alert.severity == "warning"
    assert alert.message.startswith(
        "A/B test prompt in staging: a guardrail is harmed, error_rate of concise: +20.0 points of"
        " error_rate, 97.5 % always-valid interval"
    )
    assert " against standard, adjusted p = " in alert.message
    assert " (at most 0.05), 500 and 500 units; since " in alert.message
    # Less than what is told, and more than nothing: it would come and go.
    between = judged(errors=(50, 88))
    assert not between.harmed
    assert between.comparisons[1].p_value is not None
    assert between.comparisons[1].p_value < 0.05
    assert tell_of_test(session, running, between, NOW) == Told(0, 0)
    # Without figures nothing is known of it.
    nothing = judged(units=(0, 0), standard=0, concise=0, errors=(0, 0))
    assert tell_of_test(session, running, nothing, NOW) == Told(0, 0)
    assert tell_of_test(session, running, judged(), NOW) == Told(0, 1)


def test_a_decision_is_told_once_and_stays(session: Session, running: AbTest) -> None:
    won = judged(concise=350)
    assert tell_of_test(session, running, won, NOW) == Told(1, 0)
    (alert,) = alerts(session)
    assert alert.severity == "info"
    assert "concise is better than standard: +20.0 points" in alert.message
    # An interval that holds at any time did hold then.
    assert tell_of_test(session, running, judged(concise=255), NOW) == Told(0, 0)
    lost = judged(concise=150)
    assert tell_of_test(session, running, lost, NOW) == Told(1, 1)
    (alert,) = alerts(session)
    assert alert.details["decision"] == "worse"


def test_that_nothing_is_decided_at_the_planned_units_is_told_unless_something_was(
    session: Session, running: AbTest
) -> None:
    undecided = judged(units=(2_500, 2_500), standard=1_250, concise=1_260, errors=(250, 250))
    assert tell_of_test(session, running, undecided, NOW) == Told(1, 0)
    (alert,) = alerts(session)
    assert (alert.severity, alert.details["decision"]) == ("info", "undecided")
    assert tell_of_test(session, running, judged(concise=350), NOW) == Told(1, 1)
    # What was told before stays as it is.
    assert tell_of_test(session, running, undecided, NOW) == Told(0, 0)
    (alert,) = alerts(session)
    assert alert.details["decision"] == "better"


def test_a_decision_of_figures_that_are_withheld_is_none(session: Session, running: AbTest) -> None:
    tell_of_test(session, running, judged(concise=350), NOW)
    assert tell_of_test(session, running, judged(mixed=50), NOW) == Told(1, 1)
    (alert,) = alerts(session)
    assert (alert.severity, alert.details["what"]) == ("critical", "invalid")
    assert "100 of 1100 units were given two variants" in alert.message
    assert tell_of_test(session, running, judged(), NOW) == Told(0, 1)


def test_the_end_of_a_test_closes_its_alerts_and_no_others(
    session: Session, running: AbTest
) -> None:
    create(session, "prompt", SPLIT)
    other = start(session, "prompt")
    for test in (running, other):
        tell_of_test(session, test, judged(concise=350, errors=(50, 150)), NOW)
    assert told_of(session) == {("staging", "prompt"), ("production", "prompt")}
    ended = conclude(session, "prompt", "concise", "staging")
    assert close_alerts_of(session, ended) == Told(0, 2)
    assert told_of(session) == {("production", "prompt")}
    assert {one.details["resolved_because"] for one in alerts(session, opened=False)} == {
        "the test is concluded with concise as its winner"
    }


def test_a_name_that_cannot_be_said_is_in_no_command(session: Session) -> None:
    create(session, "--help", SPLIT)
    tell_of_test(session, start(session, "--help"), judged(concise=350), NOW)
    (alert,) = alerts(session)
    assert alert.message.endswith("; mlops ab list")
