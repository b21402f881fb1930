"""The units that a test has shown a variant, as PostgreSQL knows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.abtest.exposures import Exposure as Shown
from shared.abtest.kept import Met
from shared.abtest.slots import Ranges, slots_in
from shared.abtest.tables import AbTest
from shared.telemetry.events import ExposureEvent
from shared.telemetry.exposures import expose
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest


def exposed_units(session: Session, test: AbTest, ranges: Ranges) -> Iterator[Met]:
    """Each unit in these slots that has met a variant of the test, with the one it met first."""
    slots = sa.literal(sorted(slots_in(ranges)), ARRAY(sa.BigInteger))
    rows = session.execute(
        sa.select(Exposure.unit_id, Exposure.slot, Exposure.variant).where(
            Exposure.test_id == test.id, Exposure.slot == sa.any_(slots)
        )
    )
    for unit_id, slot, variant in rows:
        # A unit of which nobody knows the slot is in none of these.
        assert slot is not None
        yield Met(unit_id, slot, variant)


def store_exposures(session: Session, shown: Sequence[Shown]) -> int:
    """Store what a process has shown its units; how many of them had been shown nothing before."""
    return expose(session, [exposure_event(one) for one in shown]) if shown else 0


def exposure_event(shown: Shown) -> ExposureEvent:
    return ExposureEvent(
        event_id=uuid4(),
        occurred_at=datetime.fromtimestamp(shown.at, UTC),
        test_id=shown.test_id,
        unit_id=unit_digest(shown.unit_id),
        variant=shown.variant,
        slot=shown.slot,
    )
