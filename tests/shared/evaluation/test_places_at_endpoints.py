"""Limits of an endpoint hold over all workers, and nobody's death takes a place for good."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from uuid import uuid4

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.agents import places
from shared.evaluation.agents.places import (
    Limits,
    LocalLedger,
    NoPlaceError,
    RedisLedger,
    admitted,
)
from shared.redis_client import endpoint_places_key, endpoint_rate_key

TWO = Limits(max_concurrency=2)


@pytest.fixture(autouse=True)
def _a_keeper_of_its_own() -> None:
    places._keeper_of.cache_clear()


def test_no_more_hold_a_place_than_there_are(clean_redis: redis.Redis) -> None:
    ledger = RedisLedger()
    assert [ledger.enter("e", TWO, holder) for holder in "abc"] == [None, None, 0]
    assert ledger.enter("other", TWO, "c") is None
    ledger.leave("e", "a")
    assert ledger.enter("e", TWO, "c") is None


def test_a_killed_holders_place_is_free_when_its_lease_runs_out(clean_redis: redis.Redis) -> None:
    ledger = RedisLedger(lease_seconds=0.2)
    one = Limits(max_concurrency=1)
    assert ledger.enter("e", one, "killed") is None
    assert ledger.enter("e", one, "next") == 0
    expiry = clean_redis.zscore(endpoint_places_key("e"), "killed")
    assert expiry is not None
    clean_redis.zadd(endpoint_places_key("e"), {"killed": expiry - 10_000})
    assert ledger.enter("e", one, "next") is None


def test_a_renewed_lease_lasts_and_one_that_ran_out_is_not_revived(
    clean_redis: redis.Redis,
) -> None:
    ledger = RedisLedger(lease_seconds=10)
    ledger.enter("e", TWO, "a")
    clean_redis.zadd(endpoint_places_key("e"), {"a": 1.0})
    ledger.renew("e", "a")
    assert (clean_redis.zscore(endpoint_places_key("e"), "a") or 0) > 1.0
    ledger.leave("e", "a")
    ledger.renew("e", "a")
    assert clean_redis.zcard(endpoint_places_key("e")) == 0


def test_keys_of_an_endpoint_that_is_not_used_any_more_vanish(clean_redis: redis.Redis) -> None:
    RedisLedger().enter("e", Limits(2, 60), "a")
    assert clean_redis.pttl(endpoint_places_key("e")) > 0
    assert clean_redis.pttl(endpoint_rate_key("e")) > 0


def test_a_minute_sees_no_more_calls_than_allowed_and_says_when_to_come_again(
    clean_redis: redis.Redis,
) -> None:
    ledger = RedisLedger()
    limits = Limits(requests_per_minute=30)
    waits = [ledger.enter("e", limits, str(number)) for number in range(4)]
    assert waits[:3] == [None] * 3
    assert waits[3] == pytest.approx(60 / 28, rel=0.2)


@given(st.integers(1, 500), st.lists(st.floats(0.001, 20), min_size=1, max_size=60))
def test_no_sixty_seconds_see_more_than_the_rate(rate: int, pauses: list[float]) -> None:
    now = 0.0
    ledger = LocalLedger(clock=lambda: now)
    limits = Limits(requests_per_minute=rate)
    admissions: list[float] = []
    for number, pause in enumerate(pauses):
        now += pause
        for again in range(rate + 1):
            if ledger.enter("e", limits, f"{number}/{again}") is not None:
                break
            admissions.append(now)
    for index, first in enumerate(admissions):
        within = [at for at in admissions[index:] if at < first + 59.999]
        assert len(within) <= rate


def test_the_rate_is_reached_by_those_who_come_when_they_are_told() -> None:
    now = 0.0
    ledger = LocalLedger(clock=lambda: now)
    limits, admitted_ones = Limits(requests_per_minute=60), 0
    while now < 600:
        wait = ledger.enter("e", limits, str(now))
        admitted_ones += wait is None
        now += wait + 1e-6 if wait is not None else 0.0
    assert admitted_ones >= 0.9 * 600


def hold(name: str, seconds: float) -> list[tuple[float, float]]:
    """Run in a process of its own: three calls, each from when to when it held its place."""

    async def one() -> tuple[float, float]:
        async with admitted(name, TWO, 30):
            began = time.time()
            await asyncio.sleep(seconds)
            return began, time.time()

    async def three() -> list[tuple[float, float]]:
        return list(await asyncio.gather(*(one() for _ in range(3))))

    return asyncio.run(three())


def test_several_processes_together_keep_the_limit(clean_redis: redis.Redis) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        held = [pool.submit(hold, "e", 0.1) for _ in range(2)]
        spans = sorted(span for one in held for span in one.result(60))
    assert len(spans) == 6
    for began, _ in spans:
        assert sum(first <= began < last for first, last in spans) <= 2


def test_who_waits_is_let_in_and_is_told_how_long_it_was(clean_redis: redis.Redis) -> None:
    async def play() -> tuple[float, float]:
        one = Limits(max_concurrency=1)
        freed = asyncio.Event()

        async def first() -> float:
            async with admitted("e", one, 5) as waited:
                await freed.wait()
                return waited

        async def second() -> float:
            async with admitted("e", one, 5) as waited:
                return waited

        tasks = asyncio.create_task(first()), asyncio.create_task(second())
        await asyncio.sleep(0.3)
        assert not tasks[1].done()
        freed.set()
        return await tasks[0], await tasks[1]

    quick, slow = asyncio.run(play())
    # It begins to wait a little after the clock of this test does.
    assert slow > max(0.1, quick)


def test_who_finds_no_place_in_time_goes_and_leaves_nothing(clean_redis: redis.Redis) -> None:
    async def play() -> None:
        one = Limits(max_concurrency=1)
        async with admitted("e", one, 5):
            with pytest.raises(NoPlaceError):
                async with admitted("e", one, 0.2):
                    raise AssertionError("two hold the one place")
        async with admitted("e", one, 5):
            assert clean_redis.zcard(endpoint_places_key("e")) == 1

    asyncio.run(play())
    assert clean_redis.zcard(endpoint_places_key("e")) == 0


def test_who_is_cancelled_frees_its_place(clean_redis: redis.Redis) -> None:
    async def play() -> None:
        one = Limits(max_concurrency=1)

        async def call() -> None:
            async with admitted("e", one, 5):
                await asyncio.sleep(60)

        calls = [asyncio.create_task(call()) for _ in range(3)]
        await asyncio.sleep(0.2)
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)
        async with admitted("e", one, 5):
            pass

    asyncio.run(play())
    assert clean_redis.zcard(endpoint_places_key("e")) == 0


def test_without_limits_redis_is_not_asked(with_environment: Callable[..., None]) -> None:
    with_environment(REDIS_URL="redis://127.0.0.1:9/0")

    async def play() -> float:
        async with admitted("e", Limits(), 1) as waited:
            return waited

    assert asyncio.run(play()) == 0


def test_with_redis_away_the_process_keeps_the_limit_alone_and_warns(
    with_environment: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with_environment(REDIS_URL="redis://127.0.0.1:9/0")
    name = uuid4().hex

    async def play() -> None:
        one = Limits(max_concurrency=1)
        async with admitted(name, one, 5):
            with pytest.raises(NoPlaceError):
                async with admitted(name, one, 0.2):
                    raise AssertionError("two hold the one place")
        async with admitted(name, one, 5):
            pass

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "Redis does not answer" in said[0]
