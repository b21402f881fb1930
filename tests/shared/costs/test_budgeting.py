"""Budgets as they are kept: one for each period and scope, audited, with defaults behind them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.budgeting import (
    NoBudgetError,
    budgets,
    defaults,
    own_budgets,
    remove_budget,
    set_budget,
    standings,
)
from shared.costs.budgets import Budget, BudgetState, Scope
from shared.database import TenantId, tenant_session
from shared.money import NANOS
from shared.settings import SettingsError, settings
from shared.tenancy.tables import AuditEntry
from shared.tenancy.tenants import create_tenant

DAILY = Budget(Period.DAY, 3 * NANOS)
OF_MODEL = Budget(Period.DAY, NANOS, Scope.MODEL, "buyer@1", hard_stop=True)


def test_a_tenant_that_has_set_none_has_those_of_the_settings(session: Session) -> None:
    found = budgets(session)
    assert [(b.period, b.amount_nanos // NANOS, b.default, b.hard_stop) for b in found] == [
        (Period.DAY, 1, True, False),
        (Period.WEEK, 5, True, False),
        (Period.MONTH, 20, True, False),
    ]


def test_thresholds_come_from_the_environment(with_environment: Callable[..., None]) -> None:
    with_environment(DAILY_COST_THRESHOLD="2.5", MONTHLY_COST_THRESHOLD="0.000000001")
    assert [budget.amount_nanos for budget in defaults()] == [2_500_000_000, 5 * NANOS, 1]


@pytest.mark.parametrize("value", ["0", "-1", "much", "nan", "inf", "", "1e12"])
def test_a_threshold_that_is_none_is_a_mistake_in_one_line(
    with_environment: Callable[..., None], value: str
) -> None:
    with_environment(WEEKLY_COST_THRESHOLD=value)
    with pytest.raises(
        SettingsError, match=r"^setting WEEKLY_COST_THRESHOLD: Input should be [^\n]+$"
    ):
        settings()


def test_a_budget_replaces_the_one_before_and_the_default(session: Session) -> None:
    assert set_budget(session, DAILY) is None
    again = Budget(Period.DAY, 4 * NANOS, hard_stop=True)
    assert set_budget(session, again) == DAILY
    set_budget(session, OF_MODEL)
    assert own_budgets(session) in [(again, OF_MODEL), (OF_MODEL, again)]
    assert own_budgets(session, hard_stops_only=True) == own_budgets(session)
    assert [b.default for b in budgets(session)] == [False, True, True, False]


def test_a_removed_budget_gives_way_to_the_default(session: Session) -> None:
    set_budget(session, DAILY)
    assert remove_budget(session, Scope.TENANT, "", Period.DAY) == DAILY
    assert budgets(session) == defaults()
    with pytest.raises(NoBudgetError, match="no budget of this tenant's own for all models and"):
        remove_budget(session, Scope.TENANT, "", Period.DAY)


def test_every_change_is_audited_with_what_was_before(session: Session) -> None:
    set_budget(session, OF_MODEL)
    set_budget(session, Budget(Period.DAY, 2 * NANOS, Scope.MODEL, "buyer@1"))
    remove_budget(session, Scope.MODEL, "buyer@1", Period.DAY)
    found = session.execute(
        sa.select(AuditEntry.action, AuditEntry.subject, AuditEntry.details)
        .where(AuditEntry.action.startswith("budget."))
        .order_by(AuditEntry.id)
    ).all()
    assert [tuple(row) for row in found] == [
        (
            "budget.set",
            "model buyer@1, day",
            {"amount_nanos": NANOS, "hard_stop": True, "before_nanos": None},
        ),
        (
            "budget.set",
            "model buyer@1, day",
            {"amount_nanos": 2 * NANOS, "hard_stop": False, "before_nanos": NANOS},
        ),
        ("budget.remove", "model buyer@1, day", {"amount_nanos": 2 * NANOS, "hard_stop": False}),
    ]


def test_each_budget_counts_the_calls_of_its_scope_and_period(
    tenant: TenantId, spend: Callable[..., None]
) -> None:
    today = datetime.now(UTC).date()
    spend(NANOS // 2)
    spend(NANOS // 4, model="buyer@2", unpriced=1, calls=2, simulated=1)
    spend(NANOS // 4, function="search")
    spend(9 * NANOS, on=today - timedelta(days=40))
    other = create_tenant(f"other-{uuid.uuid4()}")
    asked = [
        Budget(Period.DAY, NANOS),
        OF_MODEL,
        Budget(Period.MONTH, NANOS, Scope.FUNCTION, "search"),
        Budget(Period.WEEK, NANOS, Scope.MODEL, "nobody@1"),
    ]
    with tenant_session(tenant) as session:
        found = standings(session, asked, today)
    assert [(one.spent.nanos, one.state) for one in found] == [
        (NANOS, BudgetState.EXCEEDED),
        (NANOS * 3 // 4, BudgetState.HALF),
        (NANOS // 4, BudgetState.OK),
        (0, BudgetState.NO_DATA),
    ]
    everything = found[0].spent
    assert (everything.calls, everything.unpriced_calls, everything.simulated_calls) == (4, 1, 1)
    with tenant_session(other) as session:
        assert standings(session, asked[:1], today)[0].state is BudgetState.NO_DATA
        assert standings(session, [], today) == ()


def test_of_budgets_that_are_set_at_once_each_tells_what_it_replaced(tenant: TenantId) -> None:
    def put(dollars: int) -> int | None:
        with tenant_session(tenant) as session:
            replaced = set_budget(session, Budget(Period.DAY, dollars * NANOS))
            return None if replaced is None else replaced.amount_nanos

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(put, range(1, 9)))
    with tenant_session(tenant) as session:
        (kept,) = own_budgets(session)
        trail = session.scalars(
            sa.select(AuditEntry.details)
            .where(AuditEntry.action == "budget.set")
            .order_by(AuditEntry.id)
        ).all()
    amounts = [entry["amount_nanos"] for entry in trail]
    assert [entry["before_nanos"] for entry in trail] == [None, *amounts[:-1]]
    assert kept.amount_nanos == amounts[-1]
    assert set(told) == {None, *amounts[:-1]}


def test_a_budget_is_removed_once(tenant: TenantId) -> None:
    def remove(_: int) -> bool:
        try:
            with tenant_session(tenant) as session:
                remove_budget(session, Scope.TENANT, "", Period.DAY)
        except NoBudgetError:
            return False
        return True

    with tenant_session(tenant) as session:
        set_budget(session, DAILY)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(remove, range(4))) == 1
    with tenant_session(tenant) as session:
        removals = sa.select(AuditEntry.details).where(AuditEntry.action == "budget.remove")
        assert session.scalars(removals).all() == [{"amount_nanos": 3 * NANOS, "hard_stop": False}]


def test_a_default_is_what_the_settings_say_to_the_nano_dollar() -> None:
    assert Decimal(defaults()[0].amount_nanos) / NANOS == settings().daily_cost_threshold
