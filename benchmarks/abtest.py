"""What an assignment costs beside GrowthBook's SDK, the bare hash and Redis; and the kill switch.

An assignment is whole: a local copy that is kept up to date, two conditions of targeting, and the
unit counted. A process that meets a unit again does not hash it again, so both are measured: units
that it meets first, and units that it has met.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from uuid import uuid4

from benchmarks import ab_units
from benchmarks.measure import Figure, MeasurementError, interleaved_values
from benchmarks.peers import GROWTHBOOK, Running, running
from benchmarks.services import measured_services
from shared.abtest import lifecycle
from shared.abtest.copies import LocalCopy
from shared.abtest.exposures import ExposureBuffer
from shared.abtest.hashing import slot_of
from shared.abtest.slots import allocate
from shared.database import TenantId, tenant_session
from shared.redis_client import ab_table_key, redis_client
from shared.tenancy.tenants import create_tenant

UNITS = 20_000
"Of one round."
TEST = "prompt"
SPLIT = (0.4, 0.3, 0.3)
ATTRIBUTES = {"country": "DE", "age": 30}
TARGETING = [
    {"attribute": "country", "operator": "in", "value": ["DE", "FR"]},
    {"attribute": "age", "operator": "at_least", "value": 18},
]
PROCESSES = 8
CHANGES = 50
KILL_SWITCH_MILLISECONDS = 50.0
PATIENCE = 10.0


def figures() -> Iterator[Figure]:
    """Microseconds of CPU per assignment, milliseconds until every copy has a change, and seconds
    for a test of ten million units.

    Raises `PeerMissingError` where GrowthBook cannot be had.
    """
    yield from ab_units.figures()
    with measured_services():
        tenant = create_tenant(f"benchmark-{uuid4()}")
        with tenant_session(tenant) as session:
            variants = [
                {"name": name, "weight": share}
                for name, share in zip(("standard", "detailed", "concise"), SPLIT, strict=True)
            ]
            lifecycle.create(session, TEST, variants, targeting=TARGETING)
            lifecycle.start(session, TEST)
        yield _kill_switch(tenant)
        with closing(Ours(tenant)) as ours:
            yield from _beside_bare_hash(ours)
            yield from _beside_redis(tenant, ours)
            with running(GROWTHBOOK, "benchmarks.in_growthbook") as theirs:
                yield from _beside_growthbook(ours, theirs)


class Ours:
    """Rounds of assignments in a copy of its own; what they count is drained, untimed."""

    def __init__(self, tenant: TenantId) -> None:
        self._buffer = ExposureBuffer()
        self.copy = LocalCopy(tenant, exposures=self._buffer)
        self.shares: Counter[str] = Counter()
        self.copy.start()

    def close(self) -> None:
        self.copy.close()

    def first(self, prefix: str) -> float:
        """CPU microseconds for each of the units that the process meets first."""
        return self._microseconds([f"{prefix}{number}" for number in range(UNITS)], UNITS)

    def again(self, prefix: str) -> float:
        """The same for units that it has met."""
        names = [f"{prefix}{number}" for number in range(UNITS)]
        self._microseconds(names, None)
        return self._microseconds(names, 0)

    def _microseconds(self, names: list[str], counted: int | None) -> float:
        assign, attributes = self.copy.assign, ATTRIBUTES
        begun = time.process_time()
        for name in names:
            assign(TEST, name, attributes)
        took = time.process_time() - begun
        drained = self._buffer.drain(len)
        if counted is not None and drained != counted:
            raise MeasurementError(f"{drained:,} of {counted:,} units were counted")
        given = (assign(TEST, name, attributes).variant for name in names)
        self.shares = Counter("nobody" if one is None else one.name for one in given)
        self._buffer.drain(len)
        return took / len(names) * 1e6


def _beside_bare_hash(ours: Ours) -> Iterator[Figure]:
    owners = list(allocate(SPLIT).owners)
    rounds = _prefixes("hash")

    def bare() -> float:
        prefix = next(rounds)
        names = [f"{prefix}{number}" for number in range(UNITS)]
        begun = time.process_time()
        for name in names:
            owners[slot_of(TEST, name)]
        return (time.process_time() - begun) / UNITS * 1e6

    for name, side in (("first", ours.first), ("again", ours.again)):
        medians = interleaved_values(lambda side=side: side(next(rounds)), bare)
        yield Figure(
            f"assign_{name}_beside_hash", *medians, "us", "the hash and a look-up in a list", 0.2
        )


def _beside_redis(tenant: TenantId, ours: Ours) -> Iterator[Figure]:
    client, key, rounds = (
        redis_client(),
        ab_table_key(tenant, "production", TEST),
        _prefixes("redis"),
    )

    def round_trip() -> float:
        begun = time.perf_counter()
        for _ in range(2_000):
            client.exists(key)
        return (time.perf_counter() - begun) / 2_000 * 1e6

    for name, side in (("first", ours.first), ("again", ours.again)):
        medians = interleaved_values(lambda side=side: side(next(rounds)), round_trip)
        yield Figure(
            f"assign_{name}_beside_redis", *medians, "us", "a round trip to Redis on loopback", 100
        )


def _beside_growthbook(ours: Ours, theirs: Running) -> Iterator[Figure]:
    for name, side in (("first", ours.first), ("again", ours.again)):
        # In turns, ours first: both have the same units in every round.
        our_rounds, their_rounds = _prefixes(name), _prefixes(name)
        medians = interleaved_values(
            lambda side=side, rounds=our_rounds: side(next(rounds)),
            lambda rounds=their_rounds, name=name: _evaluated(theirs, next(rounds), name, ours),
        )
        yield Figure(
            f"assign_{name}_beside_growthbook",
            *medians,
            "us",
            f"{GROWTHBOOK.title} SDK in a process of its own; the same units, {_MET[name]}, weights"
            " and conditions, tracked too; every variant gets as many of them in both",
            20,
        )


_MET = {"first": "met first", "again": "met before"}


def _evaluated(theirs: Running, prefix: str, name: str, ours: Ours) -> float:
    question = {"prefix": prefix, "units": UNITS, "met": name == "again"}
    answer = json.loads(theirs.ask(json.dumps(question)))
    if answer["shares"] != dict(ours.shares):
        raise MeasurementError(f"ours gives {dict(ours.shares)}, GrowthBook {answer['shares']}")
    return float(answer["cpu_seconds"]) / UNITS * 1e6


def _kill_switch(tenant: TenantId) -> Figure:
    command = [sys.executable, "-m", "benchmarks.ab_follower", str(tenant), TEST]
    command.append(json.dumps(ATTRIBUTES))
    delays: list[float] = []
    with ExitStack() as stack:
        followers = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        for follower in followers:
            stack.callback(follower.terminate)
        for follower in followers:
            _expect(follower, "assigned")
        for number in range(2 * CHANGES):
            move, reason = (
                (lifecycle.resume, "assigned") if number % 2 else (lifecycle.pause, "paused")
            )
            begun = time.monotonic()
            with tenant_session(tenant) as session:
                move(session, TEST)
            delays += [1000 * (_expect(follower, reason) - begun) for follower in followers]
            # Nobody presses it while it still works.
            time.sleep(0.02)
    return Figure(
        "kill_switch_p99",
        sorted(delays)[int(0.99 * len(delays))],
        KILL_SWITCH_MILLISECONDS,
        "ms",
        f"limit; from the call, with its transaction in PostgreSQL, until each of {PROCESSES}"
        f" processes assigns by it, {2 * CHANGES} changes",
        1,
    )


def _expect(follower: subprocess.Popen[str], reason: str) -> float:
    assert follower.stdout is not None
    said, _, at = follower.stdout.readline().partition(" ")
    if said != reason:
        raise MeasurementError(f"a process assigned by {said or 'nothing'!r}, not by {reason!r}")
    return float(at)


def _prefixes(begin: str) -> Iterator[str]:
    """What the names of units begin with that were not met before."""
    return (f"{begin}-{number}-" for number in count(1))
