from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from shared.abtest.assignment import AssignmentTable
from shared.abtest.definition import Rules, Variant
from shared.abtest.slots import allocate
from shared.abtest.states import AbStatus
from shared.local import ports
from shared.local import redis as redis_server
from shared.redis_client import redis_client
from tests.shared.abtest.own_redis import OwnRedis

TEST_ID = UUID(int=7)


@pytest.fixture
def table() -> Callable[..., AssignmentTable]:
    """Make a table of a running test with the rules that are given."""

    def make(
        *weights: float,
        status: AbStatus = AbStatus.RUNNING,
        name: str = "prompt",
        version: int = 2,
        **rules: Any,
    ) -> AssignmentTable:
        shares = weights or (0.5, 0.5)
        given = Rules.model_validate(rules)
        return AssignmentTable(
            test_id=TEST_ID,
            name=name,
            version=version,
            status=status,
            variants=tuple(
                Variant(name=letter, weight=share)
                for letter, share in zip("abcdefgh", shares, strict=False)
            ),
            rules=given,
            slots=allocate(shares, given.coverage),
            winner="b" if status is AbStatus.CONCLUDED else None,
        )

    return make


@pytest.fixture(scope="module")
def own_redis(services: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    folder = tmp_path_factory.mktemp("redis")
    record = redis_server.new_record(redis_server.find(), folder, ports.choose())
    configuration = folder / "redis.conf"
    redis_server.prepare(record, configuration, durable=False)
    own = OwnRedis(tuple(redis_server.server_command(record, configuration)), record.redis_url)
    own.begin()
    yield own
    own.kill()


@pytest.fixture
def own(own_redis: OwnRedis, with_environment: Callable[..., None]) -> Iterator[OwnRedis]:
    """The file's Redis, which everything uses for the time of a test."""
    with_environment(REDIS_URL=own_redis.url)
    yield own_redis
    redis_client().close()
