"""The local copies, against a Redis of their own that is flushed, killed and restarted."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from shared.abtest import copies
from shared.abtest.assignment import Assignment, AssignmentError, AssignmentTable, Reason
from shared.abtest.copies import LocalCopy, close_copies, local_copy
from shared.abtest.exposures import Exposure, ExposureBuffer
from shared.abtest.followers import followers
from shared.abtest.kept import NOBODY_KEPT
from shared.abtest.lifecycle import create, pause, ramp, resume, start
from shared.abtest.publishing import Truth, kept_digest, publish
from shared.abtest.serving import republish
from shared.abtest.slots import lost, reallocate
from shared.abtest.states import AbStatus
from shared.database import TenantId, tenant_session
from shared.redis_client import ab_index_key, ab_table_key, redis_client
from shared.telemetry.tables import Exposure as ExposureRow
from tests.shared.abtest.keeping import kept_units
from tests.shared.abtest.own_redis import OwnRedis, until

MakeTable = Callable[..., AssignmentTable]
NEVER = 3600.0


@pytest.fixture
def copy_of() -> Iterator[Callable[..., LocalCopy]]:
    """Make copies that are closed at the end of the test; they poll only if they are told to."""
    made: list[LocalCopy] = []

    def make(tenant: TenantId, **options: Any) -> LocalCopy:
        made.append(LocalCopy(tenant, **({"poll_seconds": NEVER} | options)))
        return made[-1]

    yield make
    for copy in made:
        copy.close()


def begin(tenant: TenantId, name: str = "prompt", **rules: Any) -> None:
    with tenant_session(tenant) as session:
        create(session, name, [{"name": n, "weight": 0.5} for n in "ab"], **rules)
        start(session, name, rules.get("environment", "production"))


def change(tenant: TenantId, move: Callable[..., object], *arguments: Any) -> None:
    with tenant_session(tenant) as session:
        move(session, "prompt", *arguments)


def reason(copy: LocalCopy, unit_id: str = "u", test: str = "prompt") -> Reason:
    return copy.assign(test, unit_id).reason


def restoring(tenant: TenantId) -> Callable[[], None]:
    def restore() -> None:
        with tenant_session(tenant) as session:
            republish(session)

    return restore


def test_a_change_reaches_the_copy_without_being_asked_for(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    copy = copy_of(tenant)
    assert reason(copy) is Reason.ASSIGNED
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)
    change(tenant, resume)
    until(lambda: reason(copy) is Reason.ASSIGNED)
    begin(tenant, "second")
    until(lambda: reason(copy, test="second") is Reason.ASSIGNED)
    assert copy.versions() == {"prompt": 4, "second": 2}


def test_a_copy_has_the_tests_of_its_tenant_and_environment_and_no_others(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant, environment="staging")
    assert reason(copy_of(tenant)) is Reason.UNKNOWN_TEST
    assert reason(copy_of(TenantId(uuid.uuid4()))) is Reason.UNKNOWN_TEST
    assert reason(copy_of(tenant, environment="staging")) is Reason.ASSIGNED


def test_a_poll_finds_what_was_not_told(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    copy = copy_of(tenant, poll_seconds=0.05)
    assert reason(copy) is Reason.ASSIGNED
    client = redis_client()
    for following in client.client_list():
        if "t" in following["flags"]:
            client.execute_command("CLIENT", "TRACKING", "OFF")
    until(lambda: copy._tests["prompt"].lease[0] > time.monotonic() + 59.9)
    first = copy._tests["prompt"].lease[0]
    until(lambda: copy._tests["prompt"].lease[0] > first)


def test_where_redis_may_not_tell_of_changes_they_come_by_polling(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    with_environment: Callable[..., None],
) -> None:
    begin(tenant)
    redis_client().acl_setuser(
        "reader", enabled=True, passwords=["+word"], keys="*", categories=["+@all"],
        commands=["-client"],
    )  # fmt: skip
    place = own.url.rpartition("@")[2]
    with_environment(REDIS_URL=f"redis://reader:word@{place}")
    copy = copy_of(tenant, poll_seconds=0.05)
    assert reason(copy) is Reason.ASSIGNED
    with_environment(REDIS_URL=own.url)
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)


def test_a_flushed_redis_is_filled_from_postgresql_and_nobody_notices(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    copy = copy_of(tenant, restore=restoring(tenant))
    before = [copy.assign("prompt", f"u{n}") for n in range(100)]
    redis_client().flushall()
    until(lambda: redis_client().exists(ab_table_key(tenant, "production", "prompt")))
    assert [copy.assign("prompt", f"u{n}") for n in range(100)] == before
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)


def test_a_redis_that_was_killed_is_found_again_and_what_it_missed_is_known_to_it(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin(tenant)
    copy = copy_of(tenant, restore=restoring(tenant), lease_seconds=1.0, poll_seconds=0.1)
    assert reason(copy) is Reason.ASSIGNED
    own.kill()
    try:
        change(tenant, ramp, 0.0)
        assert reason(copy) is Reason.ASSIGNED
        until(lambda: reason(copy) is Reason.STALE)
        served = copy.assign("prompt", "u")
        assert served.variant is not None
        assert (served.variant.name, served.in_test) == ("a", False)
    finally:
        own.begin()
    until(lambda: reason(copy) is Reason.NOT_COVERED)
    away = [r for r in caplog.records if "Redis is away" in r.getMessage()]
    assert len(away) == 1


def test_without_redis_from_the_beginning_no_test_is_known_and_nobody_waits_long(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    with_environment: Callable[..., None],
) -> None:
    begin(tenant)
    with_environment(REDIS_URL="redis://127.0.0.1:1/0")
    copy = copy_of(tenant)
    assert reason(copy) is Reason.UNKNOWN_TEST
    with_environment(REDIS_URL=own.url)
    until(lambda: reason(copy) is Reason.ASSIGNED)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, key, text: client.set(key, "{"),
        lambda client, key, text: client.set(key, b"\xff\xfe\x00"),
        lambda client, key, text: client.set(key, text.replace("running", "stopped")),
        lambda client, key, text: [client.delete(key), client.lpush(key, "x")],
        lambda client, key, text: client.delete(key),
    ],
)
def test_a_spoilt_value_changes_nothing_and_is_told_once(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[..., object],
) -> None:
    begin(tenant)
    copy = copy_of(tenant)
    assert reason(copy) is Reason.ASSIGNED
    key = ab_table_key(tenant, "production", "prompt")
    client = redis_client()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            spoil(client, key, str(AssignmentTable.to_text(copy._tests["prompt"].table)))
        # The next change is heard of, so what was before it was heard of too.
        begin(tenant, "after")
        until(lambda: reason(copy, test="after") is Reason.ASSIGNED)
    assert reason(copy) is Reason.ASSIGNED
    assert len([r for r in caplog.records if "passed over" in r.getMessage()]) <= 1
    with tenant_session(tenant) as session:
        assert republish(session) == 1


def test_a_spoilt_index_is_no_reason_to_stop(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    redis_client().delete(ab_index_key(tenant, "production"))
    redis_client().lpush(ab_index_key(tenant, "production"), "x")
    copy = copy_of(tenant, restore=restoring(tenant))
    until(lambda: reason(copy) is Reason.ASSIGNED)


def test_no_version_that_the_index_may_say_keeps_other_tests_from_being_followed(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    redis_client().hset(ab_index_key(tenant, "production"), "huge", "9" * 5_000)
    copy = copy_of(tenant)
    assert reason(copy) is Reason.ASSIGNED
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)


def test_a_table_that_cannot_be_made_ready_keeps_no_other_from_being_followed(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    table: MakeTable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = table(name="refused")

    class Odd(ExposureBuffer):
        def of_test(self, test_id: uuid.UUID, *of_it: Any) -> Any:
            if test_id == refused.test_id:
                raise RuntimeError("nobody foresaw it")
            return super().of_test(test_id, *of_it)

    publish(tenant, Truth("production", refused, NOBODY_KEPT))
    begin(tenant)
    copy = copy_of(tenant, exposures=Odd(), poll_seconds=0.05)
    assert reason(copy) is Reason.ASSIGNED
    assert reason(copy, test="refused") is Reason.UNKNOWN_TEST
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)
    told = [r.getMessage() for r in caplog.records if "passed over" in r.getMessage()]
    assert told == ["A/B table 'refused' in Redis is passed over: RuntimeError"]


def test_what_nobody_foresaw_is_told_once_and_following_goes_on_when_it_is_over(
    own: OwnRedis,
    tenant: TenantId,
    copy_of: Callable[..., LocalCopy],
    with_environment: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin(tenant)
    with_environment(REDIS_URL=f"{own.url}?socket_timeout=never")
    copy = copy_of(tenant)
    assert reason(copy) is Reason.UNKNOWN_TEST
    with_environment(REDIS_URL=own.url)
    until(lambda: reason(copy) is Reason.ASSIGNED)
    told = [r.getMessage() for r in caplog.records if "not followed" in r.getMessage()]
    assert told == ["A/B tests are not followed: ValueError"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_begun_again(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    ends = [SystemExit()]

    def restore() -> None:
        if ends:
            raise ends.pop()
        restoring(tenant)()

    copy = copy_of(tenant, restore=restore)
    assert reason(copy) is Reason.UNKNOWN_TEST
    begin(tenant)
    until(lambda: reason(copy) is Reason.ASSIGNED)


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as `select` knows."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_024)]
    yield
    for descriptor in opened:
        os.close(descriptor)


def test_a_process_with_thousands_of_files_hears_of_a_pause(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy], many_files: None
) -> None:
    begin(tenant)
    copy = copy_of(tenant)
    assert reason(copy) is Reason.ASSIGNED
    assert copy._wake_read > 1_023
    change(tenant, pause)
    until(lambda: reason(copy) is Reason.PAUSED)


@pytest.mark.parametrize("environment", ["", "a:b", "a\nb", "x" * 201, None, ["production"]])
def test_what_can_be_no_environment_is_not_followed(tenant: TenantId, environment: Any) -> None:
    with pytest.raises(AssignmentError, match="environment"):
        local_copy(tenant, environment)


def test_a_process_has_copies_of_so_many_environments_and_no_more(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_ENVIRONMENTS", 2)
    first = local_copy(tenant)
    local_copy(tenant, "staging")
    with pytest.raises(AssignmentError, match="copies of 2 others"):
        local_copy(tenant, "another")
    assert local_copy(tenant) is first
    close_copies()


def test_an_older_table_never_replaces_a_newer_one(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy], table: MakeTable
) -> None:
    publish(tenant, Truth("production", table(version=5, status=AbStatus.PAUSED), NOBODY_KEPT))
    copy = copy_of(tenant)
    assert reason(copy) is Reason.PAUSED
    old = table(version=4)
    redis_client().set(ab_table_key(tenant, "production", "prompt"), old.to_text())
    publish(tenant, Truth("production", table(name="after"), NOBODY_KEPT))
    until(lambda: reason(copy, test="after") is Reason.ASSIGNED)
    assert reason(copy) is Reason.PAUSED


def test_units_that_keep_their_variant_keep_it_in_the_copy(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy], table: MakeTable
) -> None:
    before = table(sticky=True)
    publish(tenant, Truth("production", before, NOBODY_KEPT))
    copy = copy_of(tenant)
    units = [f"u{number}" for number in range(200)]
    met = {unit: copy.assign("prompt", unit).variant for unit in units}
    slots = reallocate(before.slots, (0.0, 1.0))
    slots = slots.marked(lost(before.slots, slots))
    shown = {unit: variant.name for unit, variant in met.items() if variant is not None}
    kept = kept_units(slots, "ab", shown)
    moved = replace(before, version=3, slots=slots, kept=kept_digest(kept))
    publish(tenant, Truth("production", moved, kept))
    until(lambda: copy.versions() == {"prompt": 3})
    assert {unit: copy.assign("prompt", unit).variant for unit in units} == met
    reasons = {copy.assign("prompt", unit).reason for unit in units}
    assert reasons == {Reason.KEPT, Reason.ASSIGNED}
    assert str(copy.assign("prompt", "late").variant) == str(moved.variants[1])


def test_a_table_without_the_units_it_needs_is_not_taken(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy], table: MakeTable
) -> None:
    publish(tenant, Truth("production", table(), NOBODY_KEPT))
    copy = copy_of(tenant)
    assert reason(copy) is Reason.ASSIGNED
    needing = replace(table(version=3), kept="0" * 32)
    redis_client().set(ab_table_key(tenant, "production", "prompt"), needing.to_text())
    publish(tenant, Truth("production", table(name="after"), NOBODY_KEPT))
    until(lambda: reason(copy, test="after") is Reason.ASSIGNED)
    assert copy.versions()["prompt"] == 2
    # One that assigns nothing needs nobody: a kill switch does not wait for them.
    paused = replace(needing, version=4, status=AbStatus.PAUSED)
    redis_client().set(ab_table_key(tenant, "production", "prompt"), paused.to_text())
    publish(tenant, Truth("production", table(name="later"), NOBODY_KEPT))
    until(lambda: reason(copy, test="later") is Reason.ASSIGNED)
    assert reason(copy) is Reason.PAUSED


def test_a_child_of_a_fork_follows_by_itself_and_drains_what_it_counted(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    buffer = ExposureBuffer()
    copy = copy_of(tenant, exposures=buffer)
    parents = copy.assign("prompt", "parent")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        told = b"failed"
        try:
            same = copy.assign("prompt", "parent") == parents
            copy.assign("prompt", "child")
            drained: list[Exposure] = []
            buffer.drain(drained.extend)
            os.write(write, repr((same, [e.unit_id for e in drained])).encode() + b"\n")
            until(lambda: reason(copy) is Reason.PAUSED)
            told = b"paused"
        finally:
            os.write(write, told)
            os._exit(0)
    with os.fdopen(read, "rb") as answers_of_child:
        os.close(write)
        assert answers_of_child.readline() == b"(True, ['parent', 'child'])\n"
        change(tenant, pause)
        assert answers_of_child.read() == b"paused"
    os.waitpid(child, 0)
    until(lambda: reason(copy) is Reason.PAUSED)
    mine: list[Exposure] = []
    buffer.drain(mine.extend)
    assert [exposure.unit_id for exposure in mine] == ["parent"]


def test_a_child_of_a_fork_is_waited_for_as_a_process_of_its_own(
    own: OwnRedis, tenant: TenantId
) -> None:
    begin(tenant, sticky=True)
    copy = local_copy(tenant)
    assert reason(copy) is Reason.ASSIGNED
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, b"%d" % (reason(copy, "child") is Reason.ASSIGNED))
            until(lambda: reason(copy, "child") is Reason.PAUSED)
            close_copies()
        finally:
            os._exit(0)
    assert os.read(read, 1) == b"1"
    with tenant_session(tenant) as session:
        assert followers(session, "production") == 2
    change(tenant, pause)
    os.waitpid(child, 0)
    with tenant_session(tenant) as session:
        assert followers(session, "production") == 1
        assert session.scalar(sa.select(sa.func.count()).select_from(ExposureRow)) == 2
    close_copies()
    with tenant_session(tenant) as session:
        assert followers(session, "production") == 0
    os.close(read)
    os.close(write)


def test_a_child_of_multiprocessing_stores_what_it_showed_and_is_waited_for_no_more(
    own: OwnRedis, tenant: TenantId
) -> None:
    begin(tenant, sticky=True)
    assert reason(local_copy(tenant)) is Reason.ASSIGNED
    child = multiprocessing.get_context("fork").Process(
        target=lambda: [reason(local_copy(tenant), f"child-{n}") for n in range(50)]
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    close_copies()
    with tenant_session(tenant) as session:
        assert followers(session, "production") == 0
        assert session.scalar(sa.select(sa.func.count()).select_from(ExposureRow)) == 51


def test_a_copy_that_is_closed_follows_no_more(
    own: OwnRedis, tenant: TenantId, copy_of: Callable[..., LocalCopy]
) -> None:
    begin(tenant)
    copy = copy_of(tenant)
    first: Assignment = copy.assign("prompt", "u")
    copy.close()
    copy.close()
    change(tenant, pause)
    assert copy.assign("prompt", "u") == first
