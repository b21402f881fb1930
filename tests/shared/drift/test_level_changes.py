"""When a metric changed, from the rollups of its hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import tenant_of
from shared.drift.level_changes import (
    Course,
    changes_of_level,
    changes_of_share,
    courses,
    level_said,
    seen_changes,
)
from shared.drift.sequential import Detector
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.reading import Window
from shared.telemetry.tables import ModelPerformance

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 12
CHANGED = START + timedelta(days=9)


def roll_up(session: Session, function: str, changes: bool, calls: int = 200) -> None:
    """Latency with a day of its own; errors of every tenth call, and of every third from then."""
    rng = np.random.default_rng(8)
    columns = ModelPerformance.__table__.columns
    empty = {name: 0 for name, column in columns.items() if isinstance(column.type, sa.BigInteger)}
    rows = []
    for number in range(24 * DAYS):
        at = START + number * HOUR
        moved = changes and at >= CHANGED
        packed = {name.value: b"" for name in HISTOGRAMS}
        values = rng.normal(2000 + 900 * (at.hour in range(9, 17)), 100, 40).astype(int)
        packed["llm_latency_ms"] = Histogram.from_values(values).to_bytes()
        rows.append(
            empty
            | packed
            | {
                "tenant_id": tenant_of(session),
                "hour": at,
                "model": "walker@1",
                "function": function,
                "variant": "",
                "errors_by_type": {},
                "llm_calls": calls,
                "llm_errors": int(rng.binomial(calls, 0.33 if moved else 0.1)),
            }
        )
    session.execute(sa.insert(ModelPerformance), rows)


def changes(session: Session, function: str) -> dict[str, Course]:
    window = Window(START, START + timedelta(days=DAYS))
    return {course.metric: course for course in courses(session, window, function)}


def test_a_change_is_dated_with_the_delay_until_it_showed(session: Session) -> None:
    roll_up(session, "shop", changes=True)
    found = changes(session, "shop")
    assert set(found) == {"error_rate", "llm_latency_ms"}
    for report in found["error_rate"].reports:
        (change,) = report.changes
        assert abs(change.changed_at - CHANGED) <= 2 * HOUR
        assert change.before == pytest.approx(0.1, abs=0.02)
        assert change.after == pytest.approx(0.33, abs=0.05)
        assert timedelta() < change.delay <= timedelta(hours=36)
    assert [report.detector for report in found["error_rate"].reports] == list(Detector)
    # Both have seen one and the same.
    (seen,) = seen_changes(found["error_rate"])
    assert {detector for detector, _ in seen.seen_by} == set(Detector)
    assert [delay for _, delay in seen.seen_by] == sorted(delay for _, delay in seen.seen_by)
    assert seen.change.delay == seen.seen_by[0][1]


def test_a_level_is_said_with_its_unit() -> None:
    assert level_said("llm_latency_ms", 790.6) == "791 ms"
    assert level_said("error_rate", 0.03077) == "3.1 %"


def test_a_days_rise_and_fall_is_no_change(session: Session) -> None:
    roll_up(session, "search", changes=False)
    for course in changes(session, "search").values():
        assert [report.changes for report in course.reports] == [(), ()]


def test_a_share_that_never_was_another_is_no_unknown_one() -> None:
    hours = [(START + n * HOUR, (0, 50)) for n in range(100)]
    for detector in Detector:
        found = changes_of_share(hours, detector)
        assert (found.changes, found.reason) == ((), "all hours had the same share")


def test_the_levels_of_a_change_are_as_far_apart_as_they_were() -> None:
    """Half of the weeks each: what such an hour usually has is between the two."""
    rng = np.random.default_rng(3)
    changed = START + timedelta(days=13)
    series = [
        (at, float(rng.normal(1000 + 300 * (at.hour > 9) + 200 * (at >= changed), 20)))
        for at in (START + n * HOUR for n in range(24 * 28))
    ]
    for detector in Detector:
        (change,) = changes_of_level(series, detector).changes
        assert abs(change.changed_at - changed) <= 2 * HOUR
        assert change.after - change.before == pytest.approx(200, abs=25)


def test_what_never_has_enough_values_in_an_hour_is_kept_with_its_reason(session: Session) -> None:
    roll_up(session, "quiet", changes=False, calls=4)
    found = changes(session, "quiet")
    assert set(found) == {"error_rate", "llm_latency_ms"}
    for report in found["error_rate"].reports:
        assert (report.changes, report.known) == ((), 0)
        assert report.reason is not None
        assert "no hour holds 5 values" in report.reason
    assert all(report.reason is None for report in found["llm_latency_ms"].reports)


def test_a_window_without_rollups_has_no_series(session: Session) -> None:
    assert changes(session, "nowhere") == {}
