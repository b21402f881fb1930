"""Changes of level in a stream: found soon, dated well, and not seen where there are none."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from shared.drift.sequential import Detector, DetectorUnavailableError, detect_changes

START = datetime(2026, 1, 1, tzinfo=UTC)


def hourly(values):
    return [(START + timedelta(hours=n), value) for n, value in enumerate(values)]


def normal(seed, n, shift_at=None, shift=0.0, scale=1.0):
    values = np.random.default_rng(seed).normal(size=n)
    values[n if shift_at is None else shift_at :] += shift
    return (100 + scale * values).tolist()


@pytest.mark.parametrize("detector", Detector)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_a_change_of_level_is_found_and_dated_in_any_unit(detector, scale):
    report = detect_changes(hourly(normal(1, 500, 300, 2.0, scale)), detector)
    (change,) = report.changes
    assert abs(change.changed_at - (START + timedelta(hours=300))) <= timedelta(hours=3)
    assert timedelta(0) < change.delay <= timedelta(hours=25)
    assert change.after - change.before == pytest.approx(2 * scale, rel=0.4)
    assert (report.known, report.unknown, report.reason) == (500, 0, None)


@pytest.mark.parametrize("detector", Detector)
def test_every_change_is_dated_after_the_one_before_it(detector):
    values = normal(2, 900)
    values[300:600] = [value + 3 for value in values[300:600]]
    report = detect_changes(hourly(values), detector)
    dated = [(change.changed_at - START) / timedelta(hours=1) for change in report.changes]
    assert dated == pytest.approx([300, 600], abs=5)


@pytest.mark.parametrize(("detector", "most"), [(Detector.ADWIN, 2), (Detector.PAGE_HINKLEY, 6)])
def test_false_alarms_are_as_rare_as_is_stated(detector, most):
    found = sum(
        len(detect_changes(hourly(normal([seed, 3], 2_000)), detector).changes)
        for seed in range(10)
    )
    assert found <= most


@pytest.mark.parametrize("detector", Detector)
def test_one_outlier_and_values_that_are_none_change_nothing(detector):
    values = normal(4, 400)
    values[200] = 1e308
    values[210:230] = [None, math.nan, math.inf, -math.inf] * 5
    report = detect_changes(hourly(values), detector)
    assert report.changes == ()
    assert (report.known, report.unknown) == (380, 20)


@pytest.mark.parametrize("detector", Detector)
def test_a_constant_that_ends_has_changed(detector):
    (change,) = detect_changes(hourly([3.0] * 100 + [3.5] * 60), detector).changes
    assert change.changed_at == START + timedelta(hours=100)
    assert (change.before, change.after) == (3.0, 3.5)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no value is known"),
        ([None, math.nan], "no value is known"),
        ([1.0] * 47, "47 values are known; expected at least 48"),
        ([2.5] * 100, "all values are equal"),
    ],
)
def test_a_series_that_says_nothing_is_a_reason_and_not_no_change(values, reason):
    report = detect_changes(hourly(values), Detector.ADWIN)
    assert (report.changes, report.reason) == ((), reason)


def test_times_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="expected rising"):
        detect_changes([(START, 1.0), (START, 2.0)], Detector.ADWIN)
    with pytest.raises(ValueError, match="expected UTC"):
        detect_changes([(START.replace(tzinfo=None), 1.0)], Detector.ADWIN)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(DetectorUnavailableError, match=r"install browser-mlops\[drift\]"):
        detect_changes(hourly(normal(5, 60)), Detector.ADWIN)
