"""What the runs of this process have logged, on its way to PostgreSQL.

Logging puts a value in a list and returns. A thread stores what is there, says of each open run
that it lives, and tries again where PostgreSQL is away.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Final
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError

from shared.database import TenantId, tenant_session
from shared.local.errors import ServiceError
from shared.tracking.errors import TrackingError
from shared.tracking.recording import Action, Batch, Message, Point, store
from shared.tracking.runs import end_unfinished, hear_of

log = logging.getLogger("mlops.tracking")

SECONDS: Final = 0.5
"How long something that was logged waits at most."
ALIVE_SECONDS: Final = 15.0
"How often a run that logs nothing is said to be alive."
AT_ONCE: Final = 5_000
"Entries that do not wait."
MOST_WAITING: Final = 1_000_000
"Entries of all runs that may wait in memory while PostgreSQL is away; more are refused."
LONGEST_PAUSE_SECONDS: Final = 10.0
LAST_SECONDS: Final = 30.0
"How long the end of a run, or of the process, waits for PostgreSQL."

_AWAY: Final = (OperationalError, InterfaceError, ServiceError)


class RunLog:
    """One tenant's open runs of this process. A child of a fork begins with none."""

    def __init__(self, tenant_id: TenantId) -> None:
        self._tenant_id = tenant_id
        self._begin()
        _open.add(self)

    def open(self, run_id: UUID) -> Numbers:
        """Say from now on that the run lives; numbers for what it logs."""
        with self._lock:
            self._waiting.setdefault(run_id, Batch())
            self._alive.add(run_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlops-runs", daemon=True)
                self._thread.start()
        return Numbers()

    def add(self, run_id: UUID, entry: Point | Message | Action) -> None:
        """Raises `TrackingError` where too much waits already."""
        with self._lock:
            if self._count >= MOST_WAITING:
                raise TrackingError(
                    f"{self._count} entries wait to be stored, PostgreSQL is away since"
                    f" {self._away_for():.0f} s, and no more are taken"
                )
            self._waiting[run_id].add(entry)
            self._count += 1
            if self._count < AT_ONCE:
                return
        self._wake.set()

    def flush(self, run_id: UUID) -> None:
        """Store what the run has logged. Raises what PostgreSQL says, and loses nothing then."""
        with self._storing:
            with self._lock:
                batch = self._waiting.get(run_id)
                if not batch:
                    return
                self._waiting[run_id] = Batch()
                self._count -= len(batch)
            try:
                with tenant_session(self._tenant_id) as session:
                    hear_of(session, [run_id])
                    store(session, run_id, batch)
            except BaseException:
                with self._lock:
                    self._waiting[run_id] = batch.joined(self._waiting[run_id])
                    self._count += len(batch)
                raise
            self._heard_at = time.monotonic()

    def flush_for(self, run_id: UUID, seconds: float = LAST_SECONDS) -> None:
        """`flush`, tried for so long; `TrackingError` after it, and nothing is lost by it."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(_AWAY),
                stop=stop_after_delay(seconds),
                wait=wait_exponential(0.05, max=1.0),
                reraise=True,
            ):
                with attempt:
                    self.flush(run_id)
        except _AWAY as error:
            raise TrackingError(
                f"{len(self._waiting[run_id])} entries of run {run_id} are not stored,"
                f" PostgreSQL is away ({type(error).__name__}): try again"
            ) from None

    def close(self, run_id: UUID) -> None:
        """The run has ended; what it has logged must be stored."""
        with self._lock:
            self._alive.discard(run_id)
            left = self._waiting.pop(run_id, None)
            self._count -= len(left) if left else 0

    def end(self) -> None:
        """Store what can be stored; runs that are open ended with their process."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for run_id in list(self._waiting):
            try:
                self.flush_for(run_id, seconds=2.0 if self._failures else LAST_SECONDS)
            except TrackingError as error:
                log.error("%s", error)
        if self._alive and not self._failures:
            with tenant_session(self._tenant_id) as session:
                end_unfinished(session, list(self._alive))

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._wake = threading.Event()
        self._waiting: dict[UUID, Batch] = {}
        self._alive: set[UUID] = set()
        self._count = 0
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._failures = 0
        self._heard_at = time.monotonic()

    def _away_for(self) -> float:
        return time.monotonic() - self._heard_at

    # What follows runs in the thread.

    def _run(self) -> None:
        while not self._stopped:
            pause = min(SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
            self._wake.wait(pause * random.uniform(0.8, 1) if self._failures else SECONDS)
            self._wake.clear()
            if not self._stopped:
                self._look()

    def _look(self) -> None:
        try:
            for run_id in [one for one, batch in list(self._waiting.items()) if batch]:
                self.flush(run_id)
            if self._alive and self._away_for() >= ALIVE_SECONDS:
                with tenant_session(self._tenant_id) as session:
                    hear_of(session, list(self._alive))
                self._heard_at = time.monotonic()
            self._failures = 0
        except _AWAY as error:
            if not self._failures:
                log.warning("runs are kept in memory, PostgreSQL is away: %s", type(error).__name__)
            self._failures += 1
        except Exception:
            # Whatever it is, it must not end the thread: the next look tries again.
            log.exception("runs could not be stored")
            self._failures += 1


class Numbers:
    """Numbers of what one process logs of one run, which no other process gives.

    The upper bits are drawn, the lower ones count: several processes may log to one run, and what
    is sent twice has its number twice.
    """

    def __init__(self) -> None:
        self._next: Callable[[], int] = count(random.SystemRandom().getrandbits(30) << 33).__next__

    def next(self) -> int:
        return self._next()


_open: Final[set[RunLog]] = set()
_of_tenants: Final[dict[TenantId, RunLog]] = {}
_lock = threading.Lock()


def run_log(tenant_id: TenantId) -> RunLog:
    """This process's one for a tenant."""
    with _lock:
        if tenant_id not in _of_tenants:
            _of_tenants[tenant_id] = RunLog(tenant_id)
        return _of_tenants[tenant_id]


def _end_all() -> None:
    for one in list(_open):
        one.end()


def _begin_anew() -> None:
    for one in list(_open):
        one._begin()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_begin_anew)
