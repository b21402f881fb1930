"""The units that a test has shown a variant, as PostgreSQL knows them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.abtest.exposures import Exposure as Shown
from shared.abtest.kept import Met
from shared.abtest.slots import Ranges, slots_in
from shared.abtest.tables import AbTest
from shared.redaction import redacted_name
from shared.telemetry.events import ExposureEvent
from shared.telemetry.exposures import expose
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest

log = logging.getLogger(__name__)


def exposed_units(session: Session, test: AbTest, ranges: Ranges) -> Iterator[Met]:
    """Each unit in these slots that has met a variant of the test, with the one it met first.

    Units that are said to have met a variant that the test has not are told of in the log.
    """
    names, unknown = {variant["name"] for variant in test.variants}, 0
    slots = sa.literal(sorted(slots_in(ranges)), ARRAY(sa.BigInteger))
    rows = session.execute(
        sa.select(Exposure.unit_id, Exposure.slot, Exposure.variant).where(
            Exposure.test_id == test.id, Exposure.slot == sa.any_(slots)
        )
    )
    for unit_id, slot, variant in rows:
        # A unit of which nobody knows the slot is in none of these.
        assert slot is not None
        unknown += variant not in names
        yield Met(unit_id, slot, variant)
    if unknown:
        log.warning(
            "A/B test %r: %d units met a variant that it has not, and keep none", test.name, unknown
        )


def store_exposures(session: Session, shown: Sequence[Shown]) -> int:
    """Store what a process has shown its units; how many of them had been shown nothing before.

    What can never be stored, as that of a variant whose name no event may have, is left out and
    told of in the log: it must not keep the others waiting.
    """
    events, refused = [], Counter[tuple[UUID, str]]()
    for one in shown:
        try:
            events.append(exposure_event(one))
        except ValueError:
            refused[one.test_id, one.variant] += 1
    for (test_id, variant), units in refused.items():
        log.error(
            "A/B test %s: %d units that met variant %r cannot be stored, and are forgotten",
            test_id,
            units,
            redacted_name(variant),
        )
    return expose(session, events) if events else 0


def exposure_event(shown: Shown) -> ExposureEvent:
    """Raises `ValueError` where there is no such event."""
    return ExposureEvent(
        event_id=uuid4(),
        occurred_at=datetime.fromtimestamp(shown.at, UTC),
        test_id=shown.test_id,
        unit_id=unit_digest(shown.unit_id),
        variant=shown.variant,
        slot=shown.slot,
    )
