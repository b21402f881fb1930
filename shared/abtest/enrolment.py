"""A process's leave to serve sticky tests, by which nobody moves a slot behind its back.

A thread enrols the process with PostgreSQL, renews its lease, and stores itself whom the process
has shown a variant, in the transaction that says by which versions it assigns now. So what is in a
buffer, on disk or in a queue never decides whether a unit keeps its variant. The thread is another
one than follows Redis: a slow database delays no kill switch.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from shared.abtest.exposed import store_exposures
from shared.abtest.exposures import StickyExposures
from shared.abtest.followers import enrol, leave, renew
from shared.abtest.lifecycle import complete_move, movable
from shared.database import TenantId, tenant_session
from shared.local.errors import ServiceError
from shared.settings import settings

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
RENEWALS_IN_A_LEASE: Final = 3
JITTER: Final = 0.2
"Renewals come up to this share earlier, so that processes that began together drift apart."

_AWAY: Final = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.DisconnectionError,
    sa.exc.TimeoutError,
    ServiceError,
    OSError,
)


@dataclass(frozen=True)
class Following:
    """What a copy assigns by. Once it is asked for, it shows nobody a variant by an older table."""

    holding: Mapping[UUID, int] = field(default_factory=dict)
    "The version of each sticky test that it has."
    serves: bool = False
    "Whether one of them assigns, or may do so at any time."
    moving: bool = False
    "Whether one of them has slots on their way."


@dataclass(frozen=True)
class _Leave:
    """Until when, by the monotonic clock, the process may serve, and which versions at least."""

    until: float = -math.inf
    floor: Mapping[UUID, int] = field(default_factory=dict)


class Enrolment:
    """That of one copy, which says what it holds and is told when its leave has changed."""

    _thread: threading.Thread | None
    _id: UUID | None

    def __init__(
        self,
        tenant_id: TenantId,
        environment: str,
        exposures: StickyExposures,
        *,
        lease_seconds: float | None = None,
        poll_seconds: float | None = None,
    ) -> None:
        """The seconds are the settings' unless given; those of the copy, best."""
        self.exposures = exposures
        self._tenant_id = tenant_id
        self._environment = environment
        self._lease_seconds = lease_seconds or settings().ab_lease_seconds
        self._poll_seconds = min(
            poll_seconds or settings().ab_poll_seconds,
            self._lease_seconds / RENEWALS_IN_A_LEASE,
        )
        self._ask: Callable[[], Following] = Following
        self._tell: Callable[[], None] = lambda: None
        self._begin()

    def of(self, ask: Callable[[], Following], tell: Callable[[], None]) -> None:
        """Whose enrolment it is: `ask` for what it assigns by, `tell` it to ask for its leave."""
        self._ask, self._tell = ask, tell

    def serves_until(self, test_id: UUID, version: int) -> float:
        """Until when the copy may assign by a version of a test, by the monotonic clock."""
        given = self._leave
        return given.until if version >= given.floor.get(test_id, 0) else -math.inf

    def least_version(self, test_id: UUID) -> int:
        """The version of a test that there was when the process enrolled; 0 of a later one."""
        return self._leave.floor.get(test_id, 0)

    def hurry(self) -> None:
        """Tell PostgreSQL at once what the copy holds. It does not wait for it."""
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="ab-enrolment", daemon=True)
                self._thread.start()
        self._due.set()

    def wait_for_first(self, seconds: float) -> None:
        """Wait for the first answer of PostgreSQL, if it was asked for one."""
        if self._thread is not None:
            self._tried.wait(seconds)

    def close(self) -> None:
        """Serve no more, and store whom the process has shown a variant."""
        with self._lock:
            self._closing = True
            thread = self._thread
        if thread is not None:
            self._due.set()
            thread.join()

    def begin_anew_after_fork(self) -> None:
        """In a child: the parent is enrolled, and the child is another process."""
        self.exposures.begin_anew_after_fork()
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._tried = threading.Event()
        self._thread = None
        self._closing = False
        self._id = None
        self._leave = _Leave()
        self._told: set[type[Exception]] = set()

    # What follows runs in the thread.

    def _run(self) -> None:
        while not self._closing:
            self._due.clear()
            done = self._try(self._step)
            self._tried.set()
            pause = self._poll_seconds if done else min(self._poll_seconds, RETRY_SECONDS)
            self._due.wait(pause * random.uniform(1 - JITTER, 1))
        self._try(self._end)

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (without this thread sticky tests lapse)
            self._tell_once(error)
            return False
        self._told.clear()
        return True

    def _tell_once(self, error: Exception) -> None:
        if type(error) in self._told:
            return
        self._told.add(type(error))
        what, kind = "sticky A/B tests: %s, they lapse in time: %s", type(error).__name__
        if isinstance(error, _AWAY):
            log.warning(what, "PostgreSQL is away", kind)
        else:
            log.error(what, "what was shown cannot be stored", kind, exc_info=error)

    def _step(self) -> None:
        if self._ask().serves:
            self._stay()
        elif self._id is not None or self.exposures.unstored:
            self._end()

    def _stay(self) -> None:
        if self._id is None:
            self._enter()
        while not self._renewed():
            self._enter()
        if self._ask().moving:
            complete_moves(self._tenant_id)

    def _enter(self) -> None:
        began, copy_id = time.monotonic(), uuid4()
        with tenant_session(self._tenant_id) as session:
            floor = enrol(session, copy_id, self._environment, self._lease_seconds)
        self._id = copy_id
        self._allow(_Leave(began + self._lease_seconds, floor))

    def _renewed(self) -> bool:
        """Say by what the copy assigns, and store whom it has shown a variant until then."""
        assert self._id is not None
        holding, began = self._ask().holding, time.monotonic()
        # After what it holds: whom an older table showed a variant is among them.
        shown = self.exposures.take()
        try:
            with tenant_session(self._tenant_id) as session:
                store_exposures(session, shown)
                there = renew(session, self._id, self._lease_seconds, holding)
        except BaseException:
            self.exposures.give_back(shown)
            raise
        if there:
            self._allow(_Leave(began + self._lease_seconds, self._leave.floor))
        else:
            # Nobody has waited for this process since; what it holds may be of long ago.
            self._id = None
            self._allow(_Leave())
        return there

    def _end(self) -> None:
        copy_id, self._id = self._id, None
        self._allow(_Leave())
        shown = self.exposures.take()
        try:
            with tenant_session(self._tenant_id) as session:
                store_exposures(session, shown)
                if copy_id is not None:
                    leave(session, copy_id)
        except BaseException:
            self.exposures.give_back(shown)
            raise
        if self._ask().moving:
            complete_moves(self._tenant_id)

    def _allow(self, given: _Leave) -> None:
        self._leave = given
        self._tell()


def complete_moves(tenant_id: TenantId) -> list[str]:
    """Move the slots of a tenant's tests for which nobody is waited for; of which tests."""
    with tenant_session(tenant_id) as session:
        found = [(test.name, test.environment) for test in movable(session)]
    moved = []
    for name, environment in found:
        # Each in a transaction of its own: two that do this lock the same tests.
        with tenant_session(tenant_id) as session:
            if complete_move(session, name, environment):
                moved.append(name)
    return moved
