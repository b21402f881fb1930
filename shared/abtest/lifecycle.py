"""A test from its creation to its end. PostgreSQL is the truth, Redis serves the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.abtest import publishing
from shared.abtest.assignment import AssignmentTable, Variant
from shared.abtest.slots import SlotError, SlotTable, allocate, reallocate
from shared.abtest.tables import AbTest
from shared.database import tenant_of
from shared.jobs.contracts import one_line
from shared.registry.models import RegistryError, key, resolve
from shared.tenancy.tenants import audit

FEWEST_VARIANTS: Final = 2
MOST_VARIANTS: Final = 100
LONGEST_NAME: Final = 200


class AbTestError(ValueError):
    """A test is not there, or cannot be changed like this; the message is one line."""


class AbStatus(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"


class WantedVariant(BaseModel):
    """A variant as its author writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
    weight: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    model: str
    "A registered model, `name@version` or `name` for the version that is the newest now."


def create(
    session: Session,
    name: str,
    variants: Sequence[Mapping[str, Any]],
    *,
    environment: str = "production",
    success_metric: str = "success",
) -> AbTest:
    """Store a test as a draft. The models of its variants are pinned to their versions.

    Raises `AbTestError` for a name that is taken, for variants whose names repeat or whose weights
    do not sum to 1, and for a model that is not registered.
    """
    for what, value in (("name", name), ("environment", environment)):
        if not 1 <= len(value) <= LONGEST_NAME or not value.isprintable():
            raise AbTestError(
                f"{what} {value[:LONGEST_NAME]!r} must be 1 to {LONGEST_NAME} printable characters"
            )
    if success_metric != "success":
        raise AbTestError(f"success metric {success_metric[:100]!r}: there is only 'success'")
    if ":" in environment:
        raise AbTestError(f"environment {environment!r} has a colon, which parts the keys in Redis")
    wanted = _variants(variants)
    table = _allocated(lambda: allocate([variant.weight for variant in wanted]))
    stored = _stored(wanted, [_pinned(session, variant) for variant in wanted], table)
    created = session.scalar(
        insert(AbTest)
        .values(
            tenant_id=tenant_of(session),
            environment=environment,
            name=name,
            status=AbStatus.DRAFT,
            success_metric=success_metric,
            variants=stored,
            table_version=1,
        )
        .on_conflict_do_nothing()
        .returning(AbTest.id)
    )
    if created is None:
        raise AbTestError(f"there is a test {name!r} in {environment!r} already")
    audit(session, "ab_test.create", _subject(environment, name), {"variants": stored})
    test = find(session, name, environment)
    publishing.publish_after_commit(session, environment, name, table_of(test))
    return test


def find(session: Session, name: str, environment: str = "production") -> AbTest:
    """The test of that name; raises `AbTestError` when there is none."""
    return _found(session, name, environment, sa.select(AbTest))


def start(session: Session, name: str, environment: str = "production") -> AbTest:
    """Let a draft assign units. One that runs stays as it is; a stopped one cannot run again."""
    return _move(session, name, environment, AbStatus.RUNNING, from_=AbStatus.DRAFT)


def stop(session: Session, name: str, environment: str = "production") -> AbTest:
    """Let a running test assign no more, for good. One that is stopped stays as it is."""
    return _move(session, name, environment, AbStatus.STOPPED, from_=AbStatus.RUNNING)


def change_weights(
    session: Session, name: str, weights: Mapping[str, float], environment: str = "production"
) -> AbTest:
    """Give all variants new weights, by name; only the slots move that must."""
    test = _locked(session, name, environment)
    if test.status == AbStatus.STOPPED:
        raise AbTestError(f"test {name!r} in {environment!r} is stopped: its weights are history")
    names = [variant["name"] for variant in test.variants]
    if set(weights) != set(names):
        raise AbTestError(f"weights for {sorted(weights)}; this test's variants are {names}")
    wanted = _variants([{**variant, "weight": weights[variant["name"]]} for variant in _bare(test)])
    slots = table_of(test).slots
    moved = _allocated(lambda: reallocate(slots, [variant.weight for variant in wanted]))
    test.variants = _stored(wanted, [variant.model for variant in wanted], moved)
    return _changed(session, test, "ab_test.weights", {"weights": dict(weights)})


