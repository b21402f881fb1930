"""The copy of each assignment table in Redis: written after commit, never older than before."""

from __future__ import annotations

import json
import logging
from typing import Final
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.abtest.assignment import AssignmentTable
from shared.database import tenant_of
from shared.redis_client import ab_table_key, redis_client

log = logging.getLogger(__name__)

# Two commits may publish in either order: the newer table stays. What is no table is replaced.
_KEEP_THE_NEWEST: Final = """
local held = redis.call('GET', KEYS[1])
if held then
    local read, table = pcall(cjson.decode, held)
    if read and type(table) == 'table' and table.test_id == ARGV[2]
            and tonumber(table.version) and tonumber(table.version) >= tonumber(ARGV[3]) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


def publish_after_commit(
    session: Session, environment: str, name: str, table: AssignmentTable
) -> None:
    """Publish `table` once the session's transaction has committed, not before and not if not."""
    tenant_id = tenant_of(session)

    @event.listens_for(session, "after_commit", once=True)
    def _publish(_: Session) -> None:
        try:
            publish(tenant_id, environment, name, table)
        except RedisError as error:
            # Whoever loads the table next sees that Redis is behind, and publishes it.
            log.warning("A/B table %s not published: %s", name, type(error).__name__)


def publish(tenant_id: UUID, environment: str, name: str, table: AssignmentTable) -> None:
    """Store `table`, unless Redis has it or a newer version. Raises `RedisError`."""
    redis_client().eval(
        _KEEP_THE_NEWEST,
        1,
        ab_table_key(tenant_id, environment, name),
        table.to_json(),
        str(table.test_id),
        str(table.version),
    )


def fetch(tenant_id: UUID, environment: str, name: str, truth: AssignmentTable) -> AssignmentTable:
    """The table that Redis serves; `truth` is published when that one is missing or behind."""
    try:
        text = redis_client().get(ab_table_key(tenant_id, environment, name))
        served = _readable(text if isinstance(text, str) else None)
        if (
            served is not None
            and served.test_id == truth.test_id
            and served.version >= truth.version
        ):
            return served
        publish(tenant_id, environment, name, truth)
    except RedisError as error:
        log.warning("A/B table %s from PostgreSQL: %s", name, type(error).__name__)
    return truth


def _readable(text: str | None) -> AssignmentTable | None:
    if text is None:
        return None
    try:
        return AssignmentTable.from_json(text)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
