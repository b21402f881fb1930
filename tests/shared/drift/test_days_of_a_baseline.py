"""How much the days of a baseline differ among themselves, and what that says of a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.drift.reading import findings_of
from shared.drift.recalling import recalled
from shared.drift.sweep import detect
from shared.drift.tables import DriftDetection
from shared.drift.verdicts import DriftState
from shared.drift.windows import look
from shared.drift.wording import days_said
from shared.jobs.contracts import DetectDrift
from tests.shared.drift.rollups import (
    WALKER,
    findings,
    latencies,
    roll_up,
    window,
)

MIDNIGHT = datetime(2026, 3, 4, tzinfo=UTC)
OF_A_WEEK = DetectDrift(
    baseline=window(MIDNIGHT - timedelta(days=7), 7 * 24), current=window(MIDNIGHT, 24)
)


def roll_up_days(session: Session, rates: list[int], latency: list[float], now: int) -> None:
    """A row for each of the last days: errors in a hundred, and how slow; then one of `now`."""
    for back, (errors, scale) in enumerate(zip([*rates, now], [*latency, 1.0], strict=True)):
        at = MIDNIGHT + timedelta(days=back - len(rates), hours=12)
        values = {"llm_latency_ms": latencies(back, scale=scale)}
        roll_up(session, at, values, llm_calls=1_000, llm_errors=10 * errors)


def test_what_days_of_the_baseline_do_by_themselves_is_no_drift(session: Session) -> None:
    roll_up_days(session, [5, 6, 12, 5, 13, 6, 5], [1.0] * 7, now=13)
    sweep_id = uuid4()
    found = findings(detect(session, OF_A_WEEK, sweep_id))[WALKER, "error_rate"]
    assert found.verdict.p_value is not None
    assert found.verdict.p_value < 0.001
    assert found.verdict.state is DriftState.STABLE or found.verdict.state is DriftState.WARNING
    assert found.verdict.usual_effect == pytest.approx(0.12 - 40 / 600, abs=0.002)
    assert found.verdict.minimum_effect == pytest.approx(2 * found.verdict.usual_effect)
    assert "twice the 5.3 % that the baseline varies by itself" in found.explanation
    ((least, usual),) = session.execute(
        sa.select(DriftDetection.minimum_effect, DriftDetection.usual_effect).where(
            DriftDetection.sweep_id == sweep_id,
            DriftDetection.metric == "error_rate",
            DriftDetection.minimum_effect.is_not(None),
        )
    ).all()
    assert (least, usual) == (found.verdict.minimum_effect, found.verdict.usual_effect)


def test_one_bad_day_of_the_baseline_hides_nothing(session: Session) -> None:
    roll_up_days(session, [5, 6, 60, 5, 4, 6, 5], [1.0] * 7, now=40)
    found = findings(detect(session, OF_A_WEEK, uuid4()))[WALKER, "error_rate"].verdict
    assert (found.state, found.minimum_effect) == (DriftState.DRIFT, pytest.approx(0.2, abs=0.03))


def test_of_few_days_nothing_follows_about_how_much_they_differ(session: Session) -> None:
    roll_up_days(session, [5, 12, 5, 13], [1.0] * 4, now=16)
    found = findings(detect(session, OF_A_WEEK, uuid4()))[WALKER, "error_rate"].verdict
    assert (found.state, found.usual_effect) == (DriftState.DRIFT, None)


def test_pieces_are_as_long_as_the_window_where_that_is_shorter_than_a_day(
    session: Session,
) -> None:
    """Nights are slow: a night that is as slow as those before it is no drift."""
    for hour in range(-8 * 24, 0, 2):
        at = MIDNIGHT + timedelta(hours=hour)
        night = at.hour < 6
        values = {"llm_latency_ms": latencies(hour + 999, n=60, scale=2.0 if night else 1.0)}
        roll_up(session, at, values)
    job = DetectDrift(
        baseline=window(MIDNIGHT - timedelta(days=8), 7 * 24),
        current=window(MIDNIGHT - timedelta(hours=24), 6),
    )
    found = findings(detect(session, job, uuid4()))[WALKER, "llm_latency_ms"].verdict
    assert found.effect_size is not None
    assert found.effect_size > 0.3
    assert found.state is not DriftState.DRIFT


def test_a_week_that_begins_at_noon_has_seven_days_too(session: Session) -> None:
    """The hours before its first midnight and after its last are one."""
    for back in range(-8 * 2, 0):
        at = MIDNIGHT + timedelta(hours=12 * back + 12)
        roll_up(session, at, {}, llm_calls=500)
    noon = MIDNIGHT + timedelta(hours=12)
    job = DetectDrift(
        baseline=window(noon - timedelta(days=8), 7 * 24),
        current=window(noon - timedelta(days=1), 24),
    )
    found = look(session, job, [])
    assert [len(one.pieces.sums) for one in found] == [7]
    assert {sums.llm_calls for sums in found[0].pieces.sums} == {1_000}
    assert found[0].baseline is not None
    assert found[0].baseline.sums.llm_calls == 7_000


def test_show_says_whether_the_days_of_a_baseline_hold_one_distribution(session: Session) -> None:
    roll_up_days(session, [5] * 7, [1.0, 1.0, 1.6, 1.0, 0.7, 1.0, 1.0], now=5)
    sweep_id = uuid4()
    detect(session, OF_A_WEEK, sweep_id)
    (drawn,) = recalled(session, findings_of(session, sweep_id), with_history=True)
    of = {one.verdict.metric_name: one for one in drawn.metrics}
    days = of["llm_latency_ms"].days
    assert days is not None
    assert days.sizes == (400,) * 7
    assert days.furthest == 2
    told = days_said(days)
    assert told is not None
    assert "the days of the baseline differ among themselves" in told
    assert of["error_rate"].days is None
    ((least, usual),) = {
        (one.verdict.minimum_effect, one.verdict.usual_effect) for one in (of["llm_latency_ms"],)
    }
    assert least == pytest.approx(2 * usual)
