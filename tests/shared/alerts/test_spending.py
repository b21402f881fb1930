"""One alert for a budget and period: each threshold is told once, and its end is the period's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from shared.alerts.spending import Told, tell_of_spending
from shared.alerts.tables import Alert
from shared.costs.aggregation import Period
from shared.costs.budgeting import remove_budget, set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.tables import CostTracking
from shared.database import TenantId, tenant_session
from shared.money import NANOS

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
"A Wednesday."
Rolled = Callable[..., Told]


@pytest.fixture
def rolled(tenant: TenantId) -> Rolled:
    """Sums are what they are now, and the budgets are judged."""

    def up(nanos: int, now: datetime = NOW, *, at: datetime | None = None, **fields: int) -> Told:
        hour = at or now
        with tenant_session(tenant) as session:
            session.execute(
                sa.delete(CostTracking).where(
                    CostTracking.period == "day", CostTracking.starts_on == hour.date()
                )
            )
            session.add(
                CostTracking(
                    **{
                        "tenant_id": tenant,
                        "period": "day",
                        "starts_on": hour.date(),
                        "model": "buyer@1",
                        "function": "checkout",
                        "variant": "",
                        "llm_calls": 4,
                        "unpriced_calls": 0,
                        "simulated_calls": 0,
                        "cost_nanos": nanos,
                        "tasks": 0,
                        "successes": 0,
                    }
                    | fields
                )
            )
            session.flush()
            return tell_of_spending(session, [hour], now)

    return up


def alerts(tenant: TenantId) -> list[Alert]:
    with tenant_session(tenant) as session:
        return list(session.scalars(sa.select(Alert).order_by(Alert.raised_at)))


def budget(tenant: TenantId, dollars: int, **fields: object) -> Budget:
    made = Budget(Period.DAY, dollars * NANOS, **fields)  # type: ignore[arg-type]
    with tenant_session(tenant) as session:
        set_budget(session, made)
    return made


def told(found: Iterable[Told]) -> list[tuple[int, int]]:
    return [(one.raised, one.resolved) for one in found]


def test_each_threshold_is_told_once_and_the_alert_grows(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 10)
    dollars = (4, 5, 6, 7, 8, 9, 10, 30)
    found = told(rolled(n * NANOS) for n in dollars)
    assert [raised for raised, _ in found] == [0, 1, 0, 0, 1, 0, 1, 0]
    (alert,) = alerts(tenant)
    assert (alert.kind, alert.severity, alert.times_seen) == ("budget", "critical", 3)
    assert alert.message == (
        "100 % of the budget of $10.00 a day for all models is spent: $10.00 since 2026-11-18"
    )
    assert (alert.details["threshold"], alert.details["spent_nanos"]) == (100, 10 * NANOS)


@pytest.mark.parametrize(
    ("dollars", "severity"), [(5, "info"), (8, "warning"), (10, "critical"), (99, "critical")]
)
def test_what_jumps_over_thresholds_is_told_at_the_highest(
    tenant: TenantId, rolled: Rolled, dollars: int, severity: str
) -> None:
    budget(tenant, 10)
    assert rolled(dollars * NANOS) == Told(1, 0)
    assert [alert.severity for alert in alerts(tenant)] == [severity]


def test_a_tenant_that_has_set_none_hears_of_the_defaults(tenant: TenantId, rolled: Rolled) -> None:
    rolled(900_000_000)
    (alert,) = alerts(tenant)
    assert alert.message.startswith("90 % of the budget of $1.00 a day for all models is spent")


def test_unknown_and_no_data_neither_raise_nor_resolve(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 10)
    assert rolled(0, unpriced_calls=4) == Told(0, 0)
    rolled(6 * NANOS)
    assert rolled(0, unpriced_calls=4) == Told(0, 0)
    assert [alert.resolved_at for alert in alerts(tenant)] == [None]


def test_what_is_unpriced_or_simulated_is_said(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 10, hard_stop=True)
    rolled(11 * NANOS, unpriced_calls=2, simulated_calls=1)
    (alert,) = alerts(tenant)
    assert alert.message.endswith(
        "$11.00 since 2026-11-18 (unpriced: 2 calls, 1 call at a simulated price);"
        " further calls are refused"
    )


def test_a_higher_amount_resolves_it_and_is_told_of_anew(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 10)
    rolled(9 * NANOS)
    budget(tenant, 100)
    assert rolled(9 * NANOS) == Told(0, 1)
    assert rolled(80 * NANOS) == Told(1, 0)
    assert [(a.severity, a.resolved_at is None) for a in alerts(tenant)] == [
        ("warning", False),
        ("warning", True),
    ]


def test_while_a_threshold_is_reached_its_alert_is_open(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 10)
    found = told(rolled(n * NANOS) for n in (8, 1, 8, 8))
    assert found == [(1, 0), (0, 1), (1, 0), (0, 0)]


def test_the_first_judging_after_a_period_resolves_its_alert(
    tenant: TenantId, rolled: Rolled
) -> None:
    budget(tenant, 10)
    rolled(10 * NANOS)
    assert rolled(NANOS, NOW + timedelta(days=1)) == Told(0, 1)
    assert rolled(6 * NANOS, NOW + timedelta(days=1)) == Told(1, 0)
    assert [alert.details["starts_on"] for alert in alerts(tenant)] == ["2026-11-18", "2026-11-19"]


def test_what_arrives_after_midnight_is_told_of_the_day_before_once(
    tenant: TenantId, rolled: Rolled
) -> None:
    budget(tenant, 10)
    tomorrow = NOW + timedelta(days=1)
    assert rolled(12 * NANOS, tomorrow, at=NOW) == Told(1, 0)
    assert rolled(NANOS, tomorrow) == Told(0, 1)
    assert rolled(13 * NANOS, tomorrow, at=NOW) == Told(0, 0)
    # Of what is older nobody is told: that is history.
    assert rolled(99 * NANOS, tomorrow, at=NOW - timedelta(days=20)) == Told(0, 0)
    assert len(alerts(tenant)) == 1


def test_a_budget_that_is_gone_leaves_no_open_alert(tenant: TenantId, rolled: Rolled) -> None:
    budget(tenant, 100)
    budget(tenant, 10, scope=Scope.MODEL, name="buyer@1")
    assert rolled(10 * NANOS) == Told(1, 0)
    with tenant_session(tenant) as session:
        remove_budget(session, Scope.MODEL, "buyer@1", Period.DAY)
    assert rolled(11 * NANOS) == Told(0, 1)
