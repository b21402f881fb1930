"""How a batch leaves the process: the transport, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from shared.database import TenantId


@dataclass(frozen=True)
class Batch:
    """Events as they are sent and spilled. The identifier is made once, so a resend is absorbed."""

    id: UUID
    packed: bytes
    "Compressed NDJSON, as `shared.telemetry.batches.pack` makes it."
    events: int


class WaitError(Exception):
    """The service says that it takes nothing now; try again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the service asks to wait {seconds:g} s")
        self.seconds = seconds


class RefusedBatchError(Exception):
    """The service will never take this batch; the message is its reason in one line."""


class Transport(Protocol):
    """Hands a batch over; it has arrived for good when `send` returns."""

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        """Raises `WaitError`, `RefusedBatchError`, or anything else when nobody is there."""


class DatabaseTransport:
    """Stores batches in PostgreSQL for the workers of the queue `ingest`."""

    def __init__(self, tenant_id: TenantId | None = None) -> None:
        self._tenant_id = tenant_id

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        from shared.database import tenant_session
        from shared.telemetry.batches import BatchError, ComeAgainError, accept
        from shared.tenancy.tenants import current_tenant

        if self._tenant_id is None:
            self._tenant_id = current_tenant()
        try:
            with tenant_session(self._tenant_id) as session:
                accept(session, batch_id, packed, events)
        except ComeAgainError as later:
            raise WaitError(later.retry_after) from None
        except BatchError as error:
            raise RefusedBatchError(str(error)) from None