def table_of(test: AbTest) -> AssignmentTable:
    """The assignment table as PostgreSQL has it."""
    ranges = sorted(
        (end, owner) for owner, variant in enumerate(test.variants) for _, end in variant["slots"]
    )
    return AssignmentTable(
        test_id=test.id,
        version=test.table_version,
        status=test.status,
        # GrowthBook's default seed is the key of the experiment.
        seed=test.name,
        variants=tuple(Variant(**variant) for variant in _bare(test)),
        slots=SlotTable(tuple(end for end, _ in ranges), tuple(owner for _, owner in ranges)),
    )


def load_table(session: Session, name: str, environment: str = "production") -> AssignmentTable:
    """The table of a running test, from Redis; published again when Redis lost it or is behind.

    Raises `AbTestError` when there is no such test or it does not run. While Redis is away the
    table is PostgreSQL's, which is the same one.
    """
    truth = table_of(find(session, name, environment))
    table = publishing.fetch(tenant_of(session), environment, name, truth)
    # What Redis serves may be newer than what this transaction sees.
    if table.status != AbStatus.RUNNING:
        advice = "start it first" if table.status == AbStatus.DRAFT else "it assigns no more"
        raise AbTestError(f"test {name!r} in {environment!r} is {table.status}: {advice}")
    return table


def _move(
    session: Session, name: str, environment: str, to: AbStatus, *, from_: AbStatus
) -> AbTest:
    test = _locked(session, name, environment)
    if test.status == to:
        return test
    if test.status != from_:
        raise AbTestError(
            f"test {name!r} in {environment!r} is {test.status}; only a {from_} test becomes {to}"
        )
    test.status = to
    return _changed(session, test, f"ab_test.{to}", {})


def _changed(session: Session, test: AbTest, action: str, details: Mapping[str, Any]) -> AbTest:
    test.table_version += 1
    session.flush()
    audit(
        session,
        action,
        _subject(test.environment, test.name),
        {**details, "table_version": test.table_version},
    )
    publishing.publish_after_commit(session, test.environment, test.name, table_of(test))
    return test


def _locked(session: Session, name: str, environment: str) -> AbTest:
    query = sa.select(AbTest).with_for_update().execution_options(populate_existing=True)
    return _found(session, name, environment, query)


def _found(session: Session, name: str, environment: str, query: sa.Select[AbTest]) -> AbTest:
    found = (
        session.scalar(query.where(AbTest.name == name, AbTest.environment == environment))
        if "\x00" not in name + environment
        else None
    )
    if found is None:
        known = session.scalars(sa.select(AbTest.name).where(AbTest.environment == environment))
        there = ", ".join(sorted(known)[:10]) or "none"
        raise AbTestError(
            f"no A/B test {name[:LONGEST_NAME]!r} in {environment[:LONGEST_NAME]!r};"
            f" there is: {there}"
        )
    return found


def _variants(variants: Sequence[Mapping[str, Any]]) -> list[WantedVariant]:
    if not FEWEST_VARIANTS <= len(variants) <= MOST_VARIANTS:
        raise AbTestError(
            f"{len(variants)} variants; a test has {FEWEST_VARIANTS} to {MOST_VARIANTS}"
        )
    wanted = []
    for position, variant in enumerate(variants, start=1):
        try:
            wanted.append(WantedVariant.model_validate(dict(variant)))
        except ValidationError as error:
            raise AbTestError(f"variant {position}: {one_line(error)}") from None
    names = [variant.name for variant in wanted]
    for name in names:
        if names.count(name) > 1:
            raise AbTestError(f"two variants are named {name!r}; names must be distinct")
    return wanted


def _pinned(session: Session, variant: WantedVariant) -> str:
    try:
        return key(resolve(session, variant.model))
    except RegistryError as error:
        raise AbTestError(f"variant {variant.name!r}: {error}") from None


def _allocated(make: Callable[[], SlotTable]) -> SlotTable:
    try:
        return make()
    except SlotError as error:
        raise AbTestError(str(error)) from None


def _stored(
    wanted: Sequence[WantedVariant], models: Sequence[str], table: SlotTable
) -> list[dict[str, Any]]:
    """What the row keeps: each variant with its ranges of slots, [first, end)."""
    ranges: list[list[list[int]]] = [[] for _ in wanted]
    for first, end, owner in zip((0, *table.ends), table.ends, table.owners, strict=False):
        ranges[owner].append([first, end])
    return [
        {"name": variant.name, "weight": variant.weight, "model": model, "slots": held}
        for variant, model, held in zip(wanted, models, ranges, strict=True)
    ]


def _bare(test: AbTest) -> list[dict[str, Any]]:
    return [
        {part: variant[part] for part in ("name", "weight", "model")} for variant in test.variants
    ]


def _subject(environment: str, name: str) -> str:
    return f"{environment}/{name}"
