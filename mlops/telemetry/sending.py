"""How a batch leaves the process: the transport, and what it may answer."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

if TYPE_CHECKING:
    import sqlalchemy as sa

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
    """Hands a batch over; it has arrived for good when `send` returns.

    One that has a method `prepare`, without arguments, is asked to load there what it needs: a
    fork waits for that, as for all that holds locks of libraries, and hardly for `send`.
    """

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        """Raises `WaitError`, `RefusedBatchError`, or anything else when nobody is there."""


class DatabaseTransport:
    """Stores batches in PostgreSQL for the workers of the queue `ingest`.

    A server that has not answered after `answer_seconds` is given up, whatever it hangs in: the
    statement is cancelled by the server, or the connection is cut here where it does not even do
    that. The batch is then sent again, and stored once.
    """

    def __init__(self, tenant_id: TenantId | None = None, *, answer_seconds: float = 20.0) -> None:
        self._tenant_id = tenant_id
        self._answer_seconds = answer_seconds

    def prepare(self) -> None:
        """Import what sending takes."""
        import psycopg  # noqa: F401

        import shared.database
        import shared.telemetry.batches
        import shared.tenancy.tenants  # noqa: F401

    def send(self, batch_id: UUID, packed: bytes, events: int) -> None:
        from shared.database import tenant_session
        from shared.telemetry.batches import BatchError, ComeAgainError, accept
        from shared.tenancy.tenants import current_tenant

        try:
            with _given_up_after(self._answer_seconds) as limit:
                if self._tenant_id is None:
                    self._tenant_id = current_tenant()
                with tenant_session(self._tenant_id) as session:
                    session.execute(limit)
                    accept(session, batch_id, packed, events)
        except ComeAgainError as later:
            raise WaitError(later.retry_after) from None
        except BatchError as error:
            raise RefusedBatchError(str(error)) from None


@contextmanager
def _given_up_after(seconds: float) -> Iterator[sa.TextClause]:
    """Cut the connections that this thread takes from the pool, should they outlast `seconds`.

    Yields the statement that has the server cancel what takes as long, in a transaction.
    """
    import psycopg
    import sqlalchemy as sa

    from shared.database import engine

    pool = engine()
    if not sa.event.contains(pool, "checkout", _remember):
        sa.event.listen(pool, "checkout", _remember)
    taken: list[Any] = []
    _taken.connections = taken

    def cut() -> None:
        for connection in taken:
            # It has been closed meanwhile.
            with (
                suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy,
            ):
                copy.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(1.25 * seconds, cut)
    watch.daemon = True
    # A process that ends has no more threads to give, and is ended with its connections.
    with suppress(RuntimeError):
        watch.start()
    try:
        yield sa.text(f"SET LOCAL statement_timeout = {round(1000 * seconds)}")
    finally:
        watch.cancel()
        _taken.connections = None


_taken: Final = threading.local()
"Where this thread sends: the connections that it has taken from the pool."


def _remember(connection: object, _record: object, _proxy: object) -> None:
    taken = getattr(_taken, "connections", None)
    if taken is not None:
        taken.append(connection)
