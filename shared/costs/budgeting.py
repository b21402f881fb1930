"""Budgets in the database: setting them, and what has been spent of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.costs.aggregation import Period
from shared.costs.budgets import Budget, Scope, Spent, Standing, judge, with_defaults
from shared.costs.tables import BudgetRow
from shared.database import tenant_of
from shared.money import NANOS
from shared.settings import settings
from shared.tenancy.tenants import audit


class NoBudgetError(Exception):
    """There is no such budget to be removed."""


def defaults() -> tuple[Budget, ...]:
    """What a tenant may spend that has set nothing: by the settings, and without a hard stop."""
    thresholds = {
        Period.DAY: settings().daily_cost_threshold,
        Period.WEEK: settings().weekly_cost_threshold,
        Period.MONTH: settings().monthly_cost_threshold,
    }
    return tuple(
        Budget(period, int(amount * NANOS), default=True) for period, amount in thresholds.items()
    )


def budgets(session: Session) -> tuple[Budget, ...]:
    """The tenant's budgets, with the defaults for the periods that it has set none for."""
    return with_defaults(own_budgets(session), defaults())


def own_budgets(session: Session, *, hard_stops_only: bool = False) -> tuple[Budget, ...]:
    """Those that the tenant has set."""
    query = sa.select(BudgetRow).order_by(BudgetRow.scope, BudgetRow.name, BudgetRow.period)
    if hard_stops_only:
        query = query.where(BudgetRow.hard_stop)
    return tuple(_budget(row) for row in session.scalars(query))


def set_budget(session: Session, budget: Budget) -> Budget | None:
    """Set it in place of the one for the same period and scope, which is returned; audited."""
    # Of two at once the second replaces, and tells of, what the first has set.
    session.execute(_ONE_AT_A_TIME)
    before = session.scalar(
        sa.select(BudgetRow).where(*_is(budget.scope, budget.name, budget.period)),
        execution_options=_AS_IT_IS_NOW,
    )
    replaced = None if before is None else _budget(before)
    values = {"amount_nanos": budget.amount_nanos, "hard_stop": budget.hard_stop}
    session.execute(
        insert(BudgetRow)
        .values(
            tenant_id=tenant_of(session),
            scope=budget.scope.value,
            name=budget.name,
            period=budget.period.value,
            **values,
        )
        .on_conflict_do_update(
            index_elements=["tenant_id", "scope", "name", "period"],
            set_=values | {"updated_at": sa.func.now()},
        )
    )
    details = values | {"before_nanos": None if replaced is None else replaced.amount_nanos}
    audit(session, "budget.set", _subject(budget), details)
    return replaced


def remove_budget(session: Session, scope: Scope, name: str, period: Period) -> Budget:
    """Remove the tenant's own; a default then holds again. Raises NoBudgetError; audited."""
    session.execute(_ONE_AT_A_TIME)
    row = session.scalar(
        sa.delete(BudgetRow).where(*_is(scope, name, period)).returning(BudgetRow),
        execution_options=_AS_IT_IS_NOW,
    )
    if row is None:
        whose = f"{scope} {name}" if name else "all models"
        raise NoBudgetError(f"no budget of this tenant's own for {whose} and a {period}")
    removed = _budget(row)
    details = {"amount_nanos": removed.amount_nanos, "hard_stop": removed.hard_stop}
    audit(session, "budget.remove", _subject(removed), details)
    return removed


def standings(session: Session, budgets: Sequence[Budget], on: date) -> tuple[Standing, ...]:
    """Where each of these budgets stands in its period that holds `on`, in one query."""
    found = spent(session, [(budget, budget.period.start(on)) for budget in budgets])
    return tuple(judge(one, sums, on) for one, sums in zip(budgets, found, strict=True))


def spent(session: Session, asked: Iterable[tuple[Budget, date]]) -> list[Spent]:
    """What has been summed for each budget's scope, in the period that starts on the date."""
    asked = list(asked)
    if not asked:
        return []
    rows = session.execute(
        _SPENT,
        {
            "periods": [budget.period.value for budget, _ in asked],
            "starts": [starts_on for _, starts_on in asked],
            "models": [b.name if b.scope is Scope.MODEL else None for b, _ in asked],
            "functions": [b.name if b.scope is Scope.FUNCTION else None for b, _ in asked],
        },
    )
    return [Spent(*map(int, row)) for row in rows]


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.budgets ' || current_setting('app.tenant'), 0))"
)
_AS_IT_IS_NOW: Final = {"populate_existing": True}
"Not as this session may have read it before it waited."

_SPENT: Final = sa.text(
    """
    SELECT coalesce(sum(c.cost_nanos), 0), coalesce(sum(c.llm_calls), 0),
           coalesce(sum(c.unpriced_calls), 0), coalesce(sum(c.simulated_calls), 0)
    FROM unnest(CAST(:periods AS text[]), CAST(:starts AS date[]), CAST(:models AS text[]),
                CAST(:functions AS text[])) WITH ORDINALITY
        AS b (period, starts_on, model, function, place)
    LEFT JOIN mlops.cost_tracking c ON c.period = b.period AND c.starts_on = b.starts_on
        AND (b.model IS NULL OR c.model = b.model)
        AND (b.function IS NULL OR c.function = b.function)
    GROUP BY b.place ORDER BY b.place
    """
)


def _is(scope: Scope, name: str, period: Period) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        BudgetRow.scope == scope.value,
        BudgetRow.name == name,
        BudgetRow.period == period.value,
    )


def _budget(row: BudgetRow) -> Budget:
    return Budget(
        Period(row.period), row.amount_nanos, Scope(row.scope), row.name, hard_stop=row.hard_stop
    )


def _subject(budget: Budget) -> str:
    return f"{budget.whose}, {budget.period}"
