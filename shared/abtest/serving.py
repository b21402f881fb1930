"""Tests as they assign: in a transaction, and from Redis, which is filled again here."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from shared.abtest import publishing
from shared.abtest.assignment import AssignmentTable, LiveTest, live
from shared.abtest.exposed import Remembered
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.followers import be_waited_for
from shared.abtest.kept import Kept
from shared.abtest.lifecycle import find, name_kept, refused
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.truth import kept_with, name_of, rules_of, table_of
from shared.database import tenant_of

log = logging.getLogger(__name__)


def load_test(
    session: Session,
    name: str,
    environment: str = "production",
    *,
    exposures: ExposureBuffer | None = None,
) -> LiveTest:
    """A test that assigns or is concluded, as Redis serves it, published again when Redis lost it
    or is behind.

    Raises `AbTestError` when there is no such test or it assigns nothing. While Redis is away the
    table is PostgreSQL's, which is the same one. It assigns until the session ends, in which
    whoever is shown a variant has to be stored: until then no slot of a sticky test moves. Whether
    a unit in a slot that has moved keeps its variant is asked of its own exposure alone.
    """
    test = find(session, name, environment)
    if rules_of(test).sticky:
        be_waited_for(session, name, environment)
        session.refresh(test)
    table = _newest(test)
    if table.status not in (AbStatus.RUNNING, AbStatus.CONCLUDED):
        advice = {AbStatus.DRAFT: "start it first", AbStatus.PAUSED: "resume it first"}
        raise refused(
            test, f"it is {table.status}: {advice.get(table.status, 'it assigns no more')}"
        )
    return live(table, _remembered(session, table), exposures=exposures)


def look_up(session: Session, name: str, environment: str = "production") -> LiveTest:
    """A test in whichever state, as PostgreSQL has it, to see what units get while the session
    lasts. Raises `AbTestError` when there is none."""
    table = table_of(find(session, name, environment))
    return live(table, _remembered(session, table))


def republish(session: Session) -> int:
    """Publish those of the tenant's tests of which Redis has nothing, or something older, or lacks
    the units that they need.

    How many they were. One whose row makes no table is told in the log and passed over: the others
    are not to wait for it, nor for units that have to be found again. Raises `RedisError`.
    """
    rows = session.scalars(sa.select(AbTest).order_by(AbTest.id))
    tests = {_wanted(test): test for test in rows}
    behind = [tests[one] for one in publishing.behind(tenant_of(session), list(tests))]
    found: list[tuple[AbTest, Kept]] = []
    published = 0
    for test, lacks in sorted(
        ((test, _lacks_units(test)) for test in behind), key=lambda pair: pair[1]
    ):
        try:
            table = table_of(test)
        except ValueError as error:
            log.error("A/B test %s cannot be published: %s", test.name, error)
            continue
        kept = kept_with(session, test, table.slots) if lacks else None
        if kept is not None and name_of(kept) != test.kept:
            found.append((test, kept))
        else:
            truth = publishing.Truth(test.environment, table, kept)
            publishing.publish(test.tenant_id, truth)
        published += 1
    # Last, for by this the rows are locked.
    for test, kept in found:
        name_kept(session, test, kept)
    return published


def _newest(test: AbTest) -> AssignmentTable:
    """The table as Redis serves it, which may be newer than what this transaction sees."""
    table = table_of(test)
    try:
        if test.kept is not None and publishing.behind(test.tenant_id, [_wanted(test)]):
            # Units that Redis has lost are left to `republish`: who waits here needs one of them.
            publishing.publish(test.tenant_id, publishing.Truth(test.environment, table, None))
        served = publishing.fetch(test.tenant_id, test.environment, test.name)
    except RedisError as error:
        log.warning("A/B table %s from PostgreSQL: %s", test.name, type(error).__name__)
        return table
    if served is None or served.test_id != table.test_id or served.version <= table.version:
        return table
    # While somebody assigns in a transaction, nothing but the slots of a sticky test stays.
    return served if not table.rules.sticky or served.slots == table.slots else table


def _remembered(session: Session, table: AssignmentTable) -> Remembered:
    return Remembered(session, table.test_id, tuple(table.names), table.slots)


def _lacks_units(test: AbTest) -> bool:
    """Whether Redis has not got the units that the test needs, or nobody knows which these are."""
    if test.kept is None:
        return True
    return test.kept != "" and not publishing.has_kept(test.tenant_id, test.kept)


def _wanted(test: AbTest) -> publishing.Wanted:
    return publishing.Wanted(test.environment, test.name, test.id, test.table_version)
