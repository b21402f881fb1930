"""What a process has shown its units is stored, whatever else it has shown."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared.abtest.enrolment import Enrolment
from shared.abtest.exposed import store_exposures, units_that_keep
from shared.abtest.exposures import Exposure, ExposureBuffer, StickyExposures
from shared.abtest.lifecycle import create
from shared.abtest.truth import slots_of
from shared.database import TenantId
from shared.telemetry.tables import Exposure as ExposureRow
from shared.telemetry.units import unit_digest

TEST_ID = UUID(int=7)


def test_what_can_never_be_stored_keeps_nothing_else_waiting(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    shown = [
        Exposure(TEST_ID, "first", "a\x85", 1, 0.0),
        Exposure(TEST_ID, "second", "b", 2, 0.0),
        Exposure(TEST_ID, "third", "a\x85", 3, 0.0),
    ]
    with caplog.at_level(logging.ERROR):
        assert store_exposures(session, shown) == 1
    assert session.scalars(sa.select(ExposureRow.unit_id)).all() == [unit_digest("second")]
    assert [record.getMessage() for record in caplog.records] == [
        f"A/B test {TEST_ID}: 2 units that met variant 'a\\x85' cannot be stored, and are forgotten"
    ]


def test_units_that_met_a_variant_that_the_test_has_not_are_told_of(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    test = create(session, "prompt", [{"name": n, "weight": 0.5} for n in "ab"], sticky=True)
    shown = [Exposure(test.id, unit, unit, 1, 0.0) for unit in ("a", "b", "token: [redacted]")]
    store_exposures(session, shown)
    kept = units_that_keep(session, test, replace(slots_of(test), moving=((0, 10),)))
    assert sorted(kept.variants) == [0, 1]
    assert "A/B test 'prompt': 1 units met a variant that it has not" in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("SELECT", {}, Exception()), "PostgreSQL is away"),
        (ValueError("of a single exposure"), "what was shown cannot be stored"),
    ],
)
def test_only_of_a_database_that_is_away_it_is_said_that_it_is(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    enrolment = Enrolment(TenantId(uuid4()), "production", StickyExposures(ExposureBuffer()))

    def failing() -> None:
        raise error

    assert [enrolment._try(failing) for _ in range(2)] == [False, False]
    message = f"sticky A/B tests: {told}, they lapse in time: {type(error).__name__}"
    assert [record.getMessage() for record in caplog.records] == [message]
