"""I know, this is normal now: what is accepted is compared with at once, and never with itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.drifting import accept_as_normal, tell_of_drift
from shared.alerts.tables import Alert
from shared.drift.baselines import (
    EVERY,
    Baseline,
    BaselineError,
    BaselineKind,
    ComparedWindows,
    accept,
    set_baseline,
)
from shared.drift.sweep import SweepResult, detect
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.jobs.contracts import DetectDrift, LastRequests, WindowOf
from shared.telemetry.reading import Window
from tests.shared.drift.rollups import NOON, WALKER, latencies, roll_up

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def windows(accepted: timedelta, later: timedelta, length: timedelta = DAY) -> ComparedWindows:
    """Of a window that ends `later` than what was accepted up to noon."""
    normal = Baseline(BaselineKind.ACCEPTED, window=Window(NOON - accepted, NOON))
    return normal.windows(Window(NOON + later - length, NOON + later))


def test_hours_after_what_was_accepted_are_compared_from_six_on_with_the_same_hours() -> None:
    assert windows(DAY, 5 * HOUR).problem == (
        "accepted as normal up to 2026-03-04 12:00 UTC: judged again from 2026-03-04 18:00 UTC on"
    )
    for hours in (6, 23):
        later = hours * HOUR
        assert windows(DAY, later) == ComparedWindows(
            Window(NOON - DAY, NOON - DAY + later), Window(NOON, NOON + later)
        )
    # Then all of it, for ever.
    for later in (DAY, 9 * DAY):
        assert windows(DAY, later) == ComparedWindows(
            Window(NOON - DAY, NOON), Window(NOON + later - DAY, NOON + later)
        )


def test_what_is_shorter_than_a_day_is_compared_whole_and_a_week_by_the_hour_of_the_day() -> None:
    assert windows(3 * HOUR, 8 * HOUR).baseline == Window(NOON - 3 * HOUR, NOON)
    week = windows(7 * DAY, 30 * HOUR, 7 * DAY)
    assert week == ComparedWindows(
        Window(NOON - 2 * DAY, NOON - 18 * HOUR), Window(NOON, NOON + 30 * HOUR)
    )


def test_who_accepts_is_woken_no_more_and_told_of_the_next_change(session: Session) -> None:
    """The level doubled at noon and was accepted four hours later; next noon it doubles again."""
    for hour in range(-24, 48):
        level = 1 if hour < 0 else 2 if hour < 24 else 4
        at = NOON + hour * HOUR
        for function in ("shop", "search"):
            values = {"step_latency_ms": latencies(hour + 30, 60, scale=level)}
            roll_up(session, at, values, function=function)

    def look(end: datetime) -> tuple[SweepResult, MetricVerdict]:
        window = WindowOf(start=end - 12 * HOUR, end=end)
        sweep = detect(session, DetectDrift(current=window, alerts=True), uuid4())
        return sweep, next(
            one.verdict
            for one in sweep.findings
            if (one.function, one.metric) == ("shop", "step_latency_ms")
        )

    def open_alerts() -> list[str]:
        query = sa.select(Alert.details["function"].astext).where(Alert.resolved_at.is_(None))
        return sorted(session.scalars(query))

    late, verdict = look(NOON + 4 * HOUR)
    assert verdict.state is DriftState.DRIFT
    tell_of_drift(session, late)
    assert open_alerts() == ["search", "shop"]
    with pytest.raises(BaselineError, match="not within what the newest sweep saw"):
        accept_as_normal(session, "shop", EVERY, NOON - 2 * DAY)
    accepted = accept_as_normal(session, "shop", EVERY, NOON)
    assert (accepted.baseline.window, accepted.closed) == (Window(NOON, NOON + 4 * HOUR), 1)
    assert open_alerts() == ["search"]
    because = session.scalars(
        sa.select(Alert.details["resolved_because"].astext).where(Alert.resolved_at.is_not(None))
    ).one()
    assert because.startswith("accepted as the new baseline by ")
    # A sweep that had begun before comes to its end.
    tell_of_drift(session, late)
    assert open_alerts() == ["search"]
    _, verdict = look(NOON + 9 * HOUR)
    assert (verdict.state, verdict.reason) == (
        DriftState.INSUFFICIENT,
        "accepted as normal up to 2026-03-04 16:00 UTC: judged again from 2026-03-04 22:00 UTC on",
    )
    _, verdict = look(NOON + 10 * HOUR)
    assert (verdict.state, verdict.n_current) == (DriftState.STABLE, 360)
    _, verdict = look(NOON + 36 * HOUR)
    assert verdict.state is DriftState.DRIFT


def test_of_several_windows_the_longest_is_accepted(session: Session) -> None:
    """Counted in requests, each has its own."""
    for hour in range(-9, 0):
        for function, calls in (("busy", 90), ("calm", 20), ("zeal", 80)):
            roll_up(session, NOON + hour * HOUR, {}, function=function, llm_calls=calls)
    job = DetectDrift(current=LastRequests(requests=100, until=NOON))
    detect(session, job, uuid4())
    assert accept(session, EVERY, EVERY).window == Window(NOON - 5 * HOUR, NOON)


def test_whoever_has_a_more_particular_baseline_does_not_say_what_is_accepted_of_others(
    session: Session,
) -> None:
    for hour in range(-9, 0):
        for function, calls in (("busy", 90), ("calm", 20)):
            roll_up(session, NOON + hour * HOUR, {}, function=function, llm_calls=calls)
    job = DetectDrift(current=LastRequests(requests=100, until=NOON))
    detect(session, job, uuid4())
    set_baseline(session, "calm", EVERY, Baseline(BaselineKind.PREVIOUS, DAY))
    for function, model in ((EVERY, EVERY), (EVERY, WALKER)):
        assert accept(session, function, model).window == Window(NOON - 2 * HOUR, NOON)
    assert accept(session, "calm", EVERY).window == Window(NOON - 5 * HOUR, NOON)
    set_baseline(session, "busy", EVERY, Baseline(BaselineKind.PREVIOUS, DAY))
    with pytest.raises(BaselineError, match="all have one of their own"):
        accept(session, EVERY, EVERY)


def test_a_volume_that_was_accepted_is_normal_and_none_at_all_is_not(session: Session) -> None:
    """Three weeks of 100 an hour, then 300, which is accepted after a day; later there is none."""
    start = NOON - timedelta(weeks=3)
    for hour in range(24 * 21, -1, -1):
        roll_up(session, start + hour * HOUR, {}, llm_calls=100 + hour % 7)
    for hour in range(1, 12 + 24):
        roll_up(session, NOON + hour * HOUR, {}, llm_calls=300 + hour % 7)

    def state(end: datetime) -> DriftState:
        job = DetectDrift(current=WindowOf(start=end - 12 * HOUR, end=end), alerts=True)
        return next(
            one.verdict.state
            for one in detect(session, job, uuid4()).findings
            if (one.model, one.metric) == (WALKER, "request_volume")
        )

    assert state(NOON + 12 * HOUR) is DriftState.DRIFT
    accept_as_normal(session, EVERY, EVERY)
    assert state(NOON + 16 * HOUR) is DriftState.INSUFFICIENT
    assert state(NOON + 18 * HOUR) is DriftState.STABLE
    assert state(NOON + 36 * HOUR) is DriftState.STABLE
    assert state(NOON + 60 * HOUR) is DriftState.DRIFT
