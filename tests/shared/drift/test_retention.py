"""Findings go when events of their age do, but for what somebody still goes by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.alerts.names import fingerprint
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.database import TenantId, tenant_session
from shared.drift.baselines import Baseline, BaselineKind, set_baseline
from shared.drift.retention import forget_old_findings
from shared.drift.tables import DriftDetection, DriftSubject, SweepKind
from shared.jobs.contracts import WindowOf
from shared.telemetry.reading import Window
from shared.telemetry.retention import keep_for, keep_no_longer
from shared.tenancy.tenants import create_tenant

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SHOP = "a shop: 50% off"


def put_finding(session: Session, tenant: TenantId, days_ago: int, function: str = SHOP) -> UUID:
    at = NOW - timedelta(days=days_ago)
    window = WindowOf(start=at - timedelta(days=1), end=at).model_dump(mode="json")
    sweep = uuid4()
    session.add(
        DriftDetection(
            tenant_id=tenant, sweep_id=sweep, created_at=at, function=function, model="buyer@1",
            metric="tokens", test="kolmogorov_smirnov", baseline=window, current=window,
            n_baseline=1, n_current=1, threshold=0.05, verdict="stable", reason="as it was",
        )
    )  # fmt: skip
    session.merge(
        DriftSubject(
            tenant_id=tenant,
            function=function,
            model="buyer@1",
            kind=SweepKind.TIMETABLE,
            sweep_id=sweep,
            swept_at=at,
        )
    )
    session.flush()
    return sweep


def kept(session: Session) -> set[UUID]:
    return set(session.scalars(sa.select(DriftDetection.sweep_id)))


def test_old_findings_go_and_what_somebody_goes_by_stays(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        # The last that was ever said of a function that is gone.
        newest_of_gone = put_finding(session, tenant, 300, "gone")
        accepted, alarmed, _, recent = (
            put_finding(session, tenant, days) for days in (90, 80, 70, 5)
        )
        end = NOW - timedelta(days=90)
        window = Window(end - timedelta(days=1), end)
        set_baseline(session, SHOP, "", Baseline(BaselineKind.ACCEPTED, window=window))
        details = {"sweep_id": str(alarmed)}
        name = fingerprint("drift", SHOP, "buyer@1", "tokens")
        raise_alert(session, "drift", name, Severity.WARNING, "moved", details)
        keep_for(session, 30)
    assert forget_old_findings([tenant]) == 0
    keep_no_longer(NOW, [tenant])
    assert forget_old_findings([tenant]) == 1
    with tenant_session(tenant) as session:
        assert kept(session) == {newest_of_gone, accepted, alarmed, recent}
        resolve_alert(session, name, "as it was")
    assert forget_old_findings([tenant]) == 1
    with tenant_session(tenant) as session:
        assert kept(session) == {newest_of_gone, accepted, recent}


def test_other_tenants_keep_theirs(tenant: TenantId) -> None:
    """What is old of both is removed of the one that is looked after."""
    other = create_tenant(f"other-{uuid4()}")
    for one in (tenant, other):
        with tenant_session(one) as session:
            put_finding(session, one, 400)
            put_finding(session, one, 399)
            keep_for(session, 30)
    keep_no_longer(NOW, [tenant, other])
    assert forget_old_findings([tenant]) == 1
    with tenant_session(other) as session:
        assert len(kept(session)) == 2
    assert forget_old_findings([other]) == 1
