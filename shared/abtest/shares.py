"""Which share of the units each variant was to get, by the slots that it has had.

Whole slots are not quite the weights: at a coverage of 0.1 % three equal variants have 4, 3 and 3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.definition import Rules
from shared.abtest.slots import slot_counts
from shared.abtest.tables import AbLook, AbTest
from shared.tenancy.tables import AuditEntry

_BEGUN: Final = "ab_test.running"
_COVERING: Final = ("ab_test.create", "ab_test.redefine", "ab_test.ramp", _BEGUN)
SETTLED: Final = timedelta(hours=2)
"After a ramp what was shown by the table before is summed."


class Share(NamedTuple):
    now: float
    most: float | None = None
    "The largest at any time since the test began; None where it has always been the same."


class Coverage(NamedTuple):
    coverage: float
    since: datetime


def shares_of(session: Session, test: AbTest) -> tuple[tuple[Share, ...], int | None]:
    """Those of a test's variants, at the weights that it has now.

    And how many units at most have come by other shares than the present ones: as many as there
    were at the first look a while after the last ramp. None where they have always been the same,
    and before that look.
    """
    coverage = Rules.model_validate(test.rules).coverage
    weights = [variant["weight"] for variant in test.variants]
    covered = coverages_of(session, test)
    found = shares_at(weights, coverage, [one.coverage for one in covered])
    if not covered or all(one.most is None for one in found):
        return found, None
    then = session.scalar(
        sa.select(AbLook.units)
        .where(AbLook.test_id == test.id, AbLook.looked_at >= covered[-1].since + SETTLED)
        .order_by(AbLook.looked_at)
        .limit(1)
    )
    return found, then


def shares_at(
    weights: Sequence[float], coverage: float, earlier: Collection[float] = ()
) -> tuple[Share, ...]:
    """The variants' shares at this coverage, and at others that the test has had before.

    The weights themselves where no variant has a slot. `SlotError` for what is no split.
    """
    now = _shares(weights, coverage) or tuple(weights)
    # Where nobody is let in no unit comes by any share.
    all_of_them = [shares for one in {coverage, *earlier} if (shares := _shares(weights, one))]
    if len(set(all_of_them)) < 2:
        return tuple(Share(one) for one in now)
    return tuple(Share(one, max(shares)) for one, *shares in zip(now, *all_of_them, strict=True))


def coverages_of(session: Session, test: AbTest) -> list[Coverage]:
    """Each that it has had since it began, from the audit trail, the oldest first.

    One that another test of the same name had before would count as well: then smaller deviations
    from the shares are let pass.
    """
    rows = session.execute(
        sa.select(AuditEntry.action, AuditEntry.details, AuditEntry.at)
        .where(
            AuditEntry.action.in_(_COVERING),
            AuditEntry.subject == f"{test.environment}/{test.name}",
            AuditEntry.at >= test.created_at,
        )
        .order_by(AuditEntry.id)
    )
    found: list[Coverage] = []
    begun = False
    for action, details, at in rows:
        if action == _BEGUN:
            begun = True
            continue
        given = details if "coverage" in details else details["rules"]
        found = [*(found if begun else ()), Coverage(given["coverage"], at)]
    return found


def _shares(weights: Sequence[float], coverage: float) -> tuple[float, ...] | None:
    counts = slot_counts(weights, coverage)
    whole = sum(counts)
    return tuple(count / whole for count in counts) if whole else None
