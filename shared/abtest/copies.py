"""The copy of an environment's tests that each process assigns by, without a network in between.

A thread follows Redis: client tracking tells it which tables changed (`CLIENT TRACKING ON BCAST`,
Redis 6 and later), and every few seconds it asks for the versions of all of them, which also
renews the lease of each copy that is confirmed. A test whose lease runs out serves its control,
outside of the test, until Redis confirms it again. So does a sticky test while the process is not
enrolled with PostgreSQL as one that serves it.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.abtest.assignment import (
    NO_ATTRIBUTES,
    VERSION_DIGITS,
    Assignment,
    AssignmentError,
    AssignmentTable,
    LiveTest,
    TableError,
    live,
    unknown,
)
from shared.abtest.definition import require_environment
from shared.abtest.enrolment import Enrolment, Following
from shared.abtest.exposures import ExposureBuffer, StickyExposures
from shared.abtest.kept import NOBODY_KEPT, Kept, KeptError, digest
from shared.abtest.serving import republish
from shared.abtest.states import AbStatus
from shared.abtest.targeting import Attributes
from shared.database import TenantId, tenant_session
from shared.local import discovery
from shared.local.errors import ServiceError
from shared.process_end import at_process_end
from shared.redis_client import ab_index_key, ab_kept_key, ab_table_key, ab_tables_prefix
from shared.settings import settings

log = logging.getLogger(__name__)

FIRST_LOAD_SECONDS: Final = 2.0
"How long the first assignment waits for the tests to be loaded; later ones wait for nothing."
RECONNECT_SECONDS: Final = 0.1
LONGEST_RECONNECT_SECONDS: Final = 2.0
RESTORE_EVERY_SECONDS: Final = 1.0
"A restore is asked for at most so often: all processes miss the same tables at once."
JITTER: Final = 0.2
"Polls come up to this share earlier, so that processes that began together drift apart."

MOST_ENVIRONMENTS: Final = 100
"Of a tenant's that a process has a copy of: each takes a thread and connections, for good."


class LocalCopy:
    """The tests of one tenant's environment in this process. `close` it, or let the process end.

    A child of a fork begins anew, with a thread and connections of its own. One that ends by
    `os._exit`, and was not begun by `multiprocessing`, calls `close_copies` before.
    """

    _thread: threading.Thread | None
    _wake_read: int
    _wake_write: int

    def __init__(
        self,
        tenant_id: UUID,
        environment: str = "production",
        *,
        exposures: ExposureBuffer | None = None,
        restore: Callable[[], object] | None = None,
        enrolment: Enrolment | None = None,
        lease_seconds: float | None = None,
        poll_seconds: float | None = None,
    ) -> None:
        """`restore` publishes anew from PostgreSQL what Redis has lost; None where there is no
        database to ask. What it raises is logged. Without an `enrolment` no move of a sticky test's
        slots waits for this copy. The seconds are the settings' unless given.
        """
        self._tenant_id = tenant_id
        self._environment = environment
        self._exposures = exposures
        self._restore = restore
        self._enrolment = enrolment
        if enrolment is not None:
            enrolment.of(self._sticky_tests, self._renew_leases)
        self._lease_seconds = lease_seconds or settings().ab_lease_seconds
        self._poll_seconds = poll_seconds or settings().ab_poll_seconds
        self._begin()
        _open.add(self)

    def assign(self, test: str, unit_id: str, attributes: Attributes = NO_ATTRIBUTES) -> Assignment:
        """What a unit gets. Raises `AssignmentError` for a unit id that is no identifier."""
        found = self._tests.get(test)
        if found is None:
            return self._missing(test, unit_id, attributes)
        return found.assign(unit_id, attributes)

    def versions(self) -> Mapping[str, int]:
        """The version of each table that this process has."""
        return {name: test.table.version for name, test in dict(self._tests).items()}

    def start(self) -> None:
        """Load the tests, or wait for it at most two seconds. The first assignment does it too."""
        with self._lock:
            if not self._closing and not self._is_followed():
                if self._wake_read < 0:
                    self._wake_read, self._wake_write = os.pipe()
                self._thread = threading.Thread(target=self._run, name="ab-tests", daemon=True)
                self._thread.start()
        if not self._closing:
            self._loaded.wait(FIRST_LOAD_SECONDS)
        # Whoever comes while Redis is away is not to wait as well.
        self._loaded.set()

    def close(self) -> None:
        """End the thread and its connections; what was loaded stays for as long as its lease.

        Sticky tests lapse at once, and whom they showed a variant is stored.
        """
        with self._lock:
            self._closing = True
            thread = self._thread
            if thread is None:
                return
            os.write(self._wake_write, b".")
            self._thread = None
        thread.join()
        if self._enrolment is not None:
            self._enrolment.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._thread = None
        self._closing = False
        self._wake_read = self._wake_write = -1
        self._tests: dict[str, LiveTest] = {}
        self._confirmed: dict[str, float] = {}
        self._leases = threading.RLock()
        self._unread: set[tuple[str, str]] = set()
        self._restored_at = -math.inf
        self._away = False
        self._told: set[type[Exception]] = set()

    def _begin_in_child(self) -> None:
        if self._wake_read >= 0:
            os.close(self._wake_read)
            os.close(self._wake_write)
        if self._exposures is not None:
            self._exposures.begin_anew_after_fork()
        if self._enrolment is not None:
            self._enrolment.begin_anew_after_fork()
        closed = self._closing
        self._begin()
        self._closing = closed

    def _missing(self, test: str, unit_id: str, attributes: Attributes) -> Assignment:
        if not self._loaded.is_set() or not self._is_followed():
            self.start()
        found = self._tests.get(test)
        return unknown(test) if found is None else found.assign(unit_id, attributes)

    def _is_followed(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    # What follows runs in the thread.

    def _run(self) -> None:
        pause = RECONNECT_SECONDS
        while not self._closing:
            pool = None
            try:
                pool = _pool()
                followed = _Followed(pool, self._tenant_id, self._environment)
                client = redis.Redis(connection_pool=pool)
                if self._away:
                    # What was changed while Redis was away, it may never have heard of.
                    self._restored()
                self._load(client)
                if self._enrolment is not None and not self._loaded.is_set():
                    self._enrolment.wait_for_first(FIRST_LOAD_SECONDS)
                pause, self._away = RECONNECT_SECONDS, False
                self._told.clear()
                self._loaded.set()
                self._follow(followed, client)
            except Exception as error:  # noqa: BLE001 (without this thread nobody can pause)
                self._tell_once(error)
            finally:
                if pool is not None:
                    pool.disconnect()
                self._loaded.set()
            if self._closing or _readable(pause, self._wake_read):
                return
            pause = min(2 * pause, LONGEST_RECONNECT_SECONDS) * random.uniform(1 - JITTER, 1)

    def _follow(self, followed: _Followed, client: redis.Redis) -> None:
        try:
            following = followed.fileno()
            while not self._closing:
                due = time.monotonic() + self._poll_seconds * random.uniform(1 - JITTER, 1)
                while (left := due - time.monotonic()) > 0:
                    readable = _readable(left, following, self._wake_read)
                    if self._wake_read in readable:
                        return
                    if readable:
                        changed, emptied = followed.news()
                        if emptied or changed:
                            self._load(client, None if emptied else changed)
                followed.ask_for_life()
                self._load(client)
        finally:
            followed.close()

    def _load(self, client: redis.Redis, changed: Iterable[str] | None = None) -> None:
        """Load the tests that changed; without any named, all that are newer than ours.

        What Redis lost is published anew, where there is a database, and loaded then.
        """
        complete = self._read_all(client) if changed is None else self._read(client, changed)
        if not complete and self._restored():
            # What was there already, and only not listed, is no change to be told of.
            self._read_all(client)

    def _read_all(self, client: redis.Redis) -> bool:
        """Whether Redis has all of our tests, and each that it lists can be read."""
        before = time.monotonic()
        listed = self._listed(client)
        complete = self._read(client, [n for n, v in listed.items() if self._version(n) < v])
        for name, version in listed.items():
            test = self._tests.get(name)
            if test is not None and test.table.version >= version:
                self._confirm(test, before)
        # That there is nothing may be the truth: it is asked for once.
        found = bool(listed) or self._restored_at > -math.inf
        return complete and found and self._tests.keys() <= listed.keys() and not self._behind()

    def _behind(self) -> bool:
        """Whether Redis has an older table of a sticky test than PostgreSQL had."""
        return self._enrolment is not None and any(
            test.table.version < self._enrolment.least_version(test.table.test_id)
            for test in self._tests.values()
        )

    def _read(self, client: redis.Redis, names: Iterable[str]) -> bool:
        """Whether each of the tests has a table that can be read."""
        asked = sorted(names)
        keys = [ab_table_key(self._tenant_id, self._environment, name) for name in asked]
        texts = cast("list[bytes | None]", client.mget(keys)) if keys else []
        taken = [self._take(client, n, text) for n, text in zip(asked, texts, strict=True)]
        return all(taken)

    def _listed(self, client: redis.Redis) -> dict[str, int]:
        listed = cast("dict[bytes, bytes]", _unless_spoilt(client.hgetall, self._index) or {})
        versions = {}
        for name, version in listed.items():
            if version.isdigit() and len(version) <= VERSION_DIGITS:
                versions[name.decode("utf-8", "replace")] = int(version)
        return versions

    def _take(self, client: redis.Redis, name: str, text: bytes | None) -> bool:
        """Put the table in the place of an older one; whether there was one to be read."""
        if text is None:
            return False
        try:
            table = AssignmentTable.from_text(text.decode("utf-8", "replace"))
            if table.name != name:
                raise TableError(f"it is the table of {table.name[:200]!r}")
            kept = self._kept(client, table)
            held = self._tests.get(name)
            if held is None or held.table.test_id != table.test_id or (
                held.table.version < table.version
            ):  # fmt: skip
                self._replace(held, table, kept)
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it is of one test)
            problem = (name, digest(text))
            if problem not in self._unread:
                self._unread.add(problem)
                told = error if isinstance(error, TableError | KeptError) else type(error).__name__
                log.warning("A/B table %r in Redis is passed over: %s", name, told)
            return False
        return True

    def _replace(self, held: LiveTest | None, table: AssignmentTable, kept: Kept) -> None:
        """Put a table in the place of the one that is held, which lapses if it is a sticky test's:
        in a slow thread somebody may be assigning by it still."""
        with self._leases:
            if self._enrolment is None or not table.rules.sticky:
                made = live(table, kept, exposures=self._exposures)
            else:
                made = live(table, kept, exposures=self._enrolment.exposures)
            self._confirm(made, time.monotonic())
            if held is not None and held.table.rules.sticky:
                held.after.append(made)
                held.lease[0] = -math.inf
            self._tests[table.name] = made
        if self._enrolment is not None and table.rules.sticky:
            self._enrolment.hurry()

    def _confirm(self, test: LiveTest, at: float) -> None:
        with self._leases:
            self._confirmed[test.table.name] = at + self._lease_seconds
            self._set_lease(test)
            lapsed = test.lease[0] < time.monotonic()
        if self._enrolment is not None and lapsed:
            self._enrolment.hurry()

    def _set_lease(self, test: LiveTest) -> None:
        confirmed = self._confirmed[test.table.name]
        test.lease[0] = (
            min(confirmed, self._enrolment.serves_until(test.table.test_id, test.table.version))
            if self._enrolment is not None and _enrolled_for(test.table)
            else confirmed
        )

    def _kept(self, client: redis.Redis, table: AssignmentTable) -> Kept:
        # One that assigns nothing needs nobody: least of all may the kill switch wait for them.
        if table.kept is None or table.status is not AbStatus.RUNNING:
            return NOBODY_KEPT
        key = ab_kept_key(self._tenant_id, table.kept)
        packed = cast("bytes | None", _unless_spoilt(client.get, key))
        if packed is None or digest(packed) != table.kept:
            raise KeptError("the units that keep their variant are not beside it")
        return Kept.unpacked(packed)

    def _sticky_tests(self) -> Following:
        """What the enrolment may say of this copy."""
        with self._leases:
            held = [test.table for test in self._tests.values() if test.table.rules.sticky]
            now = time.monotonic()
            return Following(
                holding={table.test_id: table.version for table in held},
                serves=any(
                    table.status not in (AbStatus.STOPPED, AbStatus.CONCLUDED)
                    and now < self._confirmed[table.name]
                    for table in held
                ),
                moving=any(table.slots.moving for table in held),
            )

    def _renew_leases(self) -> None:
        with self._leases:
            for test in self._tests.values():
                self._set_lease(test)

    def _version(self, name: str) -> int:
        test = self._tests.get(name)
        return -1 if test is None else test.table.version

    def _restored(self) -> bool:
        """Have what Redis lost published anew; whether that was done."""
        if self._restore is None:
            return False
        if time.monotonic() - self._restored_at < RESTORE_EVERY_SECONDS:
            return False
        self._restored_at = time.monotonic()
        try:
            self._restore()
        except Exception as error:  # noqa: BLE001 (whatever a database raises, Redis is followed)
            log.warning("A/B tests not published from PostgreSQL: %s", type(error).__name__)
            return False
        return True

    def _tell_once(self, error: Exception) -> None:
        if not self._away:
            self._away, self._restored_at = True, -math.inf
        # Which error it is says little where it is Redis that is away.
        away = isinstance(error, RedisError | OSError | ServiceError)
        kind = RedisError if away else type(error)
        if kind in self._told:
            return
        self._told.add(kind)
        if away:
            log.warning("A/B tests: Redis is away: %s", type(error).__name__)
        else:
            log.error("A/B tests are not followed: %s", type(error).__name__, exc_info=error)

    @property
    def _index(self) -> str:
        return ab_index_key(self._tenant_id, self._environment)


class _Followed:
    """A connection on which Redis tells what tables change, if it does that."""

    def __init__(self, pool: redis.ConnectionPool, tenant_id: UUID, environment: str) -> None:
        self._prefix = ab_tables_prefix(tenant_id, environment).encode()
        self._pool = pool
        self._connection = connection = cast("Any", pool.get_connection())
        self._changed: set[str] = set()
        self._emptied = False
        connection._parser.set_invalidation_push_handler(self._told)
        connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
        try:
            connection.read_response()
        except redis.ResponseError as error:
            # A proxy in between, or a user that may not: then it is the poll that finds changes.
            log.warning("A/B tests: Redis tells of no changes, they come by polling: %s", error)

    def fileno(self) -> int:
        return int(self._connection._sock.fileno())

    def news(self) -> tuple[set[str], bool]:
        """The tests whose tables changed since it was asked last, and whether all were removed."""
        while self._connection.can_read(timeout=0):
            self._connection.read_response(push_request=True)
        news = self._changed, self._emptied
        self._changed, self._emptied = set(), False
        return news

    def ask_for_life(self) -> None:
        """Raises `RedisError` when the connection is dead though nobody has said so."""
        self._connection.send_command("PING")
        self._connection.read_response()

    def close(self) -> None:
        self._connection.disconnect()
        self._pool.release(self._connection)

    def _told(self, message: list[Any]) -> None:
        # Without keys: Redis was emptied.
        self._emptied |= message[1] is None
        for key in message[1] or ():
            self._changed.add(bytes(key).removeprefix(self._prefix).decode("utf-8", "replace"))


def _enrolled_for(table: AssignmentTable) -> bool:
    """Whether only who is enrolled may assign by it."""
    return table.rules.sticky and table.status is AbStatus.RUNNING


_open: weakref.WeakSet[LocalCopy] = weakref.WeakSet()
_shared: dict[tuple[UUID, str], LocalCopy] = {}
_shared_lock = threading.Lock()


def local_copy(tenant_id: TenantId, environment: str = "production") -> LocalCopy:
    """This process's copy of an environment, made at the first call. It counts exposures, has what
    Redis lost published anew, and is enrolled while it serves sticky tests.

    Raises `AssignmentError` for what can be no environment, and for one too many.
    """
    if not isinstance(environment, str):
        raise AssignmentError(f"environment is a {type(environment).__name__}; expected text")
    with _shared_lock:
        if (tenant_id, environment) not in _shared:
            _require_place(tenant_id, environment)
            _shared[tenant_id, environment] = LocalCopy(
                tenant_id,
                environment,
                exposures=exposures_of(tenant_id),
                restore=partial(_publish_anew, tenant_id),
                enrolment=Enrolment(
                    tenant_id, environment, StickyExposures(exposures_of(tenant_id))
                ),
            )
        return _shared[tenant_id, environment]


def _require_place(tenant_id: TenantId, environment: str) -> None:
    try:
        require_environment(environment)
    except ValueError as error:
        raise AssignmentError(str(error)) from None
    if sum(of_tenant == tenant_id for of_tenant, _ in _shared) >= MOST_ENVIRONMENTS:
        raise AssignmentError(
            f"environment {environment!r}: this process has copies of {MOST_ENVIRONMENTS} others,"
            " and there can be no more"
        )


def close_copies() -> None:
    """Close all that `local_copy` made in this process; the next call makes them anew."""
    with _shared_lock:
        while _shared:
            _, copy = _shared.popitem()
            copy.close()


def exposures_of(tenant_id: TenantId) -> ExposureBuffer:
    """What this process's copies of a tenant's tests count into; somebody has to drain it."""
    return _exposures.setdefault(tenant_id, ExposureBuffer())


_exposures: Final[dict[TenantId, ExposureBuffer]] = {}


def _publish_anew(tenant_id: TenantId) -> None:
    with tenant_session(tenant_id) as session:
        republish(session)


def _begin_anew() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for copy in list(_open):
        copy._begin_in_child()


os.register_at_fork(after_in_child=_begin_anew)
# Who waits for this process to store whom it has shown a variant does not wait for its lease.
at_process_end(close_copies)


def _pool() -> redis.ConnectionPool:
    return redis.ConnectionPool.from_url(
        discovery.redis_url(),
        protocol=3,
        socket_connect_timeout=3,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )


def _readable(seconds: float, *descriptors: int) -> set[int]:
    """Those of which something can be read, as soon as there is one; none after the seconds.

    `select` cannot wait for descriptors from 1,024 on.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in waiting.poll(math.ceil(seconds * 1_000))}


def _unless_spoilt(read: Callable[[str], object], key: str) -> object:
    """What is under a key; None where somebody put a value of another type there."""
    try:
        return read(key)
    except redis.ResponseError:
        return None
