"""What rollups and what was wrong with events as they came say of a function's data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId
from shared.drift.baselines import EVERY, Baseline, BaselineKind, set_baseline
from shared.drift.quality import QualityCheck, QualityFinding, QualityState
from shared.drift.rollup_quality import Checked, Lost, check_functions
from shared.drift.windows import Subject
from shared.telemetry.arrivals import Arrived, Fault, Faults, count_faults
from shared.telemetry.days import mark_days
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import HISTOGRAMS
from shared.telemetry.reading import Window
from shared.telemetry.tables import ModelPerformance

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = Window(NOW - timedelta(days=1), NOW)
WEEK_BEFORE = Window(NOW - timedelta(days=8), NOW - timedelta(days=1))
SHOP = Subject("shop", "buyer@1")
LOST = {"confidence": 0.0}
UNKNOWN = (QualityState.INSUFFICIENT, QualityState.NO_DATA)
EMPTY = {
    name: 0
    for name, column in ModelPerformance.__table__.columns.items()
    if isinstance(column.type, sa.BigInteger)
}


def put_hours(session: Session, tenant: TenantId, first: int, last: int, **rollup: object) -> None:
    """The same sums in each hour, from `first` to before `last` hours from now, of the shop."""
    fixed = EMPTY | {name.value: b"" for name in HISTOGRAMS} | {"errors_by_type": {}, "names": {}}
    fixed |= {"tenant_id": tenant, "model": SHOP.model, "function": SHOP.function, "variant": ""}
    rows = [fixed | {"hour": NOW + timedelta(hours=h)} | rollup for h in range(first, last)]
    session.execute(sa.insert(ModelPerformance.__table__), rows)
    # Until a day is summed it is read by its hours, also where the window is that day.
    mark_days(session, [NOW + timedelta(hours=h) for h in range(first, last)])


def packed(values: int) -> bytes:
    return Histogram.from_values(list(range(values))).to_bytes()


def wrong(
    session: Session, hours: int, fault: Fault, n: int, field: str = "", late: int = 2
) -> None:
    """So many in each of the last `hours`."""
    for hour in range(1, hours + 1):
        at = NOW - timedelta(hours=hour)
        one = Arrived(fault, SHOP.model, SHOP.function, field, at - timedelta(hours=late))
        count_faults(session, at, Faults({one: n}))


def found_in(session: Session) -> dict[tuple[str | None, str], QualityFinding]:
    checked = check_functions(session, DAY)[SHOP]
    return {(one.column, one.check.value): one for one in checked.findings}


def put_two_weeks(session: Session, tenant: TenantId) -> None:
    usual = {"llm_calls": 20, "actions": 5, "confidence": packed(20), "step_latency_ms": packed(5)}
    put_hours(session, tenant, -8 * 24, -24, **usual, page_loads=1, page_load_ms=packed(1))
    put_hours(session, tenant, -24, 0, **usual)


def test_all_six_checks_are_made_of_a_function(session: Session, tenant: TenantId) -> None:
    put_two_weeks(session, tenant)
    found = found_in(session)
    assert found["confidence", "missing"].state is QualityState.GOOD
    assert found[None, "late"].state is QualityState.GOOD
    assert found[None, "duplicates"].reason.startswith("0 of 600")
    assert found["confidence", "out_of_range"].state is QualityState.GOOD
    assert found["confidence", "constant"].state is QualityState.GOOD
    # There was no page in which anything could be missing.
    assert found["page_load_ms", "missing"].state is QualityState.NO_DATA


def test_a_field_that_is_lost_is_broken(session: Session, tenant: TenantId) -> None:
    put_hours(session, tenant, -8 * 24, -9, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -9, 0, llm_calls=20)
    lost = found_in(session)["confidence", "missing"]
    assert (lost.state, lost.value, lost.baseline) == (QualityState.BROKEN, 9 / 24, 0.0)


@pytest.mark.parametrize("days", [3, 5, 6])
def test_a_field_that_was_lost_before_anybody_looked_is_broken(
    session: Session, tenant: TenantId, days: int
) -> None:
    put_hours(session, tenant, -8 * 24, -days * 24, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -days * 24, 0, llm_calls=20)
    lost = found_in(session)["confidence", "missing"]
    assert (lost.state, lost.value) == (QualityState.BROKEN, 1.0)
    # Whoever set a baseline that is mostly of the loss has said that it is normal.
    set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.FIXED, window=WEEK_BEFORE))
    if days > 3:
        assert found_in(session)["confidence", "missing"].state is not QualityState.BROKEN


def test_a_field_that_is_lost_stays_so_when_its_baseline_has_lost_it(
    session: Session, tenant: TenantId
) -> None:
    put_hours(session, tenant, -10 * 24, -5 * 24, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -5 * 24, 0, llm_calls=20)

    def missing(current: Window, lost: Lost | None) -> list[QualityFinding]:
        found = check_functions(session, current, lost)[SHOP].findings
        return [f for f in found if (f.column, f.check) == ("confidence", QualityCheck.MISSING)]

    told = {SHOP: {"confidence": 0.0}}
    # Half of the week before, or all of it where that is set to be short.
    for hours in (168, 48):
        set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.PREVIOUS, timedelta(hours=hours)))
        (lost,) = missing(DAY, told)
        assert (lost.state, lost.value, lost.baseline) == (QualityState.BROKEN, 1.0, 0.0)
    assert missing(DAY, None) == []
    assert missing(DAY, {SHOP: {"page_load_ms": 0.0}}) == []
    # Where somebody has said what is normal it is that.
    normal = Baseline(BaselineKind.FIXED, window=Window(NOW - timedelta(days=3), DAY.start))
    set_baseline(session, EVERY, EVERY, normal)
    (lost,) = missing(DAY, told)
    assert (lost.state, lost.baseline) == (QualityState.GOOD, 1.0)
    # It is back.
    set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.PREVIOUS, timedelta(days=7)))
    put_hours(session, tenant, 0, 24, llm_calls=20, confidence=packed(20))
    (back,) = missing(Window(NOW, NOW + timedelta(days=1)), told)
    assert (back.state, back.value) == (QualityState.GOOD, 0.0)


def test_what_comes_late_again_or_out_of_range_is_broken_if_it_is_so_for_hours(
    session: Session, tenant: TenantId
) -> None:
    put_two_weeks(session, tenant)
    wrong(session, 24, Fault.LATE, 10, late=30)
    wrong(session, 24, Fault.AGAIN, 5)
    wrong(session, 24, Fault.OUT_OF_RANGE, 5, "llm_call.confidence")
    wrong(session, 24, Fault.OUT_OF_RANGE, 5, "llm_call.cost_dollars")
    # In one hour alone: that is one sender with one mistake.
    wrong(session, 1, Fault.OUT_OF_RANGE, 90, "action.latency_ms")
    found = found_in(session)
    late = found[None, "late"]
    # Of what came: most of it happened in the window, and these before.
    assert (late.state, late.reason.split(";")[0]) == (QualityState.BROKEN, "240 of 840 (28.57%)")
    again = found[None, "duplicates"]
    assert (again.state, again.reason.split(";")[0]) == (QualityState.BROKEN, "120 of 720 (16.67%)")
    for field in ("confidence", "llm_call.cost_dollars"):
        assert found[field, "out_of_range"].reason.startswith("120 of 600 (20.00%)"), field
        assert found[field, "out_of_range"].state is QualityState.BROKEN, field
    assert found["step_latency_ms", "out_of_range"].state is QualityState.WARNING
    assert ("llm_call.cost_dollars", "missing") not in found


def test_a_function_of_which_all_is_refused_is_checked_too(
    session: Session, tenant: TenantId
) -> None:
    wrong(session, 20, Fault.OUT_OF_RANGE, 9, "llm_call.occurred_at")
    found = found_in(session)
    assert found["llm_call.occurred_at", "out_of_range"].state is QualityState.BROKEN
    assert found[None, "late"].state is QualityState.NO_DATA


def test_the_baseline_is_the_one_that_was_set(session: Session, tenant: TenantId) -> None:
    put_hours(session, tenant, -20 * 24, -10 * 24, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -10 * 24, 0, llm_calls=20, quality=packed(20))

    def checked() -> Checked:
        return check_functions(session, DAY)[SHOP]

    assert not checked().set_by_hand
    assert "confidence" not in {one.column for one in checked().findings}
    normal = Window(NOW - timedelta(days=19), NOW - timedelta(days=11))
    set_baseline(session, "shop", "", Baseline(BaselineKind.FIXED, window=normal))
    assert (checked().set_by_hand, checked().baseline) == (True, normal)
    lost = [one for one in checked().findings if one.check is QualityCheck.MISSING]
    assert ("confidence", QualityState.BROKEN) in [(one.column, one.state) for one in lost]


@pytest.mark.parametrize(("first", "last"), [(-40, -20), (-20, -2)])
def test_windows_that_overlap_are_never_good_and_never_broken(
    session: Session, tenant: TenantId, first: int, last: int
) -> None:
    put_hours(session, tenant, -8 * 24, -9, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -9, 0, llm_calls=20)
    overlapping = Window(NOW + timedelta(hours=first), NOW + timedelta(hours=last))
    set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.FIXED, window=overlapping))
    found = found_in(session)
    assert {one.state for one in found.values()} <= set(UNKNOWN)
    lost = found["confidence", "missing"]
    # What was counted is known; what is usual is not.
    assert (lost.value, lost.baseline, lost.reason) == (9 / 24, None, "the windows overlap")


def test_a_baseline_from_later_than_its_window_is_never_good(
    session: Session, tenant: TenantId
) -> None:
    put_two_weeks(session, tenant)
    later = Window(NOW - timedelta(hours=20), NOW)
    set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.FIXED, window=later))
    before = Window(NOW - timedelta(days=3), NOW - timedelta(days=2))
    findings = check_functions(session, before, {SHOP: LOST})[SHOP].findings
    assert {one.state for one in findings} <= set(UNKNOWN)
    assert "the baseline is later than the current window" in {one.reason for one in findings}


def test_after_what_was_accepted_only_what_came_since_is_checked(
    session: Session, tenant: TenantId
) -> None:
    put_hours(session, tenant, -8 * 24, -30, llm_calls=20, confidence=packed(20))
    put_hours(session, tenant, -30, 12, llm_calls=20)
    accepted = Window(NOW - timedelta(hours=24), NOW)
    set_baseline(session, EVERY, EVERY, Baseline(BaselineKind.ACCEPTED, window=accepted))

    def checked(hours: int) -> Checked:
        end = NOW + timedelta(hours=hours)
        return check_functions(session, Window(end - timedelta(days=1), end), {SHOP: LOST})[SHOP]

    soon = checked(5)
    assert {one.state for one in soon.findings} <= set(UNKNOWN)
    assert any(one.reason.startswith("accepted as normal up to") for one in soon.findings)
    later = checked(12)
    assert later.current == Window(NOW, NOW + timedelta(hours=12))
    (lost,) = (one for one in later.findings if one.column == "confidence")
    assert (lost.state, lost.baseline) == (QualityState.GOOD, 1.0)


def test_hours_of_all_that_is_broken_are_asked_for_together(
    session: Session, tenant: TenantId
) -> None:
    def statements(functions: int) -> int:
        for n in range(functions):
            of = {"function": f"{functions} shops, {n}", "llm_calls": 20}
            put_hours(session, tenant, -8 * 24, -12, **of, confidence=packed(20))
            put_hours(session, tenant, -12, 0, **of)
        made: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            made.append(statement)

        sa.event.listen(session.connection(), "before_cursor_execute", note)
        found = check_functions(session, DAY)
        sa.event.remove(session.connection(), "before_cursor_execute", note)
        states = [one.state for checked in found.values() for one in checked.findings]
        assert states.count(QualityState.BROKEN) == len(found)
        return len(made)

    assert statements(1) == statements(4)


def test_a_window_of_few_holds_what_is_read_of_them_alone(
    session: Session, tenant: TenantId
) -> None:
    for function in ("shop", "search", "cart", "pay"):
        of = {"function": function, "llm_calls": 20, "variant": "a"}
        put_hours(session, tenant, -9 * 24, -12, **of, confidence=packed(20))
        put_hours(session, tenant, -12, 0, **of, quality=packed(20))
        put_hours(session, tenant, -9 * 24, 0, **of | {"variant": "b", "llm_calls": 1})
    together = check_functions(session, DAY)
    alone = check_functions(session, DAY, function="shop", model=SHOP.model)
    assert alone == {SHOP: together[SHOP]}
    lost = {one.check: one for one in alone[SHOP].findings if one.column == "confidence"}
    assert lost[QualityCheck.MISSING].reason.startswith("264 of 504")
    assert lost[QualityCheck.MISSING].state is QualityState.BROKEN
