"""Values of a tenant's own features are judged, and told, as those of built-in metrics are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.drifting import tell_of_drift
from shared.alerts.tables import Alert
from shared.drift import features
from shared.drift.reading import findings_of
from shared.drift.sweep import MetricFinding, detect
from shared.drift.verdicts import DriftState
from shared.drift.wording import counted_said
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.telemetry.features.definitions import DataType, Source
from shared.telemetry.features.registering import register_feature
from shared.telemetry.features.writing import write_values

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Value = float | str | bool


def put(
    session: Session,
    data_type: DataType,
    values: Callable[[int], list[Value]],
    unit: str = "",
    name: str = "basket",
) -> None:
    """A feature with the values of the week before noon by the day, -7 to -1, and of today: 0."""
    source = Source.parse("nightly")
    register_feature(session, name, data_type, source, "shop", "What it is.", unit)
    for day in range(-7, 1):
        start = NOON + day * DAY
        of_day = values(day)
        rows = [(f"e{n}", start + n * DAY / len(of_day), value) for n, value in enumerate(of_day)]
        write_values(session, name, rows, datetime.now(UTC))


def judged(session: Session) -> MetricFinding:
    """The finding of today, which is stored and told."""
    job = DetectDrift(current=WindowOf(start=NOON, end=NOON + DAY), alerts=True)
    sweep = detect(session, job, uuid4())
    tell_of_drift(session, sweep)
    (finding,) = sweep.findings
    return finding


def test_a_number_that_drifts_is_told_from_what_to_what_in_its_unit(session: Session) -> None:
    put(
        session,
        DataType.NUMBER,
        lambda day: [float(n % 10 + (5 if day == 0 else 0)) for n in range(100)],
        "EUR",
    )
    finding = judged(session)
    assert finding.verdict.state is DriftState.DRIFT
    assert finding.change == "median 4 to 9, 95 % 9 to 14 EUR"
    (stored,) = findings_of(session, session.scalars(sa.text(NEWEST)).one())
    assert stored.change == finding.change
    assert stored.reason.startswith(finding.change)
    alert = session.scalars(sa.select(Alert)).one()
    assert alert.message.startswith("basket of the feature store drifts: median 4 to 9")


NEWEST = "SELECT sweep_id FROM mlops.drift_subjects"


@pytest.mark.parametrize(
    ("data_type", "often", "rarely", "told"),
    [
        (DataType.TEXT, "free", "team", "free 80 % to 20 %"),
        (DataType.TEXT, "a\nb\x1b" + "c" * 90, "team", f"a b\\x1b{'c' * 56} 80 % to 20 %"),
        (DataType.BOOLEAN, True, False, "False 20 % to 80 %"),
    ],
    ids=["names", "texts", "booleans"],
)
def test_names_that_change_places_are_told_in_one_line(
    session: Session, data_type: DataType, often: Value, rarely: Value, told: str
) -> None:
    shares = {True: [rarely] * 80 + [often] * 20, False: [often] * 80 + [rarely] * 20}
    put(session, data_type, lambda day: shares[day == 0])
    finding = judged(session)
    assert (finding.verdict.state, finding.change) == (DriftState.DRIFT, told)


@pytest.mark.parametrize("data_type", [DataType.NUMBER, DataType.TEXT])
def test_what_days_of_the_baseline_do_by_themselves_is_no_drift(
    session: Session, data_type: DataType
) -> None:
    """Each day has a level of its own, and today is as far from the week as any of its days."""
    share = {-7: 10, -6: 60, -5: 20, -4: 70, -3: 15, -2: 50, -1: 30, 0: 65}
    high, low = ("b", "a") if data_type is DataType.TEXT else (2.0, 1.0)
    put(session, data_type, lambda day: [high] * share[day] + [low] * (100 - share[day]))
    verdict = judged(session).verdict
    assert verdict.state is not DriftState.DRIFT
    assert verdict.usual_effect == pytest.approx(0.34, abs=0.05)
    assert verdict.minimum_effect == pytest.approx(2 * verdict.usual_effect)


def test_how_often_values_come_does_not_change_the_verdict(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a window with more values than are looked at, as many of each of its days are."""
    monkeypatch.setattr(features, "MOST_VALUES", 700)
    share = {-7: 10, -6: 60, -5: 20, -4: 70, -3: 15, -2: 50, -1: 30, 0: 65}
    for name, n in (("few", 100), ("many", 2_000)):
        put(
            session,
            DataType.NUMBER,
            lambda day, n=n: [2.0] * (share[day] * n // 100) + [1.0] * (n - share[day] * n // 100),
            name=name,
        )
    job = DetectDrift(current=WindowOf(start=NOON, end=NOON + DAY))
    found = detect(session, job, uuid4()).findings
    few, many = (
        next(one.verdict for one in found if one.metric == name) for name in ("few", "many")
    )
    assert (few.n_baseline, few.n_current) == (700, 100)
    assert (many.n_baseline, many.n_current) == (700, 700)
    assert many.state is few.state is not DriftState.DRIFT
    assert many.usual_effect == pytest.approx(few.usual_effect, abs=0.08)


def test_sizes_of_what_was_drawn_say_so() -> None:
    assert counted_said("basket", 99_999, 40_000) == ""
    assert counted_said("basket", 100_000, 40_000) == " values, at most 100,000 drawn"
    assert counted_said("llm_latency_ms", 5_000_000, 700_000) == ""


def test_one_odd_day_of_the_baseline_hides_nothing(session: Session) -> None:
    rng = np.random.default_rng(3)
    put(
        session,
        DataType.NUMBER,
        lambda day: rng.normal({-4: 50, 0: 14}.get(day, 10), 2, 200).tolist(),
    )
    assert judged(session).verdict.state is DriftState.DRIFT
