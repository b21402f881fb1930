"""Which variant of a function answers whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from shared.abtest.assignment import LONGEST_UNIT_ID, AssignmentError, assign
from shared.abtest.lifecycle import AbTestError, load_table
from shared.evaluation.protocol import storable
from shared.functions.definition import FunctionDefinition, FunctionError


class UnitFrom(StrEnum):
    """Where the unit of an assignment comes from."""

    GIVEN = "given"
    CONVERSATION = "conversation_id"
    USER = "user_id"
    CALL = "call"
    "Nobody said whose call it is: it is a unit of its own, and the next may get another variant."


@dataclass(frozen=True)
class Unit:
    id: str
    origin: UnitFrom


@dataclass(frozen=True)
class Assigned:
    """The variant of a unit. `why` says who decided."""

    variant: str
    why: str
    by_test: bool


NO_TEST: Final = "the function has no test: all get its first variant"


def unit_of(unit_id: str | None, context: Mapping[str, Any], call: UUID) -> Unit:
    """The unit that is given, else the context's conversation or user, else the call itself."""
    if unit_id is not None:
        return Unit(unit_id, UnitFrom.GIVEN)
    for origin in (UnitFrom.CONVERSATION, UnitFrom.USER):
        said = context.get(origin.value)
        if isinstance(said, str | int) and not isinstance(said, bool) and said != "":
            return Unit(str(said), origin)
    return Unit(str(call), UnitFrom.CALL)


def assign_variant(session: Session, definition: FunctionDefinition, unit: Unit) -> Assigned:
    """The variant of `unit` by the function's test; its first one while no test decides.

    Raises `FunctionError` for a unit that cannot be one, and where the test has a variant that the
    function has not.
    """
    if not 1 <= len(unit.id) <= LONGEST_UNIT_ID or storable(unit.id) != unit.id:
        raise FunctionError(
            f"unit {unit.id[:40]!r} of {len(unit.id)} characters: it must be 1 to"
            f" {LONGEST_UNIT_ID} characters without NUL and halves of surrogate pairs"
        )
    first = definition.variants[0].name
    if definition.test is None:
        return Assigned(first, NO_TEST, by_test=False)
    try:
        table = load_table(session, definition.test.test, definition.test.environment)
        chosen = assign(table, unit.id).name
    except AbTestError as error:
        return Assigned(first, str(error), by_test=False)
    except AssignmentError as error:
        raise FunctionError(str(error)) from None
    return Assigned(definition.variant(chosen).name, f"test {definition.test.test}", by_test=True)
