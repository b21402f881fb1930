"""What counts as the number, the day or the name that was asked for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.sites.answers import Day, Named, count, days, money, numbers


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("It costs $1,299.00.", {Decimal(1299)}),
        ("1299", {Decimal(1299)}),
        ("three customers", {Decimal(3)}),
        ("There are none.", {Decimal(0)}),
        ("12.5 % of 80", {Decimal("12.5"), Decimal(80)}),
        ("USD 56.52", {Decimal("56.52")}),
        ("-3", {Decimal(-3)}),
        ("order LS-41269", set()),
        ("order A41269", set()),
    ],
)
def test_numbers_are_found_in_sentences(said, meant):
    assert numbers(said) == meant


@given(st.integers(0, 10**9))
def test_an_amount_is_found_however_it_is_written(cents):
    for said in (f"${cents / 100:,.2f}", f"{cents / 100:.2f}", f"The total is {cents / 100:,.2f}."):
        assert money(cents).matches(said, "What is the total?"), said


def test_another_number_beside_the_right_one_is_a_wrong_answer():
    goal = "How many of the 12 orders were late?"

    assert count(3).matches("3 of the 12", goal)
    assert not count(3).matches("3 or 4", goal)
    assert not count(3).matches("4", goal)
    assert not count(3).matches("It is done.", goal)


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_a_day_is_found_however_it_is_written(day):
    for said in (
        day.isoformat(),
        f"{day:%m/%d/%Y}",
        f"{day:%B} {day.day}, {day.year}",
        f"on {day.day} {day:%B} {day.year}",
        f"{day:%A}, {day:%b} {day.day}",
        f"the {day.day}th of {day:%B}",
    ):
        assert Day(day).matches(said, "When?"), said


def test_another_day_is_a_wrong_answer():
    assert days("May 3 or May 4", 2024) == {date(2024, 5, 3), date(2024, 5, 4)}
    assert not Day(date(2024, 5, 3)).matches("May 3 or May 4", "When?")
    assert not Day(date(2024, 5, 3)).matches("May 3, 2023", "When?")
    assert not Day(date(2024, 5, 3)).matches("2024-02-31", "When?")


def test_a_name_is_found_without_regard_to_case_and_accents():
    expected = Named("Ana García", frozenset(("Ana García", "Ana Garc", "Bo Lund")))

    assert expected.matches("It is ana garcia!", "Who?")
    assert not expected.matches("Ana García or Bo Lund", "Who?")
    assert not expected.matches("Ana", "Who?")
    assert expected.matches("Ana García, not Bo Lund", "Is it Bo Lund?")


def test_what_an_expected_answer_prints_matches():
    for expected in (money(123456), count(0), Day(date(2024, 5, 3)), Named("Bo Lund")):
        assert expected.matches(str(expected), "")
