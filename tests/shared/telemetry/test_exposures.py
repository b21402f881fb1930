"""Exposures: one row for each test and unit, however often and in what order it is told."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.telemetry.events import ExposureEvent, LlmCallEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.tables import EventRow, Exposure, UnitEvent
from shared.telemetry.units import UnitError, unit_digest

NOW = datetime.now(UTC)
TEST = uuid4()


def exposure(unit: str, variant: str = "new", minutes: int = 0, test: UUID = TEST) -> ExposureEvent:
    return ExposureEvent(
        event_id=uuid4(),
        occurred_at=NOW + timedelta(minutes=minutes),
        test_id=test,
        unit_id=unit_digest(unit),
        variant=variant,
    )


def call(unit: str | None) -> LlmCallEvent:
    return LlmCallEvent(
        event_id=uuid4(), occurred_at=NOW, unit_id=None if unit is None else unit_digest(unit)
    )


def free(_: LlmCallEvent) -> CallCost:
    return CallCost(0, "a price")


def known(session: Session) -> list[tuple[UUID, str, bool]]:
    rows = session.scalars(sa.select(Exposure).order_by(Exposure.exposed_at, Exposure.unit_id))
    return [(row.unit_id, row.variant, row.mixed) for row in rows]


def test_a_unit_is_exposed_once_however_often_it_is_told(session: Session) -> None:
    once = store(session, [exposure("ann"), exposure("ann", minutes=1)], free)
    assert (once.stored, once.duplicates) == (1, 1)
    again = store(session, [exposure("ann", minutes=2), exposure("bob", minutes=3)], free)
    assert (again.stored, again.duplicates) == (1, 1)
    assert known(session) == [
        (unit_digest("ann"), "new", False),
        (unit_digest("bob"), "new", False),
    ]
    assert session.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 0


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
def test_the_earliest_time_holds_in_whatever_order_it_is_told(
    tenant: TenantId, order: tuple[int, ...]
) -> None:
    for minutes in order:
        with tenant_session(tenant) as session:
            store(session, [exposure("ann", minutes=minutes)], free)
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(Exposure.exposed_at)).one() == NOW


def test_what_says_nothing_new_is_no_news(session: Session) -> None:
    store(session, [exposure("ann")], free)
    session.execute(sa.update(Exposure).values(changed=False))
    store(session, [exposure("ann", minutes=1)], free)
    assert session.scalars(sa.select(Exposure.changed)).one() is False
    store(session, [exposure("ann", minutes=-1)], free)
    assert session.scalars(sa.select(Exposure.changed)).one() is True


@pytest.mark.parametrize("together", [True, False])
def test_a_unit_with_two_variants_is_mixed_for_good(session: Session, together: bool) -> None:
    told = [exposure("ann", "old"), exposure("ann", "new", minutes=1)]
    for batch in [told] if together else [[one] for one in told]:
        store(session, batch, free)
    store(session, [exposure("ann", "old", minutes=2)], free)
    assert known(session) == [(unit_digest("ann"), "old", True)]


def test_tests_and_tenants_have_exposures_of_their_own(session: Session, services: object) -> None:
    store(session, [exposure("ann", "new"), exposure("ann", "old", test=uuid4())], free)
    assert sorted(variant for _, variant, _ in known(session)) == ["new", "old"]


def test_events_of_units_wait_to_be_summed_and_others_do_not(session: Session) -> None:
    ended = TaskEndEvent(
        event_id=uuid4(), occurred_at=NOW, success=True, unit_id=unit_digest("ann")
    )
    of_unit, of_nobody = call("ann"), call(None)
    counts = store(session, [of_unit, of_nobody, ended, exposure("ann")], free)
    assert (counts.stored, counts.duplicates) == (4, 0)
    # What is stored already waits no second time.
    store(session, [of_unit], free)
    assert set(session.scalars(sa.select(UnitEvent.event_id))) == {of_unit.event_id, ended.event_id}
    units = session.scalars(sa.select(EventRow.unit_id).where(EventRow.unit_id.is_not(None)))
    assert set(units) == {unit_digest("ann")}


@given(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=999
    )
)
def test_units_that_differ_have_digests_that_differ(unit_id: str) -> None:
    assert unit_digest(unit_id) == unit_digest("".join(unit_id))
    assert unit_digest(unit_id) != unit_digest(unit_id + "x")


def test_a_digest_stays_what_it_was() -> None:
    # Of stored exposures: `b2sum -l 128` of "ann".
    assert unit_digest("ann").hex == "d8963d899008cf8c05369be7b9042715"


@pytest.mark.parametrize(
    ("unit_id", "said"),
    [
        ("", "unit id '' of 0 characters: it must be 1 to 1000 characters without NUL"),
        ("x" * 10**6, "of 1000000 characters"),
        ("a\0b", "without NUL"),
        ("\ud800", "which UTF-8 can hold"),
        (7, "unit id '7' is no text but int"),
    ],
)
def test_what_is_no_identifier_is_refused_in_one_line(unit_id: str, said: str) -> None:
    with pytest.raises(UnitError, match=said) as refused:
        unit_digest(unit_id)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
