"""Which variant of a function answers whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from shared.abtest.exposed import store_exposures
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.serving import load_test
from shared.abtest.states import AbTestError
from shared.functions.definition import FunctionDefinition, FunctionError
from shared.telemetry.units import UnitError, unit_bytes


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


SCALARS: Final = (str, int, float)
"Truth values are whole numbers to Python."

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


def assign_variant(
    session: Session, definition: FunctionDefinition, unit: Unit, context: Mapping[str, Any]
) -> Assigned:
    """The variant of `unit` by the function's test, to which it is exposed by it, or the test's
    winner once there is one; the function's first one while no test decides.

    What the context says in text, numbers or truth values are the attributes that the test targets
    by. Raises `FunctionError` for a unit that cannot be one, and where the test has a variant that
    the function has not.
    """
    try:
        unit_bytes(unit.id)
    except UnitError as error:
        raise FunctionError(str(error)) from None
    first = definition.variants[0].name
    if definition.test is None:
        return Assigned(first, NO_TEST, by_test=False)
    name, exposures = definition.test.test, ExposureBuffer()
    try:
        test = load_test(session, name, definition.test.environment, exposures=exposures)
    except AbTestError as error:
        return Assigned(first, str(error), by_test=False)
    known = {name: said for name, said in context.items() if isinstance(said, SCALARS)}
    given = test.assign(unit.id, known)
    if given.variant is None:
        return Assigned(first, f"test {name}: {given.reason}", by_test=False)
    chosen = definition.variant(given.variant.name).name
    exposures.drain(partial(store_exposures, session))
    why = f"test {name}" if given.in_test else f"test {name}: {given.reason}"
    return Assigned(chosen, why, by_test=given.in_test)
