"""Submitting jobs from Python."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.database import TenantId, tenant_session
from shared.jobs import submission
from shared.jobs.contracts import Contract, parse_submitted
from shared.jobs.reading import find
from shared.jobs.tables import JobRow, JobStatus
from shared.tenancy.tenants import current_tenant

_LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A submitted job. What it says is read from PostgreSQL each time it is asked."""

    tenant_id: TenantId
    id: UUID

    def row(self) -> JobRow:
        with tenant_session(self.tenant_id) as session:
            return find(session, str(self.id))

    @property
    def status(self) -> JobStatus:
        return JobStatus(self.row().status)

    def wait(self, timeout: float | None = None) -> JobRow:
        """The job's row once it has ended; raises `TimeoutError` after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            row = self.row()
            if JobStatus(row.status).ended:
                return row
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {self.id} is still {row.status} after {timeout:g} s")
            time.sleep(_LOOK_EVERY_SECONDS)


def submit(
    job: Contract | Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    tenant_id: TenantId | None = None,
) -> Job:
    """Store and send a job: a contract, or its JSON with the kind in the field `job`.

    Raises `InvalidJobError` that names what is wrong with it. The tenant is that of
    `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given. The same `idempotency_key` for the same
    kind of job gives the first one's job back.
    """
    contract = job if isinstance(job, Contract) else parse_submitted(dict(job))
    tenant_id = tenant_id or current_tenant()
    return Job(tenant_id, submission.submit(tenant_id, contract, idempotency_key=idempotency_key))
