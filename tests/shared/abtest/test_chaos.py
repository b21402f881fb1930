"""Every unit of a sticky test has one variant for ever, whatever happens around it.

Eight processes give the same units their variants over and over, each with a clock of its own,
while the weights change and Redis is emptied, killed and started anew. What they hand over to be
sent reaches the database at the very end.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from shared.abtest import copies, followers
from shared.abtest.assignment import Reason, live
from shared.abtest.copies import close_copies, exposures_of, local_copy
from shared.abtest.exposed import store_exposures
from shared.abtest.exposures import StickyExposures
from shared.abtest.lifecycle import change_weights, create, find, ramp, start
from shared.abtest.tables import AbTest
from shared.database import TenantId, tenant_session
from shared.redis_client import redis_client
from shared.telemetry.tables import Exposure
from shared.telemetry.units import unit_digest
from shared.tenancy.tables import AuditEntry
from tests.shared.abtest.own_redis import OwnRedis, until

AT_FIRST = 300
NEW_IN_A_SECOND = 30
ENDS = 1 / 300
"How likely a process ends after a round of assignments."
LATE = [f"late-{number}" for number in range(600)]
LAST_WEIGHTS = (0.1, 0.2, 0.7)


class Account(NamedTuple):
    """What one process has given to whom."""

    given: set[tuple[str, str]]
    reasons: Counter[str]


def serve(tenant: TenantId, begun: float, seed: int, wire: Connection) -> None:
    """Assign until the other end says by which version to end; then tell what was given."""
    drawn = random.Random(seed)
    off, right = drawn.uniform(-60, 60), time.time
    time.time = lambda: right() + off
    copies.live = partial(live, clock=time.time)
    copy, account = local_copy(tenant), Account(set(), Counter())

    def give(units: list[str]) -> None:
        for unit in units:
            found = copy.assign("prompt", unit)
            account.reasons[found.reason] += 1
            if found.in_test and found.variant is not None:
                account.given.add((unit, found.variant.name))

    while not wire.poll(0.005):
        there = AT_FIRST + int((time.monotonic() - begun) * NEW_IN_A_SECOND)
        newest = range(max(0, there - 20), there)
        if drawn.random() < ENDS:
            # As a process that ends, and another that begins in its place.
            close_copies()
            copy = local_copy(tenant)
        give([f"unit-{n}" for n in (*drawn.choices(range(there), k=10), *drawn.sample(newest, 5))])
    last = wire.recv()
    until(lambda: copy.versions().get("prompt", 0) >= last)
    give(drawn.sample(LATE, len(LATE)))
    close_copies()
    # As if all that was sent had waited in a queue until now.
    with tenant_session(tenant) as session:
        exposures_of(tenant).drain(partial(store_exposures, session))
    wire.send(account)
    wire.close()


@contextmanager
def serving(tenant: TenantId, processes: int) -> Iterator[list[Connection]]:
    forked = multiprocessing.get_context("fork")
    begun, wires, started = time.monotonic(), [], []
    for seed in range(processes):
        mine, its = forked.Pipe()
        child = forked.Process(target=serve, args=(tenant, begun, seed, its), daemon=True)
        child.start()
        its.close()
        wires.append(mine)
        started.append(child)
    try:
        yield wires
        for child in started:
            child.join(20)
            assert child.exitcode == 0
    finally:
        for child in started:
            child.kill()


def of_test(tenant: TenantId) -> AbTest:
    with tenant_session(tenant) as session:
        return find(session, "prompt")


def wait_until_moved(tenant: TenantId) -> None:
    deadline = time.monotonic() + 60
    while of_test(tenant).moving:
        assert time.monotonic() < deadline, "its slots did not move"
        time.sleep(0.03)


def split(tenant: TenantId, weights: tuple[float, ...]) -> None:
    with tenant_session(tenant) as session:
        change_weights(session, "prompt", dict(zip("abc", weights, strict=True)))


def disturb(tenant: TenantId, own: OwnRedis, seconds: float, at_least: int) -> None:
    """Change the weights, so often and for so long, and harm Redis."""
    drawn, end, changes = random.Random(5), time.monotonic() + seconds, 0
    while time.monotonic() < end or changes < at_least:
        first, second = sorted(drawn.sample(range(11), 2))
        split(tenant, (first / 10, (second - first) / 10, (10 - second) / 10))
        changes += 1
        match changes % 6:
            case 2:
                redis_client().flushall()
            case 3:
                with tenant_session(tenant) as session:
                    ramp(session, "prompt", drawn.choice((0.5, 0.8, 1.0)))
            case 4:
                own.kill()
                # Redis does not hear of it.
                split(tenant, (0.3, 0.3, 0.4))
                changes += 1
                own.begin()
        # Now and then the next change comes before this one is through.
        if changes % 2:
            wait_until_moved(tenant)
        else:
            time.sleep(drawn.choice((0.0, 0.05)))


@pytest.fixture
def sticky(own: OwnRedis, tenant: TenantId, with_environment: Callable[..., None]) -> TenantId:
    with_environment(REDIS_URL=own.url, MLOPS_AB_POLL_SECONDS="0.2")
    with tenant_session(tenant) as session:
        variants = [{"name": n, "weight": w} for n, w in zip("abc", (0.4, 0.3, 0.3), strict=True)]
        create(session, "prompt", variants, sticky=True)
        start(session, "prompt")
    return tenant


def run(
    tenant: TenantId, own: OwnRedis, seconds: float, *, processes: int = 8, at_least: int = 12
) -> list[Account]:
    with serving(tenant, processes) as wires:
        with tenant_session(tenant) as session:
            until(lambda: followers.followers(session, "production") == processes)
        disturb(tenant, own, seconds, at_least)
        with tenant_session(tenant) as session:
            ramp(session, "prompt", 1.0)
        split(tenant, LAST_WEIGHTS)
        wait_until_moved(tenant)
        for wire in wires:
            wire.send(of_test(tenant).table_version)
        return [wire.recv() for wire in wires]


def variants_of_units(accounts: list[Account]) -> dict[str, set[str]]:
    met: dict[str, set[str]] = defaultdict(set)
    for account in accounts:
        for unit, variant in account.given:
            met[unit].add(variant)
    return met


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.proof)])
def test_a_unit_of_a_sticky_test_has_one_variant_for_ever(
    own: OwnRedis, sticky: TenantId, seconds: int
) -> None:
    accounts = run(sticky, own, seconds)
    met = variants_of_units(accounts)
    assert {unit: variants for unit, variants in met.items() if len(variants) > 1} == {}
    with tenant_session(sticky) as session:
        stored = session.scalars(sa.select(Exposure)).all()
        changes = Counter(session.scalars(sa.select(AuditEntry.action)).all())
    assert {row.unit_id: row.variant for row in stored} == {
        unit_digest(unit): next(iter(variants)) for unit, variants in met.items()
    }
    assert [row.unit_id for row in stored if row.mixed] == []
    # It was not for nothing: slots moved, units were kept and others had to wait.
    assert changes["ab_test.weights"] >= 12
    assert changes["ab_test.moved"] >= 5
    reasons = sum((account.reasons for account in accounts), Counter[Any]())
    assert min(reasons[one] for one in (Reason.ASSIGNED, Reason.KEPT, Reason.MOVING)) > 100
    # Who comes last follows the last weights.
    late = Counter(next(iter(met[unit])) for unit in LATE)
    for variant, weight in zip("abc", LAST_WEIGHTS, strict=True):
        sigma = math.sqrt(len(LATE) * weight * (1 - weight))
        assert abs(late[variant] - len(LATE) * weight) < 5 * sigma


def test_without_storing_what_was_shown_before_a_move_some_units_would_have_two(
    own: OwnRedis, sticky: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StickyExposures, "take", lambda _: [])
    met = variants_of_units(run(sticky, own, 0, processes=2, at_least=3))
    assert any(len(variants) > 1 for variants in met.values())
