"""The thread that keeps this process's leases alive and hears of cancellations."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from shared.database import TenantId, tenant_session
from shared.jobs.claims import Claim, cancel_requested, renew

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.5
"How often cancellation is looked for."


class Lease:
    """What a worker asks while it works: is the job still mine, and is it still wanted?"""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self._lost = threading.Event()
        self._cancelled = threading.Event()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def lost(self) -> bool:
        return self._lost.is_set()

    def over(self) -> bool:
        """Whether going on would be for nothing."""
        return self.lost() or self.cancelled()


class _Keeper:
    """One per process, started with its first lease: a thread does not survive a fork."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._leases: dict[UUID, Lease] = {}
        self._lock = threading.Lock()
        self._renew_at = 0.0
        threading.Thread(target=self._run, name="lease-keeper", daemon=True).start()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases[lease.claim.id] = lease

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leases.pop(lease.claim.id, None)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_SECONDS)
            with self._lock:
                leases = list(self._leases.values())
            by_tenant: dict[TenantId, list[Lease]] = defaultdict(list)
            for lease in leases:
                by_tenant[lease.claim.tenant_id].append(lease)
            due = time.monotonic() >= self._renew_at
            looked = [self._looked(*one, due) for one in by_tenant.items()]
            if due and all(looked):
                self._renew_at = time.monotonic() + self._lease_seconds / 3

    def _looked(self, tenant_id: TenantId, leases: list[Lease], due: bool) -> bool:
        try:
            self._look(tenant_id, leases, due)
        except SQLAlchemyError as error:
            # The next look comes soon. Should the lease run out meanwhile, the fence holds.
            log.warning("leases not renewed: %s", type(getattr(error, "orig", error)).__name__)
            return False
        return True

    def _look(self, tenant_id: TenantId, leases: list[Lease], due: bool) -> None:
        with tenant_session(tenant_id) as session:
            wanted_gone = cancel_requested(session, [lease.claim.job_id for lease in leases])
            ids = {lease.claim.id for lease in leases}
            held = renew(session, ids, self._lease_seconds) if due else ids
        for lease in leases:
            if lease.claim.job_id in wanted_gone:
                lease._cancelled.set()
            if lease.claim.id not in held:
                lease._lost.set()


_keepers: dict[int, _Keeper] = {}
_keepers_lock = threading.Lock()


@contextmanager
def kept(claim: Claim, lease_seconds: float) -> Iterator[Lease]:
    """Keep the claim's lease alive while the block runs."""
    with _keepers_lock:
        keeper = _keepers.get(os.getpid())
        if keeper is None:
            keeper = _keepers[os.getpid()] = _Keeper(lease_seconds)
    lease = Lease(claim)
    keeper.add(lease)
    try:
        yield lease
    finally:
        keeper.remove(lease)
