"""Drift that a sweep found: one alert until it is over, and a card asked for once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.drifting import tell_of_drift
from shared.alerts.tables import Alert
from shared.drift.sweep import detect
from shared.evaluation.agents.registry import describe_agent
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.jobs.tables import JobRow
from shared.registry.models import register
from tests.shared.drift.rollups import (
    JOB,
    METRICS,
    NOON,
    WALKER,
    latencies,
    roll_up,
    window,
)


def test_drift_raises_one_alert_until_it_is_stable_again(session: Session) -> None:
    hours = [NOON + timedelta(hours=n) for n in range(5)]
    for hour, scale in zip(hours, (1, 2, 2, None, 1), strict=True):
        if scale is not None:
            roll_up(session, hour, {"step_latency_ms": latencies(hour.hour, scale=scale)})

    def look(n: int) -> dict[str, Any]:
        job = DetectDrift(baseline=window(hours[0]), current=window(hours[n]))
        return tell_of_drift(session, detect(session, job, uuid4()))

    def open_alerts() -> list[int]:
        return list(session.scalars(sa.select(Alert.times_seen).where(Alert.resolved_at.is_(None))))

    assert look(1)["alerts_raised"] == 1
    assert look(2)["states"]["drift"] == 1
    assert open_alerts() == [2]
    # A window without data says nothing: the alert stays.
    assert look(3) | {"sweep_id": ""} == {
        "sweep_id": "",
        "metrics": len(METRICS),
        "states": {"no_data": len(METRICS)},
        "alerts_raised": 0,
        "alerts_resolved": 0,
        "cards_asked_for": 0,
    }
    assert open_alerts() == [2]
    assert look(4)["alerts_resolved"] == 1
    assert open_alerts() == []
    message = session.scalars(sa.select(Alert.message)).one()
    assert message.startswith("step_latency_ms of walker@1.0.0 in shop drifts: median 1")
    assert "; at least " in message
    assert message.endswith(
        "; mlops drift show step_latency_ms --function shop --model walker@1.0.0"
    )


def test_the_command_of_an_alert_can_be_pasted_and_holds_neither_secrets_nor_markup(
    session: Session,
) -> None:
    key = "sk-proj-" + "a1B2c3D4" * 4
    names = {"it's $(rm -rf ~)": "; mlops drift show tokens --function 'it'\"'\"'s $(rm -rf ~)'"}
    names |= {
        f"<b>{key}</b>": "; mlops drift list",
        "[red]x\x1b": "; mlops drift list",
    }
    for number, function in enumerate(names):
        for part, scale in ((JOB.baseline, 1), (JOB.current, 2)):
            values = {"tokens": latencies(number, scale=scale)}
            roll_up(session, part.start, values, function=function)
    tell_of_drift(session, detect(session, JOB, uuid4()))
    messages = session.scalars(sa.select(Alert.message)).all()
    assert len(messages) == 3
    for message in messages:
        assert not set("<>[]`&\x1b") & set(message)
        assert key not in message
    for ending in names.values():
        assert any(message.endswith(f"{ending} --model {WALKER}") for message in messages)


def test_an_alert_says_from_what_to_what_without_markup(session: Session) -> None:
    for hour, errors, clicks in ((JOB.baseline.start, 2, 900), (JOB.current.start, 800, 100)):
        names = {"action.<b>click": clicks, "action.type": 1000 - clicks}
        roll_up(session, hour, {}, llm_calls=9000, llm_errors=errors, names=names)
    tell_of_drift(session, detect(session, JOB, uuid4()))
    messages = sorted(session.scalars(sa.select(Alert.message)))
    assert len(messages) == 2
    assert messages[0].startswith(
        "action_kinds of walker@1.0.0 in shop drifts: (b)click 90 % to 10 %; 80 % of values in"
    )
    assert messages[1].startswith(
        "error_rate of walker@1.0.0 in shop drifts: below 0.1 % to 8.9 %; at least 8.9 % of values"
    )


def test_an_episode_of_drift_asks_once_for_a_card_of_a_registered_model(session: Session) -> None:
    register(session, "walker", "1.0.0", "rule-based", {}, check=describe_agent)
    hours = [NOON + timedelta(hours=n) for n in range(5)]
    for hour, scale in zip(hours, (1, 2, 2, 1, 2), strict=True):
        for model in (WALKER, "nobody@1.0.0"):
            moved = {metric: latencies(1, scale=scale) for metric in ("step_latency_ms", "tokens")}
            roll_up(session, hour, moved, model=model)

    def cards(n: int) -> int:
        job = DetectDrift(baseline=window(hours[0]), current=window(hours[n]))
        asked: int = tell_of_drift(session, detect(session, job, uuid4()))["cards_asked_for"]
        return asked

    assert [cards(n) for n in range(1, 5)] == [1, 0, 0, 1]
    jobs = session.scalars(sa.select(JobRow.payload).where(JobRow.kind == "write_card")).all()
    assert [job["model"] for job in jobs] == [WALKER, WALKER]


def test_an_alert_is_of_a_function_and_model_and_no_older_sweep_closes_it(
    session: Session,
) -> None:
    for hour, scale in enumerate((1, 1, 2, 1, 1)):
        for function in ("shop", "search"):
            values = {"step_latency_ms": latencies(1, scale=scale)}
            roll_up(session, NOON + timedelta(hours=hour), values, function=function)

    def look(current: WindowOf, baseline: WindowOf) -> tuple[int, int]:
        job = DetectDrift(baseline=baseline, current=current)
        told = tell_of_drift(session, detect(session, job, uuid4()))
        return told["alerts_raised"], told["alerts_resolved"]

    drifted, later = NOON + timedelta(hours=2), NOON + timedelta(hours=3)
    assert look(window(drifted), window(NOON)) == (2, 0)
    # Stable, but of an hour before the alert's.
    assert look(window(NOON + timedelta(hours=1)), window(NOON)) == (0, 0)
    # The same thing is wrong whatever it is compared with, and in windows of any length.
    shop = window(later, function="shop")
    assert look(shop, window(NOON, function="search")) == (0, 1)
    assert session.scalar(sa.select(sa.func.count()).where(Alert.resolved_at.is_(None))) == 1
    assert look(window(later, hours=2), window(NOON, hours=2)) == (0, 1)
