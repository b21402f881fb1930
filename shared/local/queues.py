"""How much work waits in each queue, as the database knows it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from shared.local.errors import ServiceError


@dataclass(frozen=True)
class QueueDepth:
    """Jobs of one queue; the age (seconds) is None when none waits."""

    queued: int
    running: int
    oldest_queued_seconds: float | None


EMPTY = QueueDepth(queued=0, running=0, oldest_queued_seconds=None)


def queue_depths(database_url: str) -> dict[str, QueueDepth]:
    """The queues that hold jobs; one that is not named holds none.

    Raises `ServiceError` when the database does not tell: unknown is not empty.
    """
    scheme, separator, rest = database_url.partition("://")
    url = scheme.removesuffix("+psycopg") + separator + rest
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SET LOCAL statement_timeout = '2s'")
            rows = connection.execute(
                "SELECT queue, queued, running, oldest_queued_seconds FROM mlops.queue_depths()"
            ).fetchall()
    except psycopg.Error as error:
        raise ServiceError(f"the database does not tell its queues: {_cause(error)}") from None
    return {queue: QueueDepth(queued, running, oldest) for queue, queued, running, oldest in rows}


def _cause(error: psycopg.Error) -> str:
    # The text of a connection failure may quote the URL; the server's own sentence does not.
    return error.diag.message_primary or "no connection"
