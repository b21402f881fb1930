"""How long the units of A/B tests that have ended are kept. The sums of their variants stay.

A verdict rests on the sums alone, so it can be shown for ever. A unit goes with its exposure, and
only when nothing of its test waits to be summed; from then on no exposure to the test is summed
any more, or a unit that is gone would be counted a second time.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.states import ENDED
from shared.abtest.tables import AbSum, AbTest, AbUnit
from shared.abtest.unit_sums import one_at_a_time
from shared.database import TenantId, system_session, tenant_session
from shared.telemetry.tables import Exposure, UnitEvent
from shared.tenancy.tenants import audit

MIXED: Final = "mixed"
"The row of a variant's sums whose `units` are those that were given another variant too."
UNITS_AT_ONCE: Final = 20_000


def forget_old_units(
    now: datetime, keep: timedelta, tenants: Collection[TenantId] | None = None
) -> int:
    """Remove exposures and units of tests that ended `keep` ago, of all tenants unless given.

    Returns how many rows were removed. Tests that run or are paused are left alone, however old.
    What a call that was interrupted has left is removed by the next.
    """
    if tenants is None:
        with system_session() as session:
            found = session.scalars(sa.select(sa.func.mlops.tenant_ids())).all()
        tenants = tuple(map(TenantId, found))
    removed = 0
    for tenant in tenants:
        with tenant_session(tenant) as session:
            close_ended_tests(session, now, keep)
            closed = session.scalars(
                sa.select(AbTest.id).where(AbTest.units_removed_at.is_not(None)).order_by(AbTest.id)
            ).all()
        for test_id in closed:
            for statement in (_REMOVE_UNITS, _REMOVE_EXPOSURES):
                removed += _remove(tenant, test_id, statement)
    return removed


def close_ended_tests(session: Session, now: datetime, keep: timedelta) -> list[AbTest]:
    """Mark the tests of the tenant that ended `keep` ago: their units are to be removed."""
    one_at_a_time(session)
    ended = session.scalars(
        sa.select(AbTest)
        .where(
            AbTest.status.in_(ENDED),
            AbTest.units_removed_at.is_(None),
        )
        .order_by(AbTest.id)
        .with_for_update()
    ).all()
    closed = []
    for test in ended:
        end = test.ended_at
        if end is None or end > now - keep or _waits(session, test, end):
            continue
        _keep_mixed(session, test)
        test.units_removed_at = now
        audit(
            session,
            "ab_test.units_removed",
            f"{test.environment}/{test.name}",
            {
                "test_id": str(test.id),
                "ended_at": end.isoformat(),
                "kept_days": keep / timedelta(days=1),
            },
        )
        closed.append(test)
    return closed


def _waits(session: Session, test: AbTest, end: datetime) -> bool:
    """Whether an exposure to the test, or an event from before its end, is still to be summed."""
    told = sa.exists().where(Exposure.test_id == test.id, Exposure.changed)
    done = sa.exists().where(UnitEvent.occurred_at <= end)
    return bool(session.scalar(sa.select(told | done)))


def _keep_mixed(session: Session, test: AbTest) -> None:
    """What else a verdict asks of the units."""
    found = session.execute(
        sa.select(AbUnit.variant, sa.func.count().label("n"))
        .where(AbUnit.test_id == test.id, AbUnit.mixed)
        .group_by(AbUnit.variant)
    )
    nothing = dict.fromkeys(("y", "x", "yy", "xx", "xy", "unknown"), 0)
    for row in found:
        session.add(
            AbSum(
                tenant_id=test.tenant_id,
                test_id=test.id,
                variant=row.variant,
                metric=MIXED,
                units=row.n,
                **nothing,
            )
        )


def _remove(tenant: TenantId, test_id: UUID, statement: sa.TextClause) -> int:
    """Some at a time: nobody waits for the whole."""
    removed, last = 0, UUID(int=0)
    while True:
        with tenant_session(tenant) as session:
            gone = session.execute(
                statement, {"test": test_id, "after": last, "most": UNITS_AT_ONCE}
            ).one()
        removed += int(gone.n)
        if gone.n < UNITS_AT_ONCE:
            return removed
        last = gone.last


def _removal(table: str) -> sa.TextClause:
    return sa.text(
        f"""
        WITH chosen AS (
            SELECT tenant_id, test_id, unit_id FROM mlops.{table}
            WHERE test_id = :test AND unit_id >= :after ORDER BY unit_id LIMIT :most
        ),
        gone AS (
            DELETE FROM mlops.{table} x USING chosen
            WHERE (x.tenant_id, x.test_id, x.unit_id)
                = (chosen.tenant_id, chosen.test_id, chosen.unit_id)
            RETURNING x.unit_id
        )
        SELECT (SELECT count(*) FROM gone) AS n,
            (SELECT unit_id FROM chosen ORDER BY unit_id DESC LIMIT 1) AS last
        """  # noqa: S608 (names of tables)
    )


_REMOVE_UNITS: Final = _removal("ab_units")
_REMOVE_EXPOSURES: Final = _removal("exposures")
