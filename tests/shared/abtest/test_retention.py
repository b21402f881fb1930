"""Units of tests that ended long ago go, and what their verdicts rest on stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest import lifecycle, retention
from shared.abtest.retention import forget_old_units
from shared.abtest.tables import AbTest, AbUnit
from shared.abtest.unit_analysis import judge_units
from shared.abtest.unit_sums import sum_units
from shared.database import TenantId, tenant_session
from shared.telemetry.events import Event, ExposureEvent, TaskEndEvent
from shared.telemetry.ingestion import CallCost, store
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import AuditEntry

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
LATER = NOW + YEAR + timedelta(hours=1)
SPLIT = [{"name": "control", "weight": 0.5}, {"name": "new", "weight": 0.5}]


def send(session: Session, *events: Event) -> None:
    store(session, events, lambda _: CallCost(None, "none"))


def exposed(test: UUID, unit: str, variant: str) -> ExposureEvent:
    return ExposureEvent(
        event_id=uuid4(),
        occurred_at=NOW - timedelta(minutes=5),
        test_id=test,
        unit_id=unit_digest(unit),
        variant=variant,
    )


def ended(unit: str) -> TaskEndEvent:
    return TaskEndEvent(event_id=uuid4(), occurred_at=NOW, unit_id=unit_digest(unit), success=True)


def rows(session: Session, test: UUID) -> tuple[int, int]:
    """(units, exposures)."""
    counts = (
        session.scalar(sa.select(sa.func.count()).select_from(table).where(table.test_id == test))
        for table in (AbUnit, Exposure)
    )
    return tuple(counts)


@pytest.fixture
def test_id(tenant: TenantId, clean_redis: object) -> Iterator[UUID]:
    """A running test with 30 units of each variant, and one that was given both."""
    with tenant_session(tenant) as session:
        lifecycle.create(session, "prompt", SPLIT)
        test = lifecycle.start(session, "prompt")
        told: list[Event] = []
        for number in range(60):
            variant = "new" if number % 2 else "control"
            told += exposed(test.id, f"u{number}", variant), ended(f"u{number}")
        told += (exposed(test.id, "both", variant) for variant in ("control", "new"))
        send(session, *told)
        sum_units(session)
        made = test.id
    return made


def stop(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        lifecycle.stop(session, "prompt")


def test_units_go_a_year_after_the_end_and_the_verdict_stays(
    tenant: TenantId, test_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "UNITS_AT_ONCE", 7)
    stop(tenant)
    assert forget_old_units(LATER - timedelta(days=2), YEAR, [tenant]) == 0
    with tenant_session(tenant) as session:
        before = judge_units(session, lifecycle.find(session, "prompt"), NOW)
        assert rows(session, test_id) == (61, 61)
    assert forget_old_units(LATER, YEAR, [tenant]) == 122
    with tenant_session(tenant) as session:
        assert rows(session, test_id) == (0, 0)
        assert judge_units(session, lifecycle.find(session, "prompt"), NOW) == before
        assert before.verdict.startswith("1 of 61 units were given two variants")
        said = session.execute(
            sa.select(AuditEntry.subject, AuditEntry.details["kept_days"]).where(
                AuditEntry.action == "ab_test.units_removed"
            )
        ).all()
    assert said == [("production/prompt", 365)]
    assert forget_old_units(LATER, YEAR, [tenant]) == 0


@pytest.mark.parametrize("move", [None, lifecycle.pause])
def test_a_test_that_has_not_ended_is_left_alone(
    tenant: TenantId, test_id: UUID, move: object
) -> None:
    if callable(move):
        with tenant_session(tenant) as session:
            move(session, "prompt")
    assert forget_old_units(LATER + 9 * YEAR, YEAR, [tenant]) == 0


def test_nothing_goes_while_something_waits_to_be_summed(tenant: TenantId, test_id: UUID) -> None:
    with tenant_session(tenant) as session:
        send(session, ended("u1"))
    stop(tenant)
    assert forget_old_units(LATER, YEAR, [tenant]) == 0
    with tenant_session(tenant) as session:
        sum_units(session)
        send(session, exposed(test_id, "late", "new"))
    assert forget_old_units(LATER, YEAR, [tenant]) == 0
    with tenant_session(tenant) as session:
        sum_units(session)
    assert forget_old_units(LATER, YEAR, [tenant]) == 124


def test_a_unit_that_is_gone_is_not_counted_again(tenant: TenantId, test_id: UUID) -> None:
    stop(tenant)
    forget_old_units(LATER, YEAR, [tenant])
    with tenant_session(tenant) as session:
        before = judge_units(session, lifecycle.find(session, "prompt"), NOW)
        send(session, exposed(test_id, "u1", "new"), ended("u1"))
        sum_units(session)
        assert judge_units(session, lifecycle.find(session, "prompt"), NOW) == before
        assert rows(session, test_id) == (0, 1)
    # What comes late goes as well.
    assert forget_old_units(LATER, YEAR, [tenant]) == 1


def test_no_unit_of_another_test_can_be_removed(tenant: TenantId, test_id: UUID) -> None:
    with tenant_session(tenant) as session:
        for table in (AbUnit, Exposure):
            session.execute(sa.delete(table))
        assert rows(session, test_id) == (61, 61)
        assert session.scalar(sa.select(AbTest.units_removed_at)) is None
