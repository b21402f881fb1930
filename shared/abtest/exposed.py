"""The units that a test has shown a variant, as PostgreSQL knows them."""

from __future__ import annotations

import logging
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.exposures import Exposure as Shown
from shared.abtest.hashing import SLOTS
from shared.abtest.kept import Kept, keeps
from shared.abtest.slots import SlotTable, slots_in
from shared.abtest.tables import AbTest
from shared.redaction import redacted_name
from shared.telemetry.events import ExposureEvent
from shared.telemetry.exposures import expose
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest

log = logging.getLogger(__name__)

PARTS_AT_ONCE: Final = 16
"Of 256, which are as large as each other: so many are in memory twice."

# A byte for each slot: of whom a unit there keeps its variant, unless it is this one's position.
_NOBODY_KEEPS: Final = 254
_ALL_KEEP: Final = 253


def units_that_keep(session: Session, test: AbTest, slots: SlotTable) -> Kept:
    """Of all units that have met a variant of the test those that `keeps` says keep it.

    PostgreSQL picks, orders and packs them, 9 bytes for each, so that of ten million units none
    becomes an object here. Units that are said to have met a variant that the test has not are told
    of in the log.
    """
    names = [variant["name"] for variant in test.variants]
    asked = {
        "test": test.id,
        "names": names,
        "positions": bytes(range(len(names))),
        "slots": _codes(slots),
        "nobody": _NOBODY_KEEPS,
        "all": _ALL_KEEP,
    }
    units, variants, unknown = array("Q"), bytearray(), 0
    rows = session.execute(_THAT_KEEP, asked, execution_options={"yield_per": PARTS_AT_ONCE})
    for row in rows:
        units.frombytes(row.units or b"")
        variants += row.variants or b""
        unknown += row.unknown
    if unknown:
        log.warning(
            "A/B test %r: %d units met a variant that it has not, and keep none", test.name, unknown
        )
    if sys.byteorder == "little":
        units.byteswap()
    return Kept(units, bytes(variants))


@dataclass(frozen=True)
class Remembered:
    """Whether a unit keeps its variant, asked of its one exposure while the session lasts."""

    session: Session
    test_id: UUID
    names: Sequence[str]
    slots: SlotTable

    def variant_of(self, unit_id: str) -> int | None:
        """As `Keeping` has it."""
        if not self.session.in_transaction():
            raise RuntimeError("a test loaded in a transaction assigns until that has ended")
        met = self.session.execute(
            sa.select(Exposure.slot, Exposure.variant).where(
                Exposure.test_id == self.test_id, Exposure.unit_id == unit_digest(unit_id)
            )
        ).one_or_none()
        if met is None or met.slot is None or met.variant not in self.names:
            return None
        position = self.names.index(met.variant)
        return position if keeps(self.slots, met.slot, position) else None


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


def _codes(table: SlotTable) -> bytes:
    """Whose units in a slot do not keep their variant, for all slots."""
    codes = bytearray([_NOBODY_KEEPS]) * SLOTS
    for slot in slots_in(table.moved):
        codes[slot] = table.owners[slot]
    for slot in slots_in(table.moving):
        codes[slot] = _ALL_KEEP
    return bytes(codes)


# What is sent is ordered by the first byte of a unit's digest, then by the unit.
_THAT_KEEP: Final = sa.text(
    """
    WITH met AS (
        SELECT unit_id, array_position(CAST(:names AS text[]), variant) AS variant,
            get_byte(CAST(:slots AS bytea), CAST(slot AS integer)) AS slot
        FROM mlops.exposures WHERE test_id = :test AND slot IS NOT NULL
    )
    SELECT get_byte(uuid_send(unit_id), 0) AS part,
        string_agg(substr(uuid_send(unit_id), 1, 8), '' ORDER BY unit_id)
            FILTER (WHERE variant IS NOT NULL) AS units,
        string_agg(substr(CAST(:positions AS bytea), variant, 1), '' ORDER BY unit_id)
            FILTER (WHERE variant IS NOT NULL) AS variants,
        count(*) FILTER (WHERE variant IS NULL) AS unknown
    FROM met
    WHERE slot <> :nobody AND (variant IS NULL OR slot = :all OR slot <> variant - 1)
    GROUP BY part ORDER BY part
    """
)
