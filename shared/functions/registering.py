"""Storing versions of functions, finding and removing them. Each change leaves an audit row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.abtest.lifecycle import find as find_test
from shared.abtest.states import AbTestError
from shared.database import tenant_of
from shared.evaluation.agents.keys import KeyNotAllowedError, check_key_may_go
from shared.functions.definition import (
    LONGEST_NAME,
    FunctionDefinition,
    FunctionError,
    UnknownFunctionError,
    parse,
)
from shared.functions.tables import FunctionRow
from shared.tenancy.tenants import audit

_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock("
    "hashtextextended('mlops.llm_functions ' || current_setting('app.tenant') || :name, 0))"
)
_MOST_TOLD: Final = 10


@dataclass(frozen=True)
class Registered:
    """A version of a function, as it is stored."""

    definition: FunctionDefinition
    version: int
    created_at: datetime

    @property
    def key(self) -> str:
        return f"{self.definition.name}@{self.version}"


def create(session: Session, definition: FunctionDefinition) -> Registered:
    """Store a function as its next version; the same as its newest one again returns that one.

    Raises `FunctionError` for a test that is not there or has other variants, and for a key that
    the operator does not let go to its endpoint.
    """
    for variant in definition.variants:
        try:
            check_key_may_go(variant.api_key_env, variant.base_url)
        except KeyNotAllowedError as error:
            raise FunctionError(f"variant {variant.name!r}: {error}") from None
    _check_test(session, definition)
    # Of two that create at once the second sees the first's version.
    session.execute(_ONE_AT_A_TIME, {"name": definition.name})
    newest = session.scalar(_versions(definition.name).limit(1))
    if newest is not None and newest.removed_at is None and newest.digest == definition.digest:
        return _registered(newest)
    row = FunctionRow(
        tenant_id=tenant_of(session),
        name=definition.name,
        version=1 if newest is None else newest.version + 1,
        definition=definition.model_dump(mode="json"),
        digest=definition.digest,
    )
    session.add(row)
    session.flush()
    audit(
        session,
        "function.create",
        f"{row.name}@{row.version}",
        {"digest": row.digest, "variants": [one.name for one in definition.variants]},
    )
    return _registered(row)


def find(session: Session, name: str) -> Registered:
    """The newest version, or the one of `name@version`. Raises `UnknownFunctionError`."""
    plain, at, number = name.partition("@")
    found = None
    if "\x00" not in name and (not at or _is_a_version(number)):
        query = _versions(plain).where(FunctionRow.removed_at.is_(None))
        if at:
            query = query.where(FunctionRow.version == int(number))
        found = session.scalar(query.limit(1))
    if found is None:
        known = [one.definition.name for one in functions(session)]
        raise UnknownFunctionError(f"no function {name[:200]!r}; {_there_is(plain, known)}")
    return _registered(found)


def functions(session: Session) -> Sequence[Registered]:
    """The newest version of every function that was not removed, by name."""
    rows = session.scalars(
        sa.select(FunctionRow)
        .ext(distinct_on(FunctionRow.name))
        .where(FunctionRow.removed_at.is_(None))
        .order_by(FunctionRow.name, FunctionRow.version.desc())
    )
    return [_registered(row) for row in rows]


def remove(session: Session, name: str) -> int:
    """Let a function be asked no more, and say how many versions it had.

    What it has answered stays in the telemetry. Raises `UnknownFunctionError`.
    """
    found = find(session, name)
    if "@" in name:
        raise FunctionError(f"a function is removed with all versions: {found.definition.name}")
    session.execute(_ONE_AT_A_TIME, {"name": name})
    removed = session.scalars(
        sa.update(FunctionRow)
        .where(FunctionRow.name == name, FunctionRow.removed_at.is_(None))
        .values(removed_at=sa.func.now())
        .returning(FunctionRow.version)
    ).all()
    audit(session, "function.remove", name, {"versions": sorted(removed)})
    return len(removed)


def _there_is(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:LONGEST_NAME], known, n=3)
    # Where the name is there, it is the version that is not.
    if near and name not in known:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return "there is: " + (
        ", ".join(known[:_MOST_TOLD]) + (", ..." if len(known) > _MOST_TOLD else "") or "none yet"
    )


def _check_test(session: Session, definition: FunctionDefinition) -> None:
    if definition.test is None:
        return
    try:
        test = find_test(session, definition.test.test, definition.test.environment)
    except AbTestError as error:
        raise FunctionError(f"test: {error}") from None
    own = {variant.name for variant in definition.variants}
    others = sorted(one["name"] for one in test.variants if one["name"] not in own)
    if others:
        raise FunctionError(
            f"test {test.name!r} has variants that the function has not: {', '.join(others)}"
        )


def _versions(name: str) -> sa.Select[FunctionRow]:
    return (
        sa.select(FunctionRow).where(FunctionRow.name == name).order_by(FunctionRow.version.desc())
    )


def _is_a_version(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _registered(row: FunctionRow) -> Registered:
    return Registered(parse(row.definition), row.version, row.created_at)
