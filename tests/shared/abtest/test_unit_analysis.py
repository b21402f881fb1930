"""The verdict of a test by what its units did, from the events and exposures in PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy.orm import Session

from shared.abtest.analysis import step
from shared.abtest.lifecycle import change_weights, create, find, pause, ramp, resume, start
from shared.abtest.looks import keep, look_of
from shared.abtest.shares import coverages_of, shares_of
from shared.abtest.states import AbTestError
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import judge_units
from shared.abtest.unit_sums import sum_units
from shared.abtest.verdicts import AbState
from shared.jobs.contracts import AnalyzeAbTest
from shared.telemetry.events import Event, ExposureEvent, LlmCallEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.units import unit_digest
from tests.shared.abtest.units import of_values

NOW = datetime.now(UTC)
EACH = 300


@pytest.fixture
def running(session: Session) -> AbTest:
    create(session, "prompt", [{"name": n, "weight": 0.5} for n in ("standard", "concise")])
    return start(session, "prompt")


def common(unit: str, seconds: int = 0) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "occurred_at": NOW - timedelta(minutes=10) + timedelta(seconds=seconds),
        "unit_id": unit_digest(unit),
    }


def shown(test: UUID, unit: str, variant: str) -> ExposureEvent:
    return ExposureEvent(**common(unit), test_id=test, variant=variant)


def put(session: Session, test: AbTest, solved: dict[str, int], cost: int = 1_000_000) -> None:
    """`EACH` units of each variant, with a task and a call each; so many of them are solved."""
    events: list[Event] = []
    for variant, successes in solved.items():
        for number in range(EACH):
            unit = f"{variant}-{number}"
            events.append(shown(test.id, unit, variant))
            events.append(TaskEndEvent(**common(unit, 2), success=number < successes))
            events.append(
                LlmCallEvent(**common(unit, 1), latency_ms=100 + number, input_tokens=number)
            )
    store(session, events, lambda call: CallCost(cost + (call.input_tokens or 0), "a price"))
    while sum_units(session).more:
        pass


def test_units_that_did_more_make_their_variant_better(session: Session, running: AbTest) -> None:
    put(session, running, {"standard": 90, "concise": 180})
    found = judge_units(session, running, NOW)
    assert found.state is AbState.BETTER
    assert found.verdict.startswith(
        "concise is better than standard: +30.0 points of task_completion_rate"
    )
    assert found.units == 2 * EACH
    rates = {
        one.variant: one.value for one in found.figures if one.metric == "task_completion_rate"
    }
    assert rates == {"standard": 0.3, "concise": 0.6}
    assert found.best["concise"].probability_best > 0.999


def test_what_is_read_is_what_the_units_values_are(session: Session, running: AbTest) -> None:
    put(session, running, {"standard": 90, "concise": 90}, cost=10**12)
    found = judge_units(session, running, NOW)
    cost = next(one for one in found.figures if one.metric == "cost_per_unit")
    expected = of_values(10**12 + np.arange(EACH, dtype=np.float64))
    assert cost.value == pytest.approx(expected.y * 1e-9, rel=1e-12)
    compared = next(one for one in found.comparisons if one.metric == "cost_per_unit")
    assert compared.difference == 0
    assert compared.one_look is not None
    # As from the values themselves: nothing is lost between numbers of 13 digits.
    error = np.sqrt(2 * expected.yy / (EACH - 1) / EACH) * 1e-9
    half = compared.one_look.interval.high
    assert half == pytest.approx(1.9640 * error, rel=1e-3)


def test_no_units_are_collecting(session: Session, running: AbTest) -> None:
    found = judge_units(session, running, NOW)
    assert (found.state, found.units) == (AbState.COLLECTING, 0)
    assert found.verdict == "collecting: standard has 0 of at least 30 units"


def test_units_with_two_variants_are_in_no_figure(session: Session, running: AbTest) -> None:
    put(session, running, {"standard": 90, "concise": 180})
    both = [shown(running.id, f"standard-{number}", "concise") for number in range(30)]
    store(session, both, lambda _: CallCost(0, "a price"))
    sum_units(session)
    found = judge_units(session, running, NOW)
    assert found.state is AbState.INVALID
    assert found.verdict.startswith("30 of 600 units were given two variants")


def test_after_a_change_of_weights_there_is_no_ratio(session: Session, running: AbTest) -> None:
    put(session, running, {"standard": 90, "concise": 180})
    assert judge_units(session, running, NOW).sample_ratio_p == 1.0
    change_weights(session, "prompt", {"standard": 0.9, "concise": 0.1})
    assert judge_units(session, find(session, "prompt"), NOW).sample_ratio_p is None


def test_days_left_are_by_what_came_in_the_last_day(session: Session) -> None:
    create(
        session,
        "prompt",
        [{"name": n, "weight": 0.5} for n in ("standard", "concise")],
        minimum_effect=0.02,
    )
    test = start(session, "prompt")
    put(session, test, {"standard": 90, "concise": 90})
    found = judge_units(session, test, NOW)
    assert found.outlook is not None
    assert found.outlook.days_left is None, "no look is a day old"
    # A ramp at one percent, a pause, and then a day in which most of them came.
    for days, units in ((40, 10), (2, 20), (1.25, 100), (0.9, 300)):
        look = replace(look_of(test, found, NOW - timedelta(days=days)), units=units)
        keep(session, test, look)
    outlook = judge_units(session, test, NOW).outlook
    assert outlook is not None
    assert outlook.required_units is not None
    a_day = (2 * EACH - 100) / 1.25
    assert outlook.days_left == pytest.approx((outlook.required_units - 2 * EACH) / a_day)


def test_units_are_held_to_every_share_that_a_ramp_has_given_since_the_beginning(
    session: Session,
) -> None:
    thirds = [{"name": n, "weight": 1 / 3} for n in "abc"]
    create(session, "prompt", thirds, coverage=0.5)
    # As a draft it had others.
    ramp(session, "prompt", 0.0002)
    ramp(session, "prompt", 0.001)
    test = start(session, "prompt")
    assert [one.coverage for one in coverages_of(session, test)] == [0.001]
    first, earlier = shares_of(session, test)
    assert earlier is None
    assert [share.now for share in first] == [0.4, 0.3, 0.3]
    assert [share.most for share in first] == [None] * 3
    ramp(session, "prompt", 0.01)
    pause(session, "prompt")
    resume(session, "prompt")
    test = ramp(session, "prompt", 1.0)
    covered = coverages_of(session, test)
    assert [one.coverage for one in covered] == [0.001, 0.01, 1.0]
    found = judge_units(session, test, NOW)
    for hours, units in ((1, 300), (3, 400), (30, 4_000)):
        look = look_of(test, found, covered[-1].since + timedelta(hours=hours))
        keep(session, test, replace(look, units=units))
    now, earlier = shares_of(session, test)
    assert earlier == 400, "what was shown just before the ramp is summed by then"
    assert [share.now for share in now] == pytest.approx([0.3334, 0.3333, 0.3333])
    assert [share.most for share in now] == [0.4, 0.3333, 0.3333]


def test_a_quantile_of_the_units_is_compared_too(session: Session) -> None:
    create(
        session,
        "slow",
        [{"name": n, "weight": 0.5} for n in ("standard", "concise")],
        success_metric="llm_latency_p95",
    )
    test = start(session, "slow")
    put(session, test, {"standard": 90, "concise": 90})
    found = judge_units(session, test, NOW)
    assert found.comparisons[0].metric == "llm_latency_p95"
    assert found.figures[0].value == pytest.approx(0.385, abs=0.005)
    # An interval may have no upper end, which JSON cannot say.
    assert "Infinity" not in json.dumps(step(session, AnalyzeAbTest(test="slow")))


def test_the_job_judges_units_where_no_variant_is_an_agent(
    session: Session, running: AbTest
) -> None:
    put(session, running, {"standard": 90, "concise": 180})
    result = step(session, AnalyzeAbTest(test="prompt"))
    assert result["state"] == "better"
    assert result["comparisons"][0]["interval"]


def test_a_metric_that_there_is_not_is_refused_when_the_test_is_made(session: Session) -> None:
    with pytest.raises(AbTestError, match="success metric 'joy': expected one of success, task_"):
        create(
            session,
            "joyful",
            [{"name": n, "weight": 0.5} for n in ("a", "b")],
            success_metric="joy",
        )
