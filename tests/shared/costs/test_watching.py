"""Anomalies and forecasts come from rollups, and an alert tells of each stretch once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.cost_anomalies import tell_of_anomalies
from shared.alerts.tables import Alert
from shared.costs.aggregation import Period
from shared.costs.anomalies import CostRule, CostState
from shared.costs.forecasting import ForecastState
from shared.costs.watching import forecast_period, judge_hours
from shared.database import TenantId, tenant_session
from shared.jobs.contracts import FindCostAnomalies
from shared.jobs.tables import JobRow
from shared.telemetry.metrics import Metric
from shared.telemetry.tables import DirtyHour, ModelPerformance
from tasks.costs import enqueue_anomalies, find_anomalies

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
CENT = 10_000_000


def send(
    tenant: TenantId,
    hours_ago: int,
    calls: int,
    cents: float | None,
    hours: int = 1,
    model: str = "buyer@1",
) -> None:
    """So many calls in each of so many hours, the last of which began `hours_ago` hours ago."""
    row = dict.fromkeys(NUMBERS, 0) | dict.fromkeys((m.value for m in Metric), b"")
    row |= {"tenant_id": tenant, "model": model, "function": "checkout", "variant": ""}
    row |= {"errors_by_type": {}, "llm_calls": calls}
    if cents is None:
        row["unpriced_calls"] = calls
    else:
        row["cost_nanos"] = round(calls * cents * CENT)
    rows = [row | {"hour": HOUR - timedelta(hours=hours_ago + n)} for n in range(hours)]
    with tenant_session(tenant) as session:
        session.execute(sa.insert(ModelPerformance), rows)


NUMBERS = [
    column.name
    for column in ModelPerformance.__table__.columns
    if isinstance(column.type, sa.BigInteger)
]


def states(tenant: TenantId, hours: int = 6) -> dict[CostRule, list[CostState]]:
    with tenant_session(tenant) as session:
        (judged,) = judge_hours(session, HOUR - timedelta(hours=hours), HOUR)
    verdicts = [verdict for hour in judged.hours for verdict in hour.all]
    return {rule: [v.state for v in verdicts if v.rule is rule] for rule in CostRule}


def alerts(session: Session) -> dict[str, tuple[str, bool]]:
    rows = session.execute(
        sa.select(Alert.fingerprint, Alert.severity, Alert.resolved_at).where(
            Alert.kind == "cost_anomaly"
        )
    )
    return {name: (severity, resolved is not None) for name, severity, resolved in rows}


def run(tenant: TenantId) -> dict[str, object]:
    with tenant_session(tenant) as session:
        job = FindCostAnomalies(since=HOUR - timedelta(hours=6), until=HOUR)
        return dict(find_anomalies(session, job))


def test_a_spike_raises_one_alert_for_each_rule_and_resolves_when_it_is_over(
    tenant: TenantId,
) -> None:
    send(tenant, 2, 5, 1.0, hours=24 * 15)
    send(tenant, 1, 100, 1.0)
    found = states(tenant)
    assert found[CostRule.HOUR_OF_WEEK][-2:] == [CostState.NORMAL, CostState.ANOMALY]
    assert found[CostRule.FIVE_TIMES][-1] is CostState.ANOMALY
    assert found[CostRule.PER_REQUEST][-1] is CostState.NORMAL
    for _ in range(2):
        assert run(tenant)["alerts_raised"] == 2
    with tenant_session(tenant) as session:
        assert alerts(session) == {
            "cost_anomaly:hour_of_week:buyer@1:checkout": ("warning", False),
            "cost_anomaly:five_times:buyer@1:checkout": ("info", False),
        }
        assert set(session.scalars(sa.select(Alert.times_seen))) == {2}
    # One more usual hour, seen from an hour later: as if the spike had been an hour earlier.
    with tenant_session(tenant) as session:
        session.execute(sa.text("SELECT 1"))
        since = HOUR - timedelta(hours=7)
        later = judge_hours(session, since, HOUR - timedelta(hours=1))
        assert tell_of_anomalies(session, later, since)["alerts_resolved"] == 2
        assert {resolved for _, resolved in alerts(session).values()} == {True}


def dearer(tenant: TenantId) -> None:
    """An alert of the rule that says nothing of an hour without requests."""
    send(tenant, 9, 100, 0.1, hours=24 * 8)
    send(tenant, 8, 100, 3.0)
    with tenant_session(tenant) as session:
        job = FindCostAnomalies(since=HOUR - timedelta(hours=9), until=HOUR - timedelta(hours=7))
        find_anomalies(session, job)
        assert not alerts(session)[DEARER][1]


DEARER = "cost_anomaly:per_request:buyer@1:checkout"


def test_the_alert_of_a_model_that_fell_silent_closes_with_the_reason(tenant: TenantId) -> None:
    dearer(tenant)
    enqueue_anomalies(NOW)
    with tenant_session(tenant) as session:
        asked = sa.select(JobRow.id).where(JobRow.kind == "find_cost_anomalies")
        assert session.scalars(asked).one()
    assert run(tenant)["alerts_resolved"] == 3
    with tenant_session(tenant) as session:
        details = session.scalars(sa.select(Alert.details).where(Alert.fingerprint == DEARER)).one()
        assert {resolved for _, resolved in alerts(session).values()} == {True}
    since = HOUR - timedelta(hours=6)
    assert details["resolved_because"] == f"no call was made since {since:%Y-%m-%d %H:%M} UTC"
    # Nothing is open any more: nobody is asked.
    enqueue_anomalies(NOW + timedelta(hours=1))
    with tenant_session(tenant) as session:
        assert session.scalars(asked).one()


@pytest.mark.parametrize("why", ["without a price", "not summed"])
def test_an_alert_stays_while_what_came_after_it_is_not_known(tenant: TenantId, why: str) -> None:
    dearer(tenant)
    if why == "without a price":
        send(tenant, 2, 10, None)
    else:
        with tenant_session(tenant) as session:
            session.execute(
                sa.insert(DirtyHour).values(tenant_id=tenant, hour=HOUR - timedelta(hours=2))
            )
    run(tenant)
    with tenant_session(tenant) as session:
        assert not alerts(session)[DEARER][1]


def test_calls_without_a_price_are_unknown_and_neither_raise_nor_resolve(tenant: TenantId) -> None:
    send(tenant, 7, 5, 1.0, hours=24 * 10)
    send(tenant, 1, 100, None, hours=6)
    assert set(states(tenant)[CostRule.HOUR_OF_WEEK]) == {CostState.UNKNOWN}
    assert run(tenant) == {"hours": 6, "alerts_raised": 0, "alerts_resolved": 0}


def test_a_young_series_has_no_verdict(tenant: TenantId) -> None:
    send(tenant, 1, 5, 1.0, hours=10)
    assert set(states(tenant)[CostRule.HOUR_OF_WEEK]) == {CostState.INSUFFICIENT}


def test_nothing_reported_is_nothing_to_judge(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        assert list(judge_hours(session, HOUR - timedelta(hours=6), HOUR)) == []
        assert forecast_period(session, Period.MONTH, NOW) is None


def test_the_timetable_asks_once_an_hour_for_those_that_spent(tenant: TenantId) -> None:
    send(tenant, 1, 1, 1.0)
    for _ in range(2):
        enqueue_anomalies(NOW)
    with tenant_session(tenant) as session:
        (asked,) = session.scalars(sa.select(JobRow).where(JobRow.kind == "find_cost_anomalies"))
    assert asked.payload["until"] == HOUR.isoformat().replace("+00:00", "Z")
    assert isinstance(asked.id, UUID)


def test_the_forecast_of_a_steady_week_is_what_it_will_be(tenant: TenantId) -> None:
    send(tenant, 1, 2, 1.0, hours=24 * 17)
    with tenant_session(tenant) as session:
        found = forecast_period(session, Period.WEEK, NOW)
    assert found is not None
    assert found.state in (ForecastState.FORECAST, ForecastState.COMPLETE)
    hours = (found.ends_at - found.starts_at) / timedelta(hours=1)
    assert found.total_nanos is not None
    assert abs(found.total_nanos / (hours * 2 * CENT) - 1) < 0.02
    assert found.low_nanos is not None
    assert found.spent_nanos <= found.low_nanos <= found.total_nanos


def test_calls_without_a_price_make_a_forecast_a_lower_bound(tenant: TenantId) -> None:
    send(tenant, 2, 2, 1.0, hours=24 * 17)
    send(tenant, 1, 2, None)
    with tenant_session(tenant) as session:
        found = forecast_period(session, Period.WEEK, NOW)
    assert found is not None
    if found.starts_at < HOUR - timedelta(hours=1):
        assert found.state is ForecastState.AT_LEAST


def test_a_new_model_is_judged_by_its_own_hours_alone(tenant: TenantId) -> None:
    send(tenant, 1, 5, 1.0, hours=24 * 15)
    send(tenant, 1, 5, 20.0, hours=24, model="new@1")
    with tenant_session(tenant) as session:
        judged = {
            found.model: found for found in judge_hours(session, HOUR - timedelta(hours=6), HOUR)
        }
    verdicts = [verdict for hour in judged["new@1"].hours for verdict in hour.all]
    assert not [verdict for verdict in verdicts if verdict.anomalous]


@pytest.mark.parametrize("hours", [3, 30, 60, 120])
def test_a_young_tenant_has_no_forecast_and_no_traceback(tenant: TenantId, hours: int) -> None:
    send(tenant, 1, 2, 1.0, hours=hours)
    with tenant_session(tenant) as session:
        found = forecast_period(session, Period.MONTH, NOW)
    assert found is not None
    assert (found.state, found.total_nanos) == (ForecastState.INSUFFICIENT, None)
    assert found.spent_nanos > 0


def test_hours_that_are_not_summed_yet_are_unknown(tenant: TenantId) -> None:
    send(tenant, 1, 5, 1.0, hours=24 * 15)
    with tenant_session(tenant) as session:
        session.execute(
            sa.insert(DirtyHour).values(tenant_id=tenant, hour=HOUR - timedelta(hours=1))
        )
    assert states(tenant)[CostRule.HOUR_OF_WEEK][-1] is CostState.UNKNOWN
