"""The copy of each assignment table in Redis: written after commit, never older than before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.abtest.assignment import AssignmentTable, TableError
from shared.abtest.kept import Kept, digest
from shared.database import tenant_of
from shared.redis_client import ab_index_key, ab_kept_key, ab_table_key, redis_client

log = logging.getLogger(__name__)

KEPT_AFTERWARDS_SECONDS: Final = 3_600
"How long packed units stay that no table needs any more: a process may be about to load them."


# Somebody may have put there what is no text at all.
_AS_IT_IS: Final = {NEVER_DECODE: True}


class Truth(NamedTuple):
    """A table as PostgreSQL has it, with the units that it names by their digest."""

    environment: str
    table: AssignmentTable
    kept: Kept | None = None
    "None where they were published before."


class Wanted(NamedTuple):
    """The version of a test that Redis should have, or a newer one."""

    environment: str
    name: str
    test_id: UUID
    version: int


# Two commits may publish in either order: the newer table stays. What is no table is replaced.
_KEEP_THE_NEWEST: Final = """
local index = redis.call('TYPE', KEYS[2]).ok
if index ~= 'hash' and index ~= 'none' then redis.call('DEL', KEYS[2]) end
local held = redis.pcall('GET', KEYS[1])
local sum, body
if type(held) == 'string' then sum, body = string.match(held, '^(%x+)\\n(.*)$') end
if sum and redis.sha1hex(body) == sum then
    local read, table = pcall(cjson.decode, body)
    if read and type(table) == 'table' and table.test_id == ARGV[2] and tonumber(table.version) then
        if tonumber(table.version) >= tonumber(ARGV[3]) then
            redis.call('HSET', KEYS[2], ARGV[4], table.version)
            return 0
        end
        if type(table.kept) == 'string' and table.kept ~= ARGV[5] then
            redis.call('EXPIRE', ARGV[6] .. table.kept, ARGV[7])
        end
    end
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[4], ARGV[3])
return 1
"""


def publish_after_commit(session: Session, truth: Truth) -> None:
    """Publish once the session's transaction has committed, not before and not if not."""
    tenant_id = tenant_of(session)

    @event.listens_for(session, "after_commit", once=True)
    def _publish(_: Session) -> None:
        try:
            publish(tenant_id, truth)
        except RedisError as error:
            # Whoever loads the table next sees that Redis is behind, and publishes it.
            log.warning("A/B table %s not published: %s", truth.table.name, type(error).__name__)


def publish(tenant_id: UUID, truth: Truth) -> None:
    """Store a table and the units that come with it, unless Redis has it or a newer version.

    Raises `RedisError`.
    """
    environment, table, kept = truth
    client = redis_client()
    if table.kept is not None and kept is not None:
        # Before the table: who loads that finds them.
        client.set(ab_kept_key(tenant_id, table.kept), kept.packed())
    client.eval(
        _KEEP_THE_NEWEST,
        2,
        ab_table_key(tenant_id, environment, table.name),
        ab_index_key(tenant_id, environment),
        table.to_text(),
        str(table.test_id),
        str(table.version),
        table.name,
        table.kept or "",
        ab_kept_key(tenant_id, ""),
        str(KEPT_AFTERWARDS_SECONDS),
    )


def fetch(tenant_id: UUID, environment: str, name: str) -> AssignmentTable | None:
    """The table that Redis serves, None when it serves none that can be read.

    Raises `RedisError`.
    """
    key = ab_table_key(tenant_id, environment, name)
    return _readable(cast("Any", redis_client()).execute_command("GET", key, **_AS_IT_IS))


def behind(tenant_id: UUID, wanted: Sequence[Wanted]) -> list[Wanted]:
    """Those of which Redis has no table that can be read, or an older one, or lacks the units that
    the table needs. Raises `RedisError`."""
    texts = _answers(
        [
            read
            for environment, name, _, _ in wanted
            for read in (
                ("GET", ab_table_key(tenant_id, environment, name)),
                ("HGET", ab_index_key(tenant_id, environment), name),
            )
        ]
    )
    tables = [_readable(text) for text in texts[::2]]
    kept = _answers([("EXISTS", ab_kept_key(tenant_id, (t and t.kept) or "")) for t in tables])
    return [
        one
        for one, table, version, there in zip(wanted, tables, texts[1::2], kept, strict=True)
        if table is None
        or (table.test_id, version) != (one.test_id, b"%d" % table.version)
        or table.version < one.version
        or (table.kept is not None and not there)
    ]


def has_kept(tenant_id: UUID, name: str) -> bool:
    """Whether Redis has the packed units of that digest. Raises `RedisError`."""
    return bool(redis_client().exists(ab_kept_key(tenant_id, name)))


def kept_digest(kept: Kept) -> str | None:
    """The name of the packed units, None for none."""
    return digest(kept.packed()) if len(kept.units) else None


def _answers(commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """The answers, in one round trip, as bytes; an error where a value has another type."""
    pipeline: Any
    with redis_client().pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command, **_AS_IT_IS)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, ConnectionError | TimeoutError):
            raise answer
    return answers


def _readable(text: object) -> AssignmentTable | None:
    if not isinstance(text, bytes):
        return None
    try:
        return AssignmentTable.from_text(text.decode("utf-8", "replace"))
    except TableError:
        return None
