"""Findings of drift go when events of their age do."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from shared.database import TenantId, system_session, tenant_session


def forget_old_findings(tenants: Collection[TenantId] | None = None) -> int:
    """Remove findings from before the hours that the tenant has closed; return how many rows.

    Those of the newest sweep of each function and model stay, and so does what an open alert or a
    baseline refers to, however old. All tenants unless they are given.
    """
    if tenants is None:
        with system_session() as session:
            found = session.scalars(sa.text("SELECT mlops.tenant_ids()")).all()
        tenants = tuple(map(TenantId, found))
    removed = 0
    for tenant in tenants:
        with tenant_session(tenant) as session:
            removed += int(session.scalar(sa.text("SELECT mlops.remove_old_drift_findings()")) or 0)
    return removed
