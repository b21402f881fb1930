from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.abtest.targeting import Condition, Operator, compiled, version_of


def condition(operator: str, value: Any = None) -> Condition:
    return Condition.model_validate({"attribute": "x", "operator": operator, "value": value})


def holds(operator: str, value: Any, attribute: Any) -> bool:
    check = compiled([condition(operator, value)])
    assert check is not None
    return check({"x": attribute})


@pytest.mark.parametrize(
    ("operator", "value", "yes", "no"),
    [
        ("is", "DE", ["DE"], ["de", "FR", 5, None, ["DE"]]),
        ("is", 5, [5, 5.0], [6, "5", True, None, []]),
        ("is", 1, [1], [True]),
        ("is", True, [True], [1, "true", False]),
        ("is_not", "DE", ["FR", ""], ["DE", 5, None, ["DE"]]),
        ("is_not", 5, [6, 4.5], [5, "6", None, True]),
        ("in", ["DE", "FR"], ["DE", "FR"], ["IT", 5, None, ["DE"], {}]),
        ("in", [1, 2.5], [1, 2.5, 1.0], [3, True, "1"]),
        ("not_in", ["DE", "FR"], ["IT"], ["DE", 5, None, []]),
        ("less", 5, [4, 4.9, -1], [5, "4", None, True, float("nan")]),
        ("at_most", 5, [5, 4], [6, "5", None]),
        ("greater", 5, [6, 5.1], [5, "6", None, []]),
        ("at_least", 5, [5, 6], [4, "5", None]),
        ("exists", None, [0, "", False], [None]),
        ("missing", None, [None], [0, ""]),
        ("version_at_least", "1.9", ["1.9", "1.9.0", "1.10", "2"], ["1.8.9", "x", 2, None, "1.9a"]),
        ("version_less", "1.9", ["1.8.9", "0"], ["1.9.0", "1.10", "", "-1", 1.0]),
    ],
)
def test_conditions_hold_for_what_they_say_and_never_for_another_type(
    operator: str, value: Any, yes: list[Any], no: list[Any]
) -> None:
    assert [holds(operator, value, one) for one in yes] == [True] * len(yes)
    assert [holds(operator, value, one) for one in no] == [False] * len(no)


def test_an_attribute_that_is_not_there_fulfils_nothing_but_that_it_is_missing() -> None:
    values = {"in": ["a"], "not_in": ["a"], "exists": None, "missing": None, "is": "a"}
    for operator in Operator:
        version = "1.0" if operator.startswith("version") else None
        check = compiled([condition(operator, values.get(operator, version or 1))]) if (
            operator not in values
        ) else compiled([condition(operator, values[operator])])  # fmt: skip
        assert check is not None
        assert check({}) is (operator is Operator.MISSING)


def test_all_conditions_must_hold_and_none_is_no_check() -> None:
    both = compiled([condition("at_least", 18), condition("less", 65)])
    assert both is not None
    assert [both({"x": age}) for age in (17, 18, 64, 65)] == [False, True, True, False]
    assert compiled([]) is None


@given(
    st.sampled_from(
        [("is", "a"), ("is_not", 5), ("in", ["a"]), ("not_in", [1.5]), ("less", 3),
         ("version_less", "2.0"), ("exists", None)]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=4,
    ),
)  # fmt: skip
def test_no_attribute_makes_a_condition_raise(given_: tuple[str, Any], attribute: Any) -> None:
    assert isinstance(holds(*given_, attribute), bool)


@pytest.mark.parametrize(
    ("operator", "value", "complaint"),
    [
        ("is", None, "takes one value"),
        ("is", ["a"], "takes one value"),
        ("in", "a", "a list of values of one type"),
        ("in", [], "a list of values of one type"),
        ("in", ["a", 1], "a list of values of one type"),
        ("in", [True, 1], "a list of values of one type"),
        ("less", "5", "takes a number"),
        ("less", True, "takes a number"),
        ("exists", 1, "takes no value"),
        ("version_less", "new", "takes a version"),
        ("version_less", 1.5, "takes a version"),
        ("matches", ".*", "Input should be 'is'"),
        ("is", float("nan"), "a finite number"),
        ("is", "a\x00", "without NUL"),
        ("is", "\ud800", "without NUL"),
        ("in", ["a"] * 1001, "at most 1000"),
        ("is", {"a": 1}, "must be text"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(
    operator: str, value: Any, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        condition(operator, value)


def test_versions_are_numbers_one_by_one() -> None:
    assert version_of("1.10.0") == version_of("1.10") == (1, 10)
    assert version_of("120.0.6099.109") == (120, 0, 6099, 109)
    for none in ("", ".", "1..2", "1.2.3.4.5.6.7", "1234567890", "\u0661", None, 1):
        assert version_of(none) is None
