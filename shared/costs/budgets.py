"""What may be spent, and how much of it is: pure, in integer nano-dollars.

A budget is of the tenant as a whole, of one registered model (`name@version`) or of one function,
for a day, week or month of the UTC calendar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

from shared.costs.aggregation import Period
from shared.money import NANOS, dollars, known_nanos

MOST_DOLLARS: Final = 9_000_000
"Redis's scripts count in doubles, which hold every whole nano-dollar up to a little more."
_NAME_LENGTH: Final = 200
_DIGITS: Final = 15
"Before or after the point, of an amount that is worth reckoning with."


class BudgetError(ValueError):
    """A budget that cannot be; the message is one line."""


class Scope(StrEnum):
    """Whose calls a budget is for."""

    TENANT = "tenant"
    MODEL = "model"
    FUNCTION = "function"


class BudgetState(StrEnum):
    """How far a budget is used. Neither of the last two is a good one."""

    OK = "ok"
    HALF = "50"
    MOST = "80"
    EXCEEDED = "exceeded"
    NO_DATA = "no_data"
    "No call was made, or none has been summed yet."
    UNKNOWN = "unknown"
    "Calls were made, and not one of them has a price."


THRESHOLDS: Final[Mapping[int, BudgetState]] = {
    50: BudgetState.HALF,
    80: BudgetState.MOST,
    100: BudgetState.EXCEEDED,
}
"Percent of the amount, and the state from there on."


@dataclass(frozen=True)
class Budget:
    """An amount for a period. BudgetError unless it can be kept."""

    period: Period
    amount_nanos: int
    scope: Scope = Scope.TENANT
    name: str = ""
    "Of the model or function; empty for the tenant as a whole."
    hard_stop: bool = False
    "Whether calls are refused once it is used up."
    default: bool = False
    "Whether it is that of the settings, because the tenant has set none."

    def __post_init__(self) -> None:
        if not 0 < self.amount_nanos <= MOST_DOLLARS * NANOS:
            raise BudgetError(
                f"a budget of ${self.amount_nanos / NANOS:g}; expected more than $0 and at most"
                f" ${MOST_DOLLARS:,}"
            )
        if (self.scope is Scope.TENANT) != (self.name == ""):
            raise BudgetError("a budget of a model or function has its name, and no other has one")
        if len(self.name) > _NAME_LENGTH or not self.name.isprintable():
            raise BudgetError(f"a name has at most {_NAME_LENGTH} printable characters")

    @property
    def key(self) -> tuple[Scope, str, Period]:
        """There is one budget for each."""
        return self.scope, self.name, self.period

    @property
    def whose(self) -> str:
        """`model buyer@1.0.0`, or `all models`."""
        return f"{self.scope} {self.name}" if self.name else "all models"

    def covers(self, model: str, function: str) -> bool:
        """Whether a call of this model and function is paid from it."""
        match self.scope:
            case Scope.MODEL:
                return self.name == model
            case Scope.FUNCTION:
                return self.name == function
            case Scope.TENANT:
                return True

    def __str__(self) -> str:
        """`the budget of $5.00 a day for model buyer@1.0.0`."""
        return f"the budget of {dollars(self.amount_nanos)} a {self.period} for {self.whose}"


@dataclass(frozen=True)
class Spent:
    """What the calls of a scope came to in a period. `nanos` is the sum of those with a price."""

    nanos: int
    calls: int
    unpriced_calls: int
    simulated_calls: int
    "In `nanos`, at a price that is stated as simulated."

    @property
    def known(self) -> bool:
        """Whether anything is known: calls of which none has a price have not cost nothing."""
        return self.calls > 0 and self.known_nanos is not None

    @property
    def known_nanos(self) -> int | None:
        return known_nanos(self.nanos, self.calls, self.unpriced_calls)


@dataclass(frozen=True)
class Standing:
    """A budget in the period from `starts_on` up to `ends_before`, and what is known of it."""

    budget: Budget
    starts_on: date
    ends_before: date
    spent: Spent
    state: BudgetState

    @property
    def share(self) -> float | None:
        """Of the amount, what is known to be spent; None where nothing is known."""
        return self.spent.nanos / self.budget.amount_nanos if self.spent.known else None

    @property
    def threshold(self) -> int:
        """The highest of `THRESHOLDS` that was reached, in percent; 0 if none is known to be."""
        return next((t for t, state in THRESHOLDS.items() if state is self.state), 0)


def judge(budget: Budget, spent: Spent, on: date) -> Standing:
    """Where a budget stands in the period that holds `on`.

    Calls without a price are not in the sum, so a state is at least what it says: more may have
    been spent than is known.
    """
    if spent.calls == 0:
        state = BudgetState.NO_DATA
    elif not spent.known:
        state = BudgetState.UNKNOWN
    else:
        state = BudgetState.OK
        for threshold, reached in THRESHOLDS.items():
            if spent.nanos * 100 >= budget.amount_nanos * threshold:
                state = reached
    period = budget.period
    return Standing(budget, period.start(on), period.end(on), spent, state)


def with_defaults(own: Iterable[Budget], defaults: Iterable[Budget]) -> tuple[Budget, ...]:
    """The tenant's budgets, and those defaults for which it has set none of its own, in order."""
    budgets = {budget.key: budget for budget in own}
    for default in defaults:
        budgets.setdefault(default.key, default)
    scopes, periods = list(Scope), list(Period)
    return tuple(
        sorted(
            budgets.values(),
            key=lambda one: (scopes.index(one.scope), one.name, periods.index(one.period)),
        )
    )


def nanos_of(amount: str) -> int:
    """Nano-dollars of dollars as a person writes them. BudgetError says what would be right."""
    try:
        value = Decimal(amount.strip().removeprefix("$"))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or abs(value.adjusted()) > _DIGITS:
        raise BudgetError(f"{amount[:50]!r} is no amount of dollars; expected one like 2.50")
    nanos = value * NANOS
    if nanos != nanos.to_integral_value():
        raise BudgetError(f"{amount[:50]!r} has more than nine decimals")
    return int(nanos)
