"""One alert for an episode of broken data, and none because nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.data_quality import lost_fields, tell_of_quality
from shared.alerts.drifting import accept_as_normal
from shared.alerts.raising import resolve_alert
from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_session
from shared.drift.baselines import EVERY, Baseline, BaselineKind, set_baseline
from shared.drift.quality import QualityCheck, QualityFinding, QualityState
from shared.drift.rollup_quality import Checked
from shared.drift.windows import Subject
from shared.telemetry.features.watching import unwatch
from shared.telemetry.reading import Window

END = datetime(2026, 11, 18, 12, tzinfo=UTC)
SHOP = Subject("shop", "buyer@1")
DAY = Window(END - timedelta(days=1), END)


def missing(
    state: QualityState, value: float | None, usual: float | None = 0.0, **changes: Any
) -> QualityFinding:
    found = {"column": "confidence", "check": QualityCheck.MISSING, "interval": None}
    found |= {"allowed": None if usual is None else usual + 0.05, "reason": f"{value} are missing"}
    return QualityFinding(value=value, baseline=usual, state=state, **(found | changes))


def tell(
    session: Session, *findings: QualityFinding, hours: int = 0, by_hand: bool = False
) -> Mapping[str, Any]:
    end = END + timedelta(hours=hours)
    current = Window(end - timedelta(days=1), end)
    before = Window(end - timedelta(days=8), current.start)
    return tell_of_quality(session, {SHOP: Checked(current, before, by_hand, findings)})


def alerts(session: Session) -> list[tuple[str, int, bool]]:
    rows = session.scalars(
        sa.select(Alert).order_by(Alert.raised_at, Alert.id),
        execution_options={"populate_existing": True},
    )
    return [(row.message, row.times_seen, row.resolved_at is None) for row in rows]


def alert_names(session: Session) -> list[str]:
    return list(session.scalars(sa.select(Alert.fingerprint).where(Alert.resolved_at.is_(None))))


BROKEN = missing(QualityState.BROKEN, 0.4)


def test_an_alert_of_hours_that_are_still_to_come_ends_as_others_do(session: Session) -> None:
    tell(session, BROKEN, hours=1_000_000)
    since = -(-(datetime.now(UTC) - END) // timedelta(hours=1))
    assert tell(session, BROKEN, hours=-1)["alerts_raised"] == 0
    tell(session, missing(QualityState.GOOD, 0.01), hours=since)
    assert [is_open for _, _, is_open in alerts(session)] == [False]


def test_what_stays_broken_is_one_alert_until_it_is_good(session: Session) -> None:
    first = tell(session, BROKEN)
    assert (first["alerts_raised"], first["states"]) == (1, {"broken": 1})
    for hours, unsure in enumerate(
        (
            missing(QualityState.NO_DATA, None),
            missing(QualityState.INSUFFICIENT, 0.0),
            missing(QualityState.WARNING, 0.2),
        )
    ):
        tell(session, unsure, hours=hours + 1)
    # Nothing of it came, so nothing is said of it.
    tell_of_quality(session, {})
    tell(session, missing(QualityState.BROKEN, 0.5), hours=5)
    said = (
        "confidence missing of buyer@1 in shop: 0.5 are missing;"
        " mlops drift quality --function shop --model buyer@1"
    )
    assert alerts(session) == [(said, 2, True)]
    # What looks further back leaves it.
    tell(session, missing(QualityState.GOOD, 0.0), hours=-9)
    assert alerts(session) == [(said, 2, True)]
    assert tell(session, missing(QualityState.GOOD, 0.01), hours=6)["alerts_resolved"] == 1
    assert alerts(session) == [(said, 2, False)]


def test_that_the_baseline_got_used_to_a_fault_does_not_end_it(session: Session) -> None:
    tell(session, BROKEN)
    tell(session, missing(QualityState.BROKEN, 0.4, usual=0.1), hours=1)
    used_to_it = missing(QualityState.GOOD, 0.4, usual=0.38)
    assert tell(session, used_to_it, hours=100)["alerts_resolved"] == 0
    # Somebody says that it is normal.
    assert tell(session, used_to_it, hours=101, by_hand=True)["alerts_resolved"] == 1


def test_a_check_that_began_before_somebody_accepted_raises_nothing(session: Session) -> None:
    tell(session, BROKEN)
    accepted = Baseline(BaselineKind.ACCEPTED, window=DAY)
    set_baseline(session, SHOP.function, EVERY, accepted)
    resolve_alert(session, alert_names(session)[0], "accepted")
    # Of the same hours, and of some of them.
    for hours in (0, 6, 23):
        assert tell(session, BROKEN, hours=hours)["alerts_raised"] == 0
    # What came since is looked at by itself.
    assert tell(session, BROKEN, hours=24)["alerts_raised"] == 1


def test_who_accepts_waits_for_a_check_that_tells_of_the_data(tenant: TenantId) -> None:
    """Else it closed the alerts of before, and the check then raised its own."""
    with tenant_session(tenant) as telling:
        tell(telling, BROKEN)
        with tenant_session(tenant) as accepting:
            accepting.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                accept_as_normal(accepting, SHOP.function, EVERY)


def test_fields_that_open_alerts_say_are_missing_go_on_being_asked_for(session: Session) -> None:
    tell(
        session,
        missing(QualityState.BROKEN, 0.4, usual=0.25),
        missing(QualityState.BROKEN, 0.1, column="tokens", check=QualityCheck.OUT_OF_RANGE),
    )
    # Later the baseline holds the fault as well, which the alert does not take for usual.
    tell(session, missing(QualityState.BROKEN, 1.0, usual=0.5), hours=1)
    assert lost_fields(session) == {SHOP: {"confidence": pytest.approx(0.25)}}
    tell(session, missing(QualityState.GOOD, 0.25), hours=2)
    assert lost_fields(session) == {}


def test_a_metric_that_is_not_watched_raises_no_alert(session: Session) -> None:
    unwatch(session, "confidence")
    assert tell(session, BROKEN)["alerts_raised"] == 0


@pytest.mark.parametrize(
    ("broken", "good"),
    [
        (
            {"check": QualityCheck.CONSTANT, "value": 1.0, "allowed": None},
            {"check": QualityCheck.CONSTANT, "value": 2.0, "allowed": None},
        ),
        (
            {"check": QualityCheck.NEW_CATEGORIES, "value": 0.3},
            {"check": QualityCheck.NEW_CATEGORIES, "value": 0.0},
        ),
        (
            {"check": QualityCheck.LATE, "column": None, "value": 0.3},
            {"check": QualityCheck.LATE, "column": None, "value": 0.0},
        ),
    ],
)
def test_each_check_has_an_end(
    session: Session, broken: dict[str, Any], good: dict[str, Any]
) -> None:
    assert tell(session, missing(QualityState.BROKEN, **broken))["alerts_raised"] == 1
    assert tell(session, missing(QualityState.GOOD, **good), hours=1)["alerts_resolved"] == 1


def test_a_constant_column_is_not_over_because_it_was_constant_for_a_week(
    session: Session,
) -> None:
    constant = {"check": QualityCheck.CONSTANT, "value": 1.0, "allowed": None}
    tell(session, missing(QualityState.BROKEN, usual=40.0, **constant))
    found = tell(session, missing(QualityState.GOOD, usual=1.0, **constant), hours=200)
    assert found["alerts_resolved"] == 0


def test_what_a_new_function_never_sent_is_not_missing(session: Session) -> None:
    assert tell(session, missing(QualityState.BROKEN, 0.9, usual=None))["alerts_raised"] == 0
    late = missing(QualityState.BROKEN, 0.9, usual=None, check=QualityCheck.LATE, column=None)
    assert tell(session, late)["alerts_raised"] == 1


def test_a_message_holds_no_markup_and_nothing_that_a_terminal_obeys(session: Session) -> None:
    new = missing(QualityState.BROKEN, 0.3, check=QualityCheck.NEW_CATEGORIES, reason="'<b>\x1b'")
    odd = Subject("<i>shop", "buyer@1")
    tell_of_quality(session, {odd: Checked(DAY, DAY, False, (new,))})
    assert alerts(session)[0][0] == (
        "confidence new names of buyer@1 in (i)shop: '(b)\\x1b';"
        " mlops drift quality --model buyer@1"
    )


def test_subjects_whose_names_run_together_have_an_alert_each(session: Session) -> None:
    good = missing(QualityState.GOOD, 0.0)
    told = tell_of_quality(
        session,
        {
            Subject("a:b", "c"): Checked(DAY, DAY, False, (BROKEN,)),
            Subject("a", "b:c"): Checked(DAY, DAY, False, (good,)),
        },
    )
    assert (told["alerts_raised"], told["alerts_resolved"]) == (1, 0)
