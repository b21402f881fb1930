"""Which processes may show units the variants of sticky tests, and by which version of them.

A process is in the table before it serves a sticky test, and renews its lease while it does. Who
moves slots waits for all that are there. The table decides by PostgreSQL's clock alone: a process
whose lease has run out is removed by whoever looks next, and has to enrol anew.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.tables import AbCopy, AbTest
from shared.database import tenant_of

MARGIN_SECONDS: Final = 5.0
"How much longer than by its own clock a process holds its lease by PostgreSQL's."


class Follower(NamedTuple):
    """A process that has not acknowledged a version yet."""

    process: str
    acknowledged: int | None
    "The version that it assigns by; None if it has not said so."


def enrol(
    session: Session, copy_id: UUID, environment: str, lease_seconds: float
) -> Mapping[UUID, int]:
    """Enter a process, and return the versions of the environment's tests.

    It must not serve an older version of any, for whoever made these may not have known of it.
    """
    session.execute(_AS_ONE_OF_MANY)
    session.execute(
        sa.insert(AbCopy).values(
            tenant_id=tenant_of(session),
            id=copy_id,
            environment=environment,
            process=f"{socket.gethostname()}:{os.getpid()}",
            acknowledged={},
            lease_expires_at=_expiry(lease_seconds),
        )
    )
    rows = session.execute(
        sa.select(AbTest.id, AbTest.table_version).where(AbTest.environment == environment)
    )
    return {row.id: row.table_version for row in rows}


def renew(
    session: Session, copy_id: UUID, lease_seconds: float, holding: Mapping[UUID, int]
) -> bool:
    """Let a process stay that assigns by these versions, and by no older ones again.

    False when it is not there any more.
    """
    renewed = session.execute(
        sa.update(AbCopy)
        .where(AbCopy.id == copy_id)
        .values(
            acknowledged={str(test_id): version for test_id, version in holding.items()},
            lease_expires_at=_expiry(lease_seconds),
        )
        .returning(AbCopy.id)
    )
    return renewed.first() is not None


def leave(session: Session, copy_id: UUID) -> None:
    """Remove a process that serves no sticky test any more."""
    session.execute(sa.delete(AbCopy).where(AbCopy.id == copy_id))


def forget_gone(session: Session) -> int:
    """Remove the processes whose lease has run out; how many they were.

    One that is renewing at this moment stays: nobody waits here for anybody.
    """
    gone = (
        sa.select(AbCopy.id)
        .where(AbCopy.lease_expires_at < sa.func.clock_timestamp())
        .with_for_update(skip_locked=True)
    )
    removed = session.execute(
        sa.delete(AbCopy)
        .where(AbCopy.id.in_(gone))
        .returning(AbCopy.id)
        .execution_options(synchronize_session=False)
    )
    return len(removed.all())


def keep_others_out(session: Session) -> None:
    """Let no process enrol until this transaction has ended."""
    session.execute(_ALONE)


def be_waited_for(session: Session, name: str, environment: str) -> None:
    """Let no slot of a test move until this transaction has ended, in which it assigns.

    Who comes while somebody waits to move slots waits as well, so that they do move.
    """
    session.execute(_ASSIGNING, {"test": _digest(environment, name)})


def wait_for_callers(session: Session, name: str, environment: str) -> None:
    """Wait for the transactions that assign by a test, and let no other begin to before this one
    has ended. Ask for it before the test's row is locked: its kill switch needs the row alone."""
    session.execute(_MOVING, {"test": _digest(environment, name)})


def followers(session: Session, environment: str) -> int:
    """How many processes there are."""
    query = sa.select(sa.func.count()).where(AbCopy.environment == environment)
    return session.scalar(query.select_from(AbCopy)) or 0


def awaited(session: Session, test: AbTest) -> list[Follower]:
    """The processes that do not assign by the test's present version yet."""
    said = AbCopy.acknowledged[str(test.id)].astext.cast(sa.BigInteger)
    rows = session.execute(
        sa.select(AbCopy.process, said)
        .where(
            AbCopy.environment == test.environment,
            sa.func.coalesce(said, 0) < test.table_version,
        )
        .order_by(AbCopy.process, AbCopy.id)
    )
    return [Follower(process, version) for process, version in rows]


def _expiry(lease_seconds: float) -> sa.ColumnElement[object]:
    return sa.func.clock_timestamp() + sa.literal(
        timedelta(seconds=lease_seconds + MARGIN_SECONDS), sa.Interval()
    )


def _digest(environment: str, name: str) -> str:
    """Also of what is no name, for whoever finds that there is no such test."""
    return blake2b(f"{environment}:{name}".encode("utf-8", "replace")).hexdigest()


_KEY: Final = "hashtextextended('mlops.ab_copies:' || current_setting('app.tenant'), 0)"
_AS_ONE_OF_MANY: Final = sa.text(f"SELECT pg_advisory_xact_lock_shared({_KEY})")
_ALONE: Final = sa.text(f"SELECT pg_advisory_xact_lock({_KEY})")

_SLOTS_KEY: Final = (
    "hashtextextended('mlops.ab_slots:' || current_setting('app.tenant') || ':' || :test, 0)"
)
_ASSIGNING: Final = sa.text(f"SELECT pg_advisory_xact_lock_shared({_SLOTS_KEY})")
_MOVING: Final = sa.text(f"SELECT pg_advisory_xact_lock({_SLOTS_KEY})")
