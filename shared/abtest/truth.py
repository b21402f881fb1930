"""A test's table as its row in PostgreSQL has it, and the units that it needs."""

from __future__ import annotations

from sqlalchemy.orm import Session

from shared.abtest import publishing
from shared.abtest.assignment import AssignmentTable
from shared.abtest.definition import Rules, Variant
from shared.abtest.exposed import units_that_keep
from shared.abtest.kept import NOBODY_KEPT, Kept
from shared.abtest.slots import SlotTable
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest


def table_of(test: AbTest) -> AssignmentTable:
    """The assignment table, which names the units that keep their variant as the row does."""
    return AssignmentTable(
        test_id=test.id,
        name=test.name,
        version=test.table_version,
        status=AbStatus(test.status),
        variants=tuple(
            Variant.model_validate({k: v for k, v in variant.items() if k != "slots"})
            for variant in test.variants
        ),
        rules=rules_of(test),
        slots=slots_of(test),
        winner=test.winner,
        kept=test.kept or None,
    )


def rules_of(test: AbTest) -> Rules:
    return Rules.model_validate(test.rules)


def slots_of(test: AbTest) -> SlotTable:
    return SlotTable.of_ranges(
        [variant["slots"] for variant in test.variants], test.moved, test.moving
    )


def kept_with(session: Session, test: AbTest, slots: SlotTable) -> Kept:
    """The units that keep their variant when the test has these slots. It reads all exposures."""
    if not (rules_of(test).sticky and (slots.moved or slots.moving)):
        return NOBODY_KEPT
    return units_that_keep(session, test, slots)


def name_of(kept: Kept) -> str:
    """What a row names them by; nothing where there are none."""
    return publishing.kept_digest(kept) or ""
