"""A sweep compares each kind of metric: rates, names, relations, volumes, one's own features."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.effects import Effect
from shared.drift.reading import findings_of
from shared.drift.recalling import recalled
from shared.drift.showing import Volume
from shared.drift.sweep import detect
from shared.drift.verdicts import DriftState
from shared.jobs.contracts import DetectDrift
from shared.telemetry.features.definitions import DataType, Source
from shared.telemetry.features.registering import register_feature
from shared.telemetry.features.watching import unwatch
from shared.telemetry.features.writing import write_values
from shared.telemetry.tables import ModelPerformance
from tests.shared.drift.rollups import (
    JOB,
    NOON,
    WALKER,
    findings,
    roll_up,
    state_of,
    window,
)


def test_of_a_share_a_few_tasks_are_enough(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=139, successes=112)
    roll_up(session, JOB.current.start, {}, tasks=23, successes=5)
    found = findings(detect(session, JOB, uuid4()))[WALKER, "success"]
    assert found.verdict.state is DriftState.DRIFT


def test_fewer_successes_are_drift(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=200, successes=180)
    roll_up(session, JOB.current.start, {}, tasks=200, successes=120)
    assert state_of(session, "success") is DriftState.DRIFT


def test_errors_of_actions_and_of_calls_are_one_rate(session: Session) -> None:
    sums = {"actions": 500, "llm_calls": 500}
    roll_up(session, JOB.baseline.start, {}, **sums, action_errors=10, llm_errors=10)
    roll_up(session, JOB.current.start, {}, **sums, action_errors=50, llm_errors=50)
    assert state_of(session, "error_rate") is DriftState.DRIFT


def test_a_small_share_in_many_episodes_is_significant_and_no_drift(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=1_000_000, successes=900_000)
    roll_up(session, JOB.current.start, {}, tasks=1_000_000, successes=897_000)
    found = findings(detect(session, JOB, uuid4()))[WALKER, "success"].verdict
    assert found.p_value is not None
    assert found.p_value < 1e-9
    assert found.state is DriftState.STABLE


def test_other_errors_are_drift_though_there_are_as_many(session: Session) -> None:
    for hour, errors in (
        (JOB.baseline.start, {"llm_call.timeout": 90, "action.not_found": 10}),
        (JOB.current.start, {"llm_call.timeout": 10, "action.not_found": 90}),
    ):
        roll_up(session, hour, {}, llm_calls=1000, llm_errors=100, errors_by_type=errors)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "error_rate"].verdict.state is DriftState.STABLE
    assert found[WALKER, "error_rate"].change is None
    assert found[WALKER, "error_types"].change == "action.not_found 10 % to 90 %"
    moved = found[WALKER, "error_types"].verdict
    assert moved.state is DriftState.DRIFT
    assert (moved.effect_name, moved.effect_size) == (Effect.TOTAL_VARIATION, pytest.approx(0.8))


def test_other_actions_and_language_models_are_drift(session: Session) -> None:
    for hour, clicks in ((JOB.baseline.start, 80), (JOB.current.start, 40)):
        names = {"action.click": clicks, "action.fill": 100 - clicks, "llm_call.gpt-4.1": 100}
        roll_up(session, hour, {}, names=names)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "action_kinds"].verdict.state is DriftState.DRIFT
    one = found[WALKER, "llm_models"].verdict
    assert one.state is DriftState.INSUFFICIENT
    assert one.reason is not None


def test_a_relation_drifts_though_what_it_relates_does_not(session: Session) -> None:
    """As many tasks succeed and the agent is as sure; but its sureness means nothing any more."""
    sure, unsure = [9_500] * 90 + [1_500] * 10, [9_500] * 10 + [1_500] * 90
    even = [9_500, 1_500] * 50
    for hour, successes, failures in (
        (JOB.baseline.start, sure, unsure),
        (JOB.current.start, even, even),
    ):
        values = {
            "confidence_of_successes": successes,
            "confidence_of_failures": failures,
            "query_length_of_successes": [100] * 135 + [5_000] * 45,
            "query_length_of_errors": [100] * 15 + [5_000] * 5,
        }
        roll_up(session, hour, values, tasks=200, successes=100)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "success"].verdict.state is DriftState.STABLE
    assert found[WALKER, "error_given_query_length"].verdict.state is DriftState.STABLE
    assert "points at the same inputs" in (found[WALKER, "success_given_confidence"].change or "")
    moved = found[WALKER, "success_given_confidence"].verdict
    assert moved.state is DriftState.DRIFT
    assert moved.effect_name is Effect.OUTCOME_MOVEMENT
    assert moved.effect_size == pytest.approx(0.4, abs=0.05)


def test_requests_are_compared_with_the_same_hours_of_earlier_weeks(session: Session) -> None:
    """A Sunday is as quiet as every Sunday; half of a Sunday is drift."""
    rng = np.random.default_rng(3)
    sunday = datetime(2026, 3, 1, tzinfo=UTC)
    for week in range(6):
        for back in (0, 1):
            start = sunday - timedelta(weeks=week, days=back)
            for hour in range(24):
                for function, share in (("shop", 1.0), ("search", 0.3 if week == 0 else 1.0)):
                    level = (30 if back == 0 else 200) * (share if back == 0 else 1.0)
                    at = start + timedelta(hours=hour)
                    calls = int(rng.poisson(level))
                    roll_up(session, at, {}, function=function, llm_calls=calls)
    job = DetectDrift(current=window(sunday, 24), baseline=window(sunday - timedelta(days=1), 24))
    sweep = detect(session, job, uuid4())
    found = {one.function: one.verdict for one in sweep.findings if one.metric == "request_volume"}
    assert found["shop"].state is DriftState.STABLE
    assert found["search"].state is DriftState.DRIFT
    assert found["search"].effect_name is Effect.VOLUME_RATIO
    # It is shown hour by hour, with a baseline of its own.
    stored = [one for one in findings_of(session, sweep.sweep_id) if one.function == "search"]
    (shown,) = recalled(session, stored, with_history=False)
    (volume,) = [one for one in shown.metrics if one.verdict.metric_name == "request_volume"]
    assert isinstance(volume.shape, Volume)
    assert sum(hour.observed or 0 for hour in volume.shape.hours) == volume.shape.observed
    assert len(volume.shape.hours) == 24
    assert volume.baseline.words == "the same hours of 5 earlier weeks"
    assert volume.baseline.end == sunday - timedelta(days=6)
    # Nothing at all is an outage, also of who is alone.
    for function in ("shop", "search"):
        session.execute(
            sa.delete(ModelPerformance).where(
                ModelPerformance.function == function, ModelPerformance.hour >= sunday
            )
        )
    gone = {
        finding.function: finding
        for finding in detect(session, job, uuid4()).findings
        if finding.metric == "request_volume"
    }
    assert {one.verdict.state for one in gone.values()} == {DriftState.DRIFT}
    # No surge: what is told first says so.
    assert gone.keys() == {"shop", "search"}
    assert all(re.match(r"0 requests, \d+ expected", one.explanation) for one in gone.values())
    # A function that is new has no earlier weeks: that says nothing of it.
    roll_up(session, sunday, {}, function="new", llm_calls=50)
    new = [f for f in detect(session, job, uuid4()).findings if f.function == "new"]
    (verdict,) = [f.verdict for f in new if f.metric == "request_volume"]
    assert verdict.state in (DriftState.NO_DATA, DriftState.INSUFFICIENT)


def test_the_values_of_own_features_are_compared_by_their_event_times(session: Session) -> None:
    rng = np.random.default_rng(5)
    for name, data_type, old, new in (
        (
            "basket",
            DataType.NUMBER,
            rng.normal(10, 2, 200).tolist(),
            rng.normal(14, 2, 200).tolist(),
        ),
        ("plan", DataType.TEXT, ["free"] * 150 + ["team"] * 50, ["free"] * 50 + ["team"] * 150),
        ("known", DataType.BOOLEAN, [True, False] * 100, [True, False] * 100),
    ):
        register_feature(session, name, data_type, Source.parse("nightly"), "shop", "What it is.")
        for start, values in ((JOB.baseline.start, old), (JOB.current.start, new)):
            rows = [(f"e{n}", start + timedelta(seconds=n), v) for n, v in enumerate(values)]
            write_values(session, name, rows, datetime.now(UTC))
    # What was wrong and then corrected counts as it was corrected.
    for value in (1e9, 10.0):
        write_values(session, "basket", [("e0", JOB.baseline.start, value)], datetime.now(UTC))
    found = {finding.metric: finding.verdict for finding in detect(session, JOB, uuid4()).findings}
    assert {name: verdict.state.value for name, verdict in found.items()} == {
        "basket": "drift",
        "plan": "drift",
        "known": "stable",
    }
    assert found["basket"].n_baseline == 200
    unwatch(session, "plan")
    named = DetectDrift(baseline=JOB.baseline, current=window(NOON, function="shop"))
    assert detect(session, named, uuid4()).findings == ()
