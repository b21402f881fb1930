"""Each check of data quality: broken only if that is certain, and never good without data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.drift.quality import (
    ColumnCounts,
    FunctionCounts,
    Limit,
    QualityCheck,
    QualityState,
    check_quality,
)


def column(events, missing=0, **counts):
    return ColumnCounts(events, missing, **counts)


def function(events=0, duplicates=None, late=None, **columns):
    return FunctionCounts(events, columns, duplicates, late)


def the(findings, check, column=None):
    return next(f for f in findings if (f.check, f.column) == (check, column))


def test_a_field_that_gets_lost_is_broken_and_one_that_was_always_missing_is_not():
    before = function(1_000, tokens=column(1_000, 300), model=column(1_000, 0))
    after = function(1_000, tokens=column(1_000, 310), model=column(1_000, 300))
    found = check_quality(before, after)
    tokens, model = (the(found, QualityCheck.MISSING, name) for name in ("tokens", "model"))
    assert (tokens.state, tokens.value, tokens.baseline) == (QualityState.GOOD, 0.31, 0.3)
    assert model.state is QualityState.BROKEN
    assert model.interval.low < 0.3 < model.interval.high
    assert model.reason == "300 of 1000 (30.00%); usual 0.00%, allowed 5.00% more"


def test_what_may_be_chance_is_a_warning():
    before = function(100, model=column(100, 1))
    found = check_quality(before, function(100, model=column(100, 9)))
    assert the(found, QualityCheck.MISSING, "model").state is QualityState.WARNING
    more = check_quality(
        function(10_000, model=column(10_000, 100)), function(10_000, model=column(10_000, 900))
    )
    assert the(more, QualityCheck.MISSING, "model").state is QualityState.BROKEN


def test_a_small_baseline_makes_less_certain():
    after = function(10_000, model=column(10_000, 1_000))
    few = check_quality(function(20, model=column(20, 0)), after)
    many = check_quality(function(10_000, model=column(10_000, 0)), after)
    assert the(few, QualityCheck.MISSING, "model").state is QualityState.WARNING
    assert the(many, QualityCheck.MISSING, "model").state is QualityState.BROKEN


def test_without_a_baseline_the_limits_are_absolute():
    found = check_quality(
        None,
        function(
            1_000,
            duplicates=100,
            late=10,
            model=column(1_000, 200, out_of_range=80, distinct=1),
        ),
    )
    assert {(f.column, f.check): f.state for f in found} == {
        (None, QualityCheck.DUPLICATES): QualityState.BROKEN,
        (None, QualityCheck.LATE): QualityState.GOOD,
        ("model", QualityCheck.MISSING): QualityState.GOOD,
        ("model", QualityCheck.OUT_OF_RANGE): QualityState.BROKEN,
        ("model", QualityCheck.CONSTANT): QualityState.WARNING,
    }
    assert all(f.baseline is None for f in found)


def test_a_field_that_is_in_no_event_any_more_is_broken():
    before = function(500, model=column(500), tokens=column(500))
    found = check_quality(before, function(500, model=column(500)))
    lost = the(found, QualityCheck.MISSING, "tokens")
    assert (lost.state, lost.value) == (QualityState.BROKEN, 1.0)


def test_new_categories_are_counted_by_what_they_hold_and_named():
    before = function(900, kind=column(900, categories={"click": 600, "type": 300, "gone": 0}))
    seen = {"click": 800, "hover\n" + "x" * 99: 60, "gone": 40, "a": 1, "b": 1}
    after = function(902, kind=column(902, categories=seen))
    found = the(check_quality(before, after), QualityCheck.NEW_CATEGORIES, "kind")
    assert found.state is QualityState.BROKEN
    assert found.value == pytest.approx(102 / 902)
    assert found.reason.endswith("'gone', 'a' and 1 more")
    assert "\n" not in found.reason
    same = check_quality(before, function(9, kind=column(900, categories={"click": 900})))
    assert the(same, QualityCheck.NEW_CATEGORIES, "kind").state is QualityState.GOOD


def test_a_column_that_became_constant_is_broken_and_one_that_always_was_is_not():
    for usual, state in ((7, QualityState.BROKEN), (1, QualityState.GOOD)):
        before = function(100, model=column(100, distinct=usual))
        found = check_quality(before, function(100, model=column(100, distinct=1)))
        assert the(found, QualityCheck.CONSTANT, "model").state is state


@pytest.mark.parametrize(
    ("before", "after", "check", "state"),
    [
        (column(90), column(0), QualityCheck.MISSING, QualityState.NO_DATA),
        (column(90), column(29), QualityCheck.MISSING, QualityState.INSUFFICIENT),
        (
            column(90),
            column(90, 90, out_of_range=0),
            QualityCheck.OUT_OF_RANGE,
            QualityState.NO_DATA,
        ),
        (column(90), column(90, 90, distinct=0), QualityCheck.CONSTANT, QualityState.NO_DATA),
        (column(90), column(9, distinct=1), QualityCheck.CONSTANT, QualityState.INSUFFICIENT),
        (
            column(90),
            column(90, categories={"a": 90}),
            QualityCheck.NEW_CATEGORIES,
            QualityState.NO_DATA,
        ),
        (
            column(90, categories={"a": 90}),
            column(90, categories={}),
            QualityCheck.NEW_CATEGORIES,
            QualityState.NO_DATA,
        ),
    ],
)
def test_without_data_nothing_is_good(before, after, check, state):
    found = the(
        check_quality(function(90, model=before), function(90, model=after)), check, "model"
    )
    assert found.state is state
    assert found.reason


def test_a_function_without_events_has_only_checks_without_data():
    before = function(900, duplicates=3, late=4, model=column(900, 3))
    found = check_quality(before, function(0, duplicates=0, late=0, model=column(0)))
    assert {f.state for f in found} == {QualityState.NO_DATA}


@given(*[st.integers(0, 400)] * 4)
@settings(max_examples=50, deadline=None)
def test_a_share_within_the_allowance_is_never_called_broken(n1, missing1, n2, missing2):
    missing1, missing2 = min(missing1, n1), min(missing2, n2)
    (found,) = check_quality(
        function(n1, model=column(n1, missing1)), function(n2, model=column(n2, missing2))
    )
    if found.state is QualityState.BROKEN:
        usual = 0.45 if found.baseline is None else found.baseline
        assert found.value > usual + 0.05
    assert (found.value is None) == (n2 == 0)


def test_a_new_category_among_very_many_is_found_without_naming_them_all():
    n = 50_000
    before = function(n, kind=column(n, categories={str(k): 1 for k in range(n)}))
    after = function(n, kind=column(n, categories={str(-k): 1 for k in range(1, n + 1)}))
    found = the(check_quality(before, after), QualityCheck.NEW_CATEGORIES, "kind")
    assert found.value == 1
    assert len(found.reason) < 300


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: column(5, 6), "6 missing of 5"),
        (lambda: column(5, 1, out_of_range=5), "5 out of range of 4"),
        (lambda: column(5, 5, distinct=1), "1 distinct of 0"),
        (lambda: column(5, categories={"a": -1}), "below 0"),
        (lambda: function(3, late=4), "4 late of 3"),
        (lambda: function(-1), "-1 events"),
        (lambda: Limit(1.2, 0), "limits 1.2"),
    ],
)
def test_counts_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
