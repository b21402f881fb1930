"""How many calls an endpoint gets at a time and in a minute, from all workers together.

The count is in Redis. A place is a lease that its holder renews: that of a killed worker is free
again when it runs out. Without Redis each process keeps the limits for itself and warns: a limit
that is not shared is better than no evaluation.

The rate is a token bucket: `burst` tokens at most, refilled so slowly that no 60 seconds see more
than `requests_per_minute` calls, those saved up included.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

import redis

from shared.local.errors import ServicesNotRunning
from shared.redis_client import endpoint_places_key, endpoint_rate_key, redis_client

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_SECONDS: Final = 20.0
"A place whose holder is gone is free after this."
_RENEW_SECONDS: Final = 5.0
_FIRST_LOOK_SECONDS: Final = 0.02
_LONGEST_LOOK_SECONDS: Final = 0.25
_REDIS_AWAY_SECONDS: Final = 15.0
_LEAVING_SECONDS: Final = 1.0
_AWAY: Final = (redis.RedisError, ServicesNotRunning, OSError)


class NoPlaceError(Exception):
    """All places were taken for as long as was waited."""


@dataclass(frozen=True)
class Limits:
    """None: without a limit."""

    max_concurrency: int | None = None
    requests_per_minute: int | None = None

    @property
    def any(self) -> bool:
        return self.max_concurrency is not None or self.requests_per_minute is not None

    @property
    def burst(self) -> int:
        """How many calls may be made at once after a pause: a tenth of a minute's."""
        return max(1, (self.requests_per_minute or 0) // 10)

    @property
    def tokens_per_second(self) -> float:
        return ((self.requests_per_minute or 0) - self.burst + 1) / 60


class Ledger(Protocol):
    """Who holds a place at which endpoint."""

    def enter(self, endpoint: str, limits: Limits, holder: str) -> float | None:
        """None when `holder` has a place now, else the seconds until it is worth asking again."""

    def renew(self, endpoint: str, holder: str) -> None: ...

    def leave(self, endpoint: str, holder: str) -> None: ...


_ENTER: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local holder, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local burst, per_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if most > 0 and redis.call('ZCARD', KEYS[1]) >= most then
    return 0
end
if per_ms > 0 then
    local kept = redis.call('HMGET', KEYS[2], 'tokens', 'at')
    local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
    tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)
    if tokens < 1 then
        return math.ceil((1 - tokens) / per_ms)
    end
    redis.call('HSET', KEYS[2], 'tokens', tostring(tokens - 1), 'at', now)
    redis.call('PEXPIRE', KEYS[2], math.ceil(burst / per_ms) + 1000)
end
if most > 0 then
    redis.call('ZADD', KEYS[1], now + lease, holder)
    redis.call('PEXPIRE', KEYS[1], lease + 1000)
end
return -1
"""
"Redis's own clock: those of the workers differ. -1: come in; 0: no place; else ms to wait."

_RENEW: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
if redis.call('ZADD', KEYS[1], 'XX', 'CH', now + tonumber(ARGV[2]), ARGV[1]) == 1 then
    redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]) + 1000)
end
"""


