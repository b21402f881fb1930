"""A budget's state is at least what it says, and what is unknown is no good state."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.costs.aggregation import Period
from shared.costs.budgets import (
    Budget,
    BudgetError,
    BudgetState,
    Scope,
    Spent,
    judge,
    nanos_of,
    with_defaults,
)
from shared.money import NANOS

ON = date(2026, 11, 18)
"A Wednesday."


def of(amount: str, period: Period = Period.DAY, **fields: object) -> Budget:
    return Budget(period, nanos_of(amount), **fields)  # type: ignore[arg-type]


def known(nanos: int, calls: int = 10, unpriced: int = 0) -> Spent:
    return Spent(nanos, calls, unpriced, 0)


@pytest.mark.parametrize(
    ("nanos", "state", "threshold"),
    [
        (0, BudgetState.OK, 0),
        (NANOS // 2 - 1, BudgetState.OK, 0),
        (NANOS // 2, BudgetState.HALF, 50),
        (NANOS * 8 // 10 - 1, BudgetState.HALF, 50),
        (NANOS * 8 // 10, BudgetState.MOST, 80),
        (NANOS - 1, BudgetState.MOST, 80),
        (NANOS, BudgetState.EXCEEDED, 100),
        (7 * NANOS, BudgetState.EXCEEDED, 100),
    ],
)
def test_each_threshold_is_reached_to_the_nano_dollar(
    nanos: int, state: BudgetState, threshold: int
) -> None:
    found = judge(of("1"), known(nanos), ON)
    assert (found.state, found.threshold, found.share) == (state, threshold, nanos / NANOS)


@given(st.integers(1, 9_000_000 * NANOS), st.integers(0, 10**17), st.integers(0, 10**17))
def test_more_spent_is_never_a_better_state(amount: int, less: int, more: int) -> None:
    budget = Budget(Period.DAY, amount)
    first = judge(budget, known(less), ON).threshold
    assert first <= judge(budget, known(less + more), ON).threshold


def test_no_calls_and_calls_without_a_price_are_not_ok() -> None:
    nothing = judge(of("1"), known(0, calls=0), ON)
    assert (nothing.state, nothing.share, nothing.threshold) == (BudgetState.NO_DATA, None, 0)
    unknown = judge(of("1"), known(0, calls=3, unpriced=3), ON)
    assert (unknown.state, unknown.share, unknown.threshold) == (BudgetState.UNKNOWN, None, 0)


def test_calls_without_a_price_beside_others_leave_the_state_at_what_is_known() -> None:
    found = judge(of("1"), known(NANOS // 2, calls=5, unpriced=4), ON)
    assert (found.state, found.spent.unpriced_calls) == (BudgetState.HALF, 4)


@pytest.mark.parametrize(
    ("period", "starts_on", "ends_before"),
    [
        (Period.DAY, ON, date(2026, 11, 19)),
        (Period.WEEK, date(2026, 11, 16), date(2026, 11, 23)),
        (Period.MONTH, date(2026, 11, 1), date(2026, 12, 1)),
    ],
)
def test_a_budget_is_for_the_period_of_the_calendar(
    period: Period, starts_on: date, ends_before: date
) -> None:
    found = judge(of("1", period), known(1), ON)
    assert (found.starts_on, found.ends_before) == (starts_on, ends_before)


def test_a_call_is_paid_from_every_budget_that_covers_it() -> None:
    budgets = [
        of("1"),
        of("1", scope=Scope.MODEL, name="buyer@1"),
        of("1", scope=Scope.FUNCTION, name="checkout"),
    ]
    assert [b.covers("buyer@1", "checkout") for b in budgets] == [True, True, True]
    assert [b.covers("buyer@2", "search") for b in budgets] == [True, False, False]
    assert [str(b) for b in budgets] == [
        "the budget of $1.00 a day for all models",
        "the budget of $1.00 a day for model buyer@1",
        "the budget of $1.00 a day for function checkout",
    ]


def test_a_default_holds_until_the_tenant_sets_a_budget_for_the_period() -> None:
    defaults = [of("1", default=True), of("20", Period.MONTH, default=True)]
    of_model = of("3", scope=Scope.MODEL, name="buyer@1")
    assert with_defaults([of_model], defaults) == (*defaults, of_model)
    own = of("7", hard_stop=True)
    assert with_defaults([of_model, own], defaults) == (own, defaults[1], of_model)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [("5", 5 * NANOS), ("2.50", 2_500_000_000), ("$0.000000001", 1), (" 1e-3 ", 1_000_000)],
)
def test_an_amount_is_read_to_the_nano_dollar(text: str, nanos: int) -> None:
    assert nanos_of(text) == nanos


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("much", "'much' is no amount of dollars; expected one like 2.50"),
        ("nan", "'nan' is no amount"),
        ("inf", "'inf' is no amount"),
        ("0.0000000001", "more than nine decimals"),
        ("0", "a budget of $0; expected more than $0 and at most $9,000,000"),
        ("-1", "a budget of $-1; expected more than $0"),
        ("9000001", "at most $9,000,000"),
        ("1e12", "at most $9,000,000"),
        ("1e999999999", "is no amount"),
    ],
)
def test_an_amount_that_cannot_be_kept_is_refused(text: str, said: str) -> None:
    with pytest.raises(BudgetError) as refused:
        of(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": Scope.MODEL},
        {"name": "buyer@1"},
        {"scope": Scope.MODEL, "name": "x" * 201},
        {"scope": Scope.FUNCTION, "name": "a\nb"},
    ],
)
def test_a_name_fits_its_scope(fields: dict[str, object]) -> None:
    with pytest.raises(BudgetError):
        of("1", **fields)
