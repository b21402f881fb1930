"""A sweep compares each function of each model with itself, and stores how it judged."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.effects import Effect
from shared.drift.minimum_effects import remove_minimum_effect, set_minimum_effect
from shared.drift.sweep import detect
from shared.drift.tables import DriftDetection
from shared.drift.verdicts import DriftState
from shared.registry.models import RegistryError, register
from shared.telemetry.features.watching import unwatch
from shared.tenancy.tables import AuditEntry
from tests.shared.drift.rollups import (
    JOB,
    METRICS,
    NOON,
    WALKER,
    findings,
    latencies,
    roll_up,
    state_of,
)


def test_a_shift_of_latency_is_drift_and_the_same_distribution_is_stable(session: Session) -> None:
    before = {"step_latency_ms": latencies(1), "tokens": latencies(2)}
    after = {"step_latency_ms": latencies(3, scale=1.5), "tokens": latencies(4)}
    roll_up(session, JOB.baseline.start, before)
    roll_up(session, JOB.current.start, after)
    found = findings(detect(session, JOB, uuid4()))
    assert found[WALKER, "step_latency_ms"].verdict.state is DriftState.DRIFT
    assert found[WALKER, "tokens"].verdict.state is DriftState.STABLE
    assert {metric for _, metric in found} == set(METRICS)


def test_a_feature_that_is_not_watched_is_not_compared(session: Session) -> None:
    before = {"step_latency_ms": latencies(1), "tokens": latencies(2)}
    roll_up(session, JOB.baseline.start, before, tasks=90, successes=80)
    roll_up(session, JOB.current.start, before, tasks=90, successes=10)
    unwatch(session, "tokens")
    unwatch(session, "success")
    found = findings(detect(session, JOB, uuid4()))
    assert {metric for _, metric in found} == set(METRICS) - {"tokens", "success"}
    for name in METRICS:
        unwatch(session, name)
    assert detect(session, JOB, uuid4()).findings == ()


def test_every_test_is_stored_with_all_its_numbers(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"step_latency_ms": latencies(1)})
    roll_up(session, JOB.current.start, {"step_latency_ms": latencies(2, scale=2)})
    sweep_id = uuid4()
    detect(session, JOB, sweep_id)
    rows = session.scalars(
        sa.select(DriftDetection).where(
            DriftDetection.sweep_id == sweep_id, DriftDetection.metric == "step_latency_ms"
        )
    ).all()
    assert {row.test for row in rows} == {
        "kolmogorov_smirnov", "mann_whitney", "anderson_darling", "chi_square",
    }  # fmt: skip
    for row in rows:
        assert (row.model, row.n_baseline, row.n_current) == (WALKER, 400, 400)
        assert (row.verdict, row.threshold) == ("drift", 0.05)
        assert row.statistic is not None
        assert row.p_value is not None
        assert row.p_adjusted is not None
        assert row.p_value <= row.p_adjusted < 0.05
        assert row.effect_size is not None
        assert row.change is not None
        assert re.match(r"median 18\d ms to 3\d\d ms, 95 % 3\d\d ms to \d\d\d ms$", row.change)
        assert row.reason.startswith(f"{row.change}; at least ")
        assert "matters from 10 %" in row.reason
        assert datetime.fromisoformat(row.current["start"]) == NOON
    decisive = {row.effect_name: row.minimum_effect for row in rows}
    assert decisive.pop(Effect.KS_DISTANCE) == 0.1
    assert set(decisive.values()) == {None}


def test_a_sweep_that_alarms_keeps_the_budget_if_it_says_nothing_else(session: Session) -> None:
    roll_up(session, JOB.current.start, {"tokens": [1]})
    for alerts, said, rate in ((True, None, 1 / 168), (False, None, 0.05), (True, 0.2, 0.2)):
        job = JOB.model_copy(update={"alerts": alerts, "false_discovery_rate": said})
        assert detect(session, job, uuid4()).false_discovery_rate == pytest.approx(rate)


def test_a_window_without_data_is_no_data_and_a_small_one_insufficient(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"tokens": [5] * 40 + [9] * 40, "query_length": [3]})
    roll_up(session, JOB.current.start, {"tokens": [5, 9] * 10})
    found = findings(detect(session, JOB, uuid4()))
    for metric, state, reason in (
        (
            "tokens",
            DriftState.INSUFFICIENT,
            "the current window holds 20 values; expected at least",
        ),
        ("query_length", DriftState.NO_DATA, "the current window is empty"),
        ("success", DriftState.NO_DATA, "the baseline window is empty"),
    ):
        assert found[WALKER, metric].verdict.state is state
        assert reason in found[WALKER, metric].explanation
    stored = session.scalars(sa.select(DriftDetection.verdict)).all()
    assert set(stored) == {"no_data", "insufficient"}


def test_a_model_that_has_gone_quiet_is_still_looked_at(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {"tokens": latencies(1)})
    assert state_of(session, "tokens") is DriftState.NO_DATA


def test_only_the_named_models_are_looked_at(session: Session) -> None:
    for model in (WALKER, "other@1.0.0"):
        for part in (JOB.baseline, JOB.current):
            roll_up(session, part.start, {"tokens": latencies(1)}, model=model)
    register(session, "quiet", "2.0.0", "rule-based", {}, check=lambda *_: None)
    named = JOB.model_copy(update={"models": ("other@1.0.0", "quiet")})
    found = findings(detect(session, named, uuid4()))
    assert {model for model, _ in found} == {"other@1.0.0", "quiet@2.0.0"}
    with pytest.raises(RegistryError, match=r"near it: quiet@2\.0\.0"):
        detect(session, JOB.model_copy(update={"models": ("quit",)}), uuid4())


def test_no_rollups_at_all_are_no_findings(session: Session) -> None:
    assert detect(session, JOB, uuid4()).findings == ()


def test_each_function_and_model_is_compared_with_itself(session: Session) -> None:
    for hour, scales in ((JOB.baseline.start, (1, 3)), (JOB.current.start, (3, 1))):
        for function, scale in zip(("shop", "search"), scales, strict=True):
            values = {"step_latency_ms": latencies(1, scale=scale)}
            roll_up(session, hour, values, function=function)
    found = detect(session, JOB, uuid4()).findings
    drifted = {(one.function, one.metric) for one in found if one.verdict.state is DriftState.DRIFT}
    # Together nothing would have moved.
    assert drifted == {
        ("search", "step_latency_ms"),
        ("shop", "step_latency_ms"),
    }


def test_where_a_metric_matters_from_is_the_tenants_choice(session: Session) -> None:
    roll_up(session, JOB.baseline.start, {}, tasks=2_000, successes=1_800)
    roll_up(session, JOB.current.start, {}, tasks=2_000, successes=1_660)
    assert state_of(session, "success") is DriftState.WARNING
    set_minimum_effect(session, "success", 0.05)
    assert state_of(session, "success") is DriftState.DRIFT
    assert remove_minimum_effect(session, "success")
    assert state_of(session, "success") is DriftState.WARNING
    actions = session.scalars(
        sa.select(AuditEntry.action).where(AuditEntry.action.like("drift.effect.%"))
    ).all()
    assert set(actions) == {"drift.effect.set", "drift.effect.remove"}