class RedisLedger:
    """The one of all workers. Each method is one script or command, so atomic."""

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self._lease_ms = round(lease_seconds * 1000)

    def enter(self, endpoint: str, limits: Limits, holder: str) -> float | None:
        per_ms = limits.tokens_per_second / 1000 if limits.requests_per_minute else 0.0
        most = limits.max_concurrency or 0
        script = redis_client().register_script(_ENTER)
        answered = script(
            keys=[endpoint_places_key(endpoint), endpoint_rate_key(endpoint)],
            args=[holder, self._lease_ms, most, limits.burst, repr(per_ms)],
        )
        wait = int(str(answered))
        return None if wait < 0 else wait / 1000

    def renew(self, endpoint: str, holder: str) -> None:
        script = redis_client().register_script(_RENEW)
        script(keys=[endpoint_places_key(endpoint)], args=[holder, self._lease_ms])

    def leave(self, endpoint: str, holder: str) -> None:
        redis_client().zrem(endpoint_places_key(endpoint), holder)


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class LocalLedger:
    """The same for one process. `clock` gives seconds; used from one thread."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[str, set[str]] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def enter(self, endpoint: str, limits: Limits, holder: str) -> float | None:
        held = self._held.setdefault(endpoint, set())
        if limits.max_concurrency is not None and len(held) >= limits.max_concurrency:
            return 0.0
        if limits.requests_per_minute is not None:
            now = self.clock()
            bucket = self._buckets.setdefault(endpoint, _Bucket(limits.burst, now))
            gained = max(0.0, now - bucket.at) * limits.tokens_per_second
            tokens = min(float(limits.burst), bucket.tokens + gained)
            if tokens < 1:
                return (1 - tokens) / limits.tokens_per_second
            bucket.tokens, bucket.at = tokens - 1, now
        held.add(holder)
        return None

    def renew(self, endpoint: str, holder: str) -> None:
        """A process that is gone takes its ledger with it: there is no lease."""

    def leave(self, endpoint: str, holder: str) -> None:
        self._held.get(endpoint, set()).discard(holder)


class _Keeper:
    """The ledger of this process: Redis's, or its own while Redis is away."""

    def __init__(self) -> None:
        # One thread: a place is left after it was entered, whatever is cancelled in between.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="places")
        self._shared = RedisLedger()
        self._own = LocalLedger()
        self._own_until = 0.0
        self._entered: dict[str, Ledger] = {}

    def enter(self, endpoint: str, limits: Limits, holder: str) -> float | None:
        ledger: Ledger = self._shared if time.monotonic() >= self._own_until else self._own
        try:
            wait = ledger.enter(endpoint, limits, holder)
        except _AWAY as error:
            self._own_until = time.monotonic() + _REDIS_AWAY_SECONDS
            log.warning(
                "Redis does not answer (%s): until it does, this process alone keeps the limits"
                " of model endpoints",
                type(error).__name__,
            )
            ledger = self._own
            wait = ledger.enter(endpoint, limits, holder)
        if wait is None:
            self._entered[holder] = ledger
        return wait

    def renew(self, endpoint: str, holder: str) -> None:
        try:
            self._entered[holder].renew(endpoint, holder)
        except _AWAY as error:
            log.warning("a place at a model endpoint was not renewed: %s", type(error).__name__)

    def leave(self, endpoint: str, holder: str) -> None:
        """Give back the place of `holder`, if it has one."""
        ledger = self._entered.pop(holder, None)
        try:
            if ledger is not None:
                ledger.leave(endpoint, holder)
        except _AWAY as error:
            log.warning(
                "a place at a model endpoint is free in %g s only: %s",
                LEASE_SECONDS,
                type(error).__name__,
            )


@lru_cache(maxsize=1)
def _keeper_of(process: int) -> _Keeper:
    return _Keeper()


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = WeakKeyDictionary()


@asynccontextmanager
async def admitted(endpoint: str, limits: Limits, seconds: float) -> AsyncIterator[float]:
    """Hold a place at `endpoint`; gives the seconds that were waited for it.

    In a process those who wait are let in in their order, and only the first asks. Raises
    NoPlaceError when there is none within `seconds`.
    """
    if not limits.any:
        yield 0.0
        return
    keeper, holder, began = _keeper_of(os.getpid()), uuid4().hex, time.monotonic()
    loop = asyncio.get_running_loop()
    try:
        try:
            async with asyncio.timeout(seconds), _queue(loop, endpoint):
                await _enter(loop, keeper, endpoint, limits, holder)
        except TimeoutError:
            raise NoPlaceError from None
        renewing = asyncio.create_task(_renewed(loop, keeper, endpoint, holder))
        try:
            yield time.monotonic() - began
        finally:
            renewing.cancel()
    finally:
        # The thread does it whether or not this is cancelled, and in the order of what was asked.
        leaving = loop.run_in_executor(keeper.thread, keeper.leave, endpoint, holder)
        await asyncio.wait({leaving}, timeout=_LEAVING_SECONDS)


def _queue(loop: asyncio.AbstractEventLoop, endpoint: str) -> asyncio.Lock:
    return _queues.setdefault(loop, {}).setdefault(endpoint, asyncio.Lock())


async def _enter(
    loop: asyncio.AbstractEventLoop, keeper: _Keeper, endpoint: str, limits: Limits, holder: str
) -> None:
    look = _FIRST_LOOK_SECONDS
    while True:
        wait = await loop.run_in_executor(keeper.thread, keeper.enter, endpoint, limits, holder)
        if wait is None:
            return
        # Uneven, so that the workers do not all ask at the same moments.
        await asyncio.sleep(max(min(wait, _LONGEST_LOOK_SECONDS), look) * random.uniform(0.75, 1))
        look = min(2 * look, _LONGEST_LOOK_SECONDS)


async def _renewed(
    loop: asyncio.AbstractEventLoop, keeper: _Keeper, endpoint: str, holder: str
) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await loop.run_in_executor(keeper.thread, keeper.renew, endpoint, holder)
