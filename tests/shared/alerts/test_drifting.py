"""An alert of drift ends when what it is of is over, and not when it is seen no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.drifting import accept_as_normal, tell_of_drift
from shared.alerts.raising import Severity, raise_alert
from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_of, tenant_session
from shared.drift.baselines import EVERY, Baseline, BaselineKind, set_baseline
from shared.drift.effects import Effect
from shared.drift.sweep import MetricFinding, SweepResult, detect
from shared.drift.verdicts import DriftState, MetricVerdict
from shared.drift.windows import Subject, windows_of
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.reading import Window
from shared.telemetry.tables import ModelPerformance
from tests.shared.drift.rollups import NOON, WALKER, latencies, roll_up

DAY = timedelta(days=1)
SUMS = [
    name
    for name, column in ModelPerformance.__table__.columns.items()
    if isinstance(column.type, sa.BigInteger)
]


def found(
    day: int,
    state: DriftState,
    effect: float,
    p_value: float,
    n: int = 240,
    function: str = "shop",
    model: str = WALKER,
    **changes: Any,
) -> SweepResult:
    """One finding of latency, of so many values on a day against those of the week before."""
    verdict: dict[str, Any] = {
        "function_name": function, "metric_name": "llm_latency_ms", "state": state, "tests": (),
        "adjusted_p_values": (), "p_value": p_value, "threshold": 0.01,
        "effect_name": Effect.KS_DISTANCE, "effect_size": effect, "minimum_effect": 0.1,
        "n_baseline": 1_680, "n_current": n, "reason": None,
    }  # fmt: skip
    start = NOON + day * DAY
    baseline = WindowOf(start=NOON - 7 * DAY, end=NOON, function=function)
    windows = windows_of(
        Subject(function, model),
        baseline,
        WindowOf(start=start, end=start + DAY, function=function),
    )
    finding = MetricFinding(windows, MetricVerdict(**(verdict | changes)))
    return SweepResult(uuid4(), 0.01, (finding,))


def open_alerts(session: Session) -> int:
    query = sa.select(sa.func.count()).where(Alert.kind == "drift", Alert.resolved_at.is_(None))
    return session.scalar(query) or 0


DRIFT = (DriftState.DRIFT, 0.3, 1e-6)


@pytest.mark.parametrize(
    ("later", "closed"),
    [
        pytest.param((DriftState.STABLE, 0.209, 0.056, 36), 0, id="as far, not significant"),
        pytest.param((DriftState.STABLE, 0.08, 0.9, 36), 0, id="too few to have shown it"),
        pytest.param((DriftState.STABLE, 0.08, 0.9, 160), 1, id="enough, and near"),
        pytest.param((DriftState.WARNING, 0.08, 1e-3, 240), 0, id="half as far"),
    ],
)
def test_less_traffic_does_not_end_drift(
    session: Session, later: tuple[DriftState, float, float, int], closed: int
) -> None:
    tell_of_drift(session, found(0, *DRIFT))
    assert tell_of_drift(session, found(1, *later))["alerts_resolved"] == closed


def test_an_alert_of_a_window_that_is_still_to_come_ends_as_others_do(session: Session) -> None:
    tell_of_drift(session, found(60_000, *DRIFT))
    assert tell_of_drift(session, found(1, *DRIFT))["alerts_raised"] == 0
    today = (datetime.now(UTC) - NOON) // DAY
    tell_of_drift(session, found(today, DriftState.STABLE, 0.08, 0.9))
    assert open_alerts(session) == 0


@pytest.mark.parametrize("function", ["a&b", "a<b", "a[b", "a`b"])
def test_who_cannot_be_named_is_sent_to_the_list_and_not_to_others(
    session: Session, function: str
) -> None:
    tell_of_drift(session, found(1, *DRIFT, function=function))
    (message,) = session.scalars(sa.select(Alert.message))
    assert message.endswith(f"; mlops drift list --model {WALKER}")


def test_few_requests_are_a_finding_and_no_lack_of_values(session: Session) -> None:
    ratio: dict[str, Any] = {"effect_name": Effect.VOLUME_RATIO, "minimum_effect": 0.5}
    tell_of_drift(session, found(0, DriftState.DRIFT, 3.0, 1e-3, n=720, **ratio))
    normal = found(1, DriftState.STABLE, 1.1, 0.4, n=240, **ratio)
    assert tell_of_drift(session, normal)["alerts_resolved"] == 1


def test_subjects_whose_names_run_together_have_an_alert_each(session: Session) -> None:
    tell_of_drift(session, found(0, *DRIFT, function="a:b", model="c"))
    good = found(0, DriftState.STABLE, 0.01, 0.9, function="a", model="b:c")
    assert tell_of_drift(session, good)["alerts_resolved"] == 0


def put_days(session: Session, first: int, last: int, scale: float) -> None:
    """Three hours with calls in each day, counted from noon of one."""
    for hour in range(first * 24, last * 24, 8):
        at: datetime = NOON + timedelta(hours=hour)
        roll_up(session, at, {"llm_latency_ms": latencies(hour + 900, 60, scale)})


def look(session: Session, day: int) -> tuple[DriftState, int, int]:
    """The sweep of the day's end: the verdict, and how many alerts are open and were closed."""
    end = NOON + day * DAY
    job = DetectDrift(current=WindowOf(start=end - DAY, end=end), alerts=True)
    sweep = detect(session, job, uuid4())
    closed = tell_of_drift(session, sweep)["alerts_resolved"]
    (verdict,) = (one.verdict for one in sweep.findings if one.metric == "llm_latency_ms")
    return verdict.state, open_alerts(session), closed


