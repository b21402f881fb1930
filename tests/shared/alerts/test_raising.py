from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.tables import Alert
from shared.database import TenantId, tenant_session


def see(session: Session, message: str = "latency of walker drifts") -> Alert:
    return raise_alert(session, "drift", "drift:walker", Severity.WARNING, message, {"n": 3})


def test_what_is_seen_again_is_one_alert_that_counts(session: Session) -> None:
    first = see(session)
    assert (first.times_seen, first.resolved_at, first.details) == (1, None, {"n": 3})
    before = first.last_seen_at
    second = see(session, "still drifts")
    assert second.id == first.id
    assert (second.times_seen, second.message) == (2, "still drifts")
    assert second.last_seen_at > before
    assert second.raised_at < second.last_seen_at


def test_after_it_is_resolved_the_next_is_a_new_alert(session: Session) -> None:
    first = see(session)
    assert resolve_alert(session, "drift:walker", "it is stable")
    assert not resolve_alert(session, "drift:walker", "it is stable")
    session.refresh(first)
    assert first.details == {"n": 3, "resolved_because": "it is stable"}
    second = see(session)
    assert (second.id != first.id, second.times_seen) == (True, 1)
    assert session.scalar(sa.select(sa.func.count()).select_from(Alert)) == 2


def test_a_fingerprint_is_the_tenants_own(session: Session) -> None:
    see(session)
    with tenant_session(TenantId(UUID(int=7))) as other:
        assert not resolve_alert(other, "drift:walker", "it is stable")


def test_a_severity_that_is_none_is_refused_by_the_database(session: Session) -> None:
    see(session)
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        session.execute(sa.update(Alert).values(severity="loud"))


def test_raised_at_once_by_many_it_is_one_alert(tenant: TenantId) -> None:
    def attempt(_: int) -> UUID:
        with tenant_session(tenant) as session:
            return see(session).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(attempt, range(12)))) == 1
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(Alert.times_seen)).all() == [12]