def test_that_the_baseline_got_used_to_a_level_does_not_end_its_drift(session: Session) -> None:
    put_days(session, -8, 0, 1.0)
    put_days(session, 0, 9, 2.5)
    assert look(session, 1) == (DriftState.DRIFT, 1, 0)
    assert look(session, 2) == (DriftState.DRIFT, 1, 0)
    # The week before is at the new level by now.
    assert look(session, 9) == (DriftState.STABLE, 1, 0)
    # As it was before, for as long as it takes to be usual again.
    put_days(session, 9, 18, 1.0)
    assert look(session, 18) == (DriftState.STABLE, 0, 1)


@pytest.mark.parametrize("accepted", [True, False])
def test_who_says_what_is_normal_ends_it(session: Session, accepted: bool) -> None:
    put_days(session, -8, 0, 1.0)
    put_days(session, 0, 9, 2.5)
    look(session, 1)
    for function in ("shop", "search"):
        of = {"function": function, "model": WALKER}
        raise_alert(session, "data_quality", function, Severity.WARNING, "tokens missing", of)
    if accepted:
        # That of its drift, and that of its data.
        assert accept_as_normal(session, "shop", EVERY).closed == 2
    else:
        set_baseline(session, "shop", EVERY, Baseline(BaselineKind.PREVIOUS, 6 * DAY))
        assert look(session, 9) == (DriftState.STABLE, 0, 1)


def put_requests(session: Session, first: int, last: int, an_hour: int) -> None:
    """So many in every hour of these days, counted from noon of one; a little more now and then."""
    fixed = {name.value: b"" for name in HISTOGRAMS} | {"errors_by_type": {}, "names": {}}
    fixed |= dict.fromkeys(SUMS, 0) | {"tenant_id": tenant_of(session), "variant": ""}
    fixed |= {"model": WALKER, "function": "shop"}
    rows = [
        fixed | {"hour": NOON + timedelta(hours=hour), "llm_calls": an_hour + hour % 7}
        for hour in range(first * 24, last * 24)
    ]
    session.execute(sa.insert(ModelPerformance.__table__), rows)


def look_at_requests(session: Session, day: int) -> tuple[DriftState, int]:
    """As `look`, of the volume alone."""
    end = NOON + day * DAY
    job = DetectDrift(current=WindowOf(start=end - DAY, end=end, function="shop"), alerts=True)
    sweep = detect(session, job, uuid4())
    (finding,) = (one for one in sweep.findings if one.metric == "request_volume")
    tell_of_drift(session, replace(sweep, findings=(finding,)))
    return finding.verdict.state, open_alerts(session)


@pytest.mark.parametrize("fixed", [False, True], ids=["the week before", "a baseline that was set"])
def test_that_weeks_got_used_to_a_volume_does_not_end_its_drift(
    tenant: TenantId, fixed: bool
) -> None:
    with tenant_session(tenant) as setting:
        put_requests(setting, -21, 0, 100)
        if fixed:
            normal = Baseline(BaselineKind.FIXED, window=Window(NOON - 7 * DAY, NOON))
            set_baseline(setting, "shop", EVERY, normal)
    with tenant_session(tenant) as session:
        put_requests(session, 0, 60, 300)
        put_requests(session, 60, 61, 100)
        assert look_at_requests(session, 1) == (DriftState.DRIFT, 1)
        # Every week that is looked back at is at the new level by now.
        assert look_at_requests(session, 59) == (DriftState.STABLE, 1)
        # Back at the old one: that is drift against eight weeks of the other.
        assert look_at_requests(session, 61) == (DriftState.DRIFT, 1)


def test_a_volume_that_is_as_before_ends_its_drift(session: Session) -> None:
    put_requests(session, -21, 0, 100)
    put_requests(session, 0, 3, 300)
    put_requests(session, 3, 9, 100)
    assert look_at_requests(session, 1) == (DriftState.DRIFT, 1)
    assert look_at_requests(session, 4) == (DriftState.STABLE, 0)


def test_a_volume_that_somebody_calls_normal_ends_its_drift(session: Session) -> None:
    put_requests(session, -21, 0, 100)
    put_requests(session, 0, 60, 300)
    assert look_at_requests(session, 1) == (DriftState.DRIFT, 1)
    set_baseline(session, "shop", EVERY, Baseline(BaselineKind.PREVIOUS, 6 * DAY))
    assert look_at_requests(session, 59) == (DriftState.STABLE, 0)
