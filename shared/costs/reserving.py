"""Hard stops: money is reserved before it is spent, so that all workers together keep a budget.

A call reserves what it is expected to cost and settles what it did cost. It is refused when what
is spent and reserved leaves no room for it. Looking and reserving is one script in Redis, so with
exact estimates nothing is overspent, whoever calls at the same time; with others each call in
flight can exceed its estimate once. A call that is let in with an estimate of 0 can exceed by all
it costs, and that is the most: one call for each worker.

What is spent: Redis adds up what is settled, and once a minute takes PostgreSQL's sum where that
is larger, because not everybody settles here. What this misses:

- Spending past the hard stop (without a reservation) until it is rolled up.
- When Redis is emptied the sum begins anew with PostgreSQL's: what was settled and is not rolled
  up yet is missing for about a minute, and the reservations of calls in flight are gone. What they
  settle is counted.
- A reservation whose holder dies is free again when its lease runs out; what its call cost is
  counted once its telemetry is rolled up, if it ever sent any.
- While Redis is away, PostgreSQL's sums alone decide.

An actual cost that is not known is taken to be the estimate: unknown is not zero.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import redis
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.costs.budgeting import own_budgets, spent
from shared.costs.budgets import Budget, Spent
from shared.database import TenantId, tenant_session
from shared.local.errors import ServicesNotRunning
from shared.money import dollars
from shared.redis_client import budget_leases_key, budget_sums_key, redis_client

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 120.0
"A reservation that nobody settled is free after this."
REFRESH_SECONDS: Final = 60.0
"How old PostgreSQL's sum may be. Rollups come once a minute."
LIMITS_SECONDS: Final = 10.0
"A hard stop that is set or removed is known to every process after this."
_REDIS_AWAY_SECONDS: Final = 15.0
_KEPT_AFTER: Final = timedelta(hours=1)
"How long the sums of a period are kept beyond its end."
_MOST_NANOS: Final = 2**53
_AWAY: Final = (redis.RedisError, ServicesNotRunning, OSError)


@dataclass(frozen=True)
class Hold:
    """A hard stop in the period that starts on a day."""

    budget: Budget
    starts_on: date

    @property
    def key(self) -> str:
        """What it is called in Redis: all that makes it another budget."""
        budget = self.budget
        return f"{budget.period}:{self.starts_on}:{budget.scope}:{budget.name}"


@dataclass(frozen=True)
class Reservation:
    """Leave to spend: to be settled once, and by whoever has it."""

    tenant_id: TenantId
    id: str
    model: str
    function: str
    estimate_nanos: int
    lease_seconds: float
    holds: tuple[Hold, ...]
    "Empty where no hard stop is in the way; then settling it is nothing."


@dataclass(frozen=True)
class Refused:
    """A hard stop leaves no room for the call."""

    budget: Budget
    starts_on: date
    spent_nanos: int
    reserved_nanos: int
    "By others: what this call asked for is not in it."
    estimate_nanos: int

    @property
    def limit_nanos(self) -> int:
        return self.budget.amount_nanos

    @property
    def reason(self) -> str:
        """One line that names the budget."""
        reserved = f" and {dollars(self.reserved_nanos)} reserved" if self.reserved_nanos else ""
        full = self.spent_nanos + self.reserved_nanos >= self.limit_nanos
        verdict = "is used up" if full else f"has no room for {dollars(self.estimate_nanos)} more"
        return (
            f"{self.budget} {verdict}: {dollars(self.spent_nanos)} spent{reserved}"
            f" since {self.starts_on}"
        )


def reserve(
    tenant_id: TenantId,
    model: str,
    function: str,
    estimate_nanos: int,
    *,
    lease_seconds: float = LEASE_SECONDS,
) -> Reservation | Refused:
    """Ask leave for a call of a registered model and function that may cost so much.

    One round trip to Redis, none where no hard stop applies. ValueError for an estimate below 0.
    """
    _require_amount(estimate_nanos)
    reservation = Reservation(
        tenant_id=tenant_id,
        id=uuid4().hex,
        model=model,
        function=function,
        estimate_nanos=estimate_nanos,
        lease_seconds=lease_seconds,
        holds=_holds(tenant_id, model, function, datetime.now(UTC)),
    )
    return _taken(reservation, None)


def go_on(
    reservation: Reservation, actual_nanos: int | None, estimate_nanos: int
) -> Reservation | Refused:
    """Settle and ask leave for the next call at once: one round trip for both.

    Where it is refused, it is settled all the same. ValueError for an amount below 0.
    """
    _require_amount(estimate_nanos)
    actual = _actual(reservation, actual_nanos)
    holds = _holds(
        reservation.tenant_id, reservation.model, reservation.function, datetime.now(UTC)
    )
    if holds != reservation.holds:
        # Midnight, or another budget: what was held is settled where it was held.
        settle(reservation, actual_nanos)
        return _taken(replace(reservation, estimate_nanos=estimate_nanos, holds=holds), None)
    return _taken(replace(reservation, estimate_nanos=estimate_nanos), actual)


def settle(reservation: Reservation, actual_nanos: int | None) -> None:
    """Count what a call has cost, and free what is left of its reservation.

    None: it is not known, and the estimate counts. ValueError for an amount below 0; never raises
    because Redis or PostgreSQL is away. To be called once: a second time counts it again.
    """
    actual = _actual(reservation, actual_nanos)
    if reservation.holds:
        _settled(reservation, actual)


def count_spent(tenant_id: TenantId, model: str, function: str, nanos: int) -> None:
    """Count what was spent without a reservation. ValueError for an amount below 0."""
    _require_amount(nanos)
    holds = _holds(tenant_id, model, function, datetime.now(UTC))
    if holds:
        _settled(Reservation(tenant_id, "", model, function, 0, LEASE_SECONDS, holds), nanos)


def hard_stops(tenant_id: TenantId, model: str, function: str) -> tuple[Budget, ...]:
    """The hard stops that a call of this model and function is subject to."""
    return tuple(one for one in _limits.of(tenant_id) if one.covers(model, function))


def _holds(tenant_id: TenantId, model: str, function: str, now: datetime) -> tuple[Hold, ...]:
    day = now.date()
    return tuple(
        Hold(budget, budget.period.start(day)) for budget in hard_stops(tenant_id, model, function)
    )


class _Limits:
    """The hard stops of each tenant, as this process has read them lately."""

    def __init__(self) -> None:
        self._known: dict[TenantId, tuple[float, tuple[Budget, ...]]] = {}

    def of(self, tenant_id: TenantId) -> tuple[Budget, ...]:
        until, found = self._known.get(tenant_id, (0.0, ()))
        if time.monotonic() < until:
            return found
        try:
            with tenant_session(tenant_id) as session:
                found = own_budgets(session, hard_stops_only=True)
        except DBAPIError as error:
            # What is under way need not end because the database is being restarted.
            if tenant_id not in self._known:
                raise
            log.warning("the hard stops are those of a while ago: %s", type(error.orig).__name__)
        self._known[tenant_id] = time.monotonic() + LIMITS_SECONDS, found
        return found

    def forget(self) -> None:
        self._known.clear()


_limits: Final = _Limits()

# Each budget has a hash (KEYS[2i - 1]) and a sorted set (KEYS[2i]); see `shared.redis_client`.
# Redis's own clock: those of the workers differ.
_TAKE: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local id, actual, estimate = ARGV[1], ARGV[2], ARGV[3]
local lease, stale = tonumber(ARGV[4]), tonumber(ARGV[5])

local function release(sums, leases, holder)
    local nanos = redis.call('HGET', sums, 'held:' .. holder)
    if nanos and nanos ~= '0' then
        redis.call('HINCRBY', sums, 'reserved', '-' .. nanos)
    end
    redis.call('HDEL', sums, 'held:' .. holder)
    redis.call('ZREM', leases, holder)
end

local unknown = {'unknown'}
for i = 1, #KEYS / 2 do
    local sums, leases = KEYS[2 * i - 1], KEYS[2 * i]
    local known, kept = ARGV[3 * i + 4], ARGV[3 * i + 5]
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do
        release(sums, leases, gone)
    end
    release(sums, leases, id)
    if actual ~= '' then
        redis.call('HINCRBY', sums, 'spent', actual)
    end
    local at = redis.call('HGET', sums, 'at')
    if known ~= '' then
        if not at then
            -- What was settled since Redis was emptied is in no roll-up yet.
            redis.call('HINCRBY', sums, 'spent', known)
        elseif tonumber(known) > tonumber(redis.call('HGET', sums, 'spent') or '0') then
            redis.call('HSET', sums, 'spent', known)
        end
        redis.call('HSET', sums, 'at', now)
    elseif not at then
        unknown[#unknown + 1] = i
    elseif estimate ~= '' and now - tonumber(at) >= stale then
        -- One looks it up, and the others go on with what is there.
        redis.call('HSET', sums, 'at', now)
        unknown[#unknown + 1] = i
    end
    redis.call('PEXPIRE', sums, kept)
end
if #unknown > 1 then
    return unknown
end
if estimate == '' then
    return {'settled'}
end
for i = 1, #KEYS / 2 do
    local found = redis.call('HMGET', KEYS[2 * i - 1], 'spent', 'reserved')
    local spent, reserved = tonumber(found[1] or '0'), tonumber(found[2] or '0')
    local limit = tonumber(ARGV[3 * i + 3])
    if spent + reserved >= limit or spent + reserved + tonumber(estimate) > limit then
        return {'refused', i, found[1] or '0', found[2] or '0'}
    end
end
for i = 1, #KEYS / 2 do
    local sums, leases = KEYS[2 * i - 1], KEYS[2 * i]
    redis.call('HSET', sums, 'held:' .. id, estimate)
    redis.call('HINCRBY', sums, 'reserved', estimate)
    redis.call('ZADD', leases, now + lease, id)
    redis.call('PEXPIRE', leases, ARGV[3 * i + 5])
end
return {'held'}
"""


def _taken(reservation: Reservation, actual: int | None) -> Reservation | Refused:
    if not reservation.holds:
        return reservation
    if _redis.away():
        return _by_postgresql(reservation)
    try:
        said = _answered(reservation, actual, reservation.estimate_nanos)
    except _AWAY as error:
        _redis.lost(error)
        return _by_postgresql(reservation)
    if said[0] == "held":
        return reservation
    hold = reservation.holds[int(said[1]) - 1]
    return Refused(
        hold.budget, hold.starts_on, int(said[2]), int(said[3]), reservation.estimate_nanos
    )


def _settled(reservation: Reservation, actual: int) -> None:
    try:
        if not _redis.away():
            _answered(reservation, actual, None)
    except _AWAY as error:
        # PostgreSQL's sum will have it.
        _redis.lost(error)
    except DBAPIError as error:
        # It is counted; the sum that it belongs to is asked for by the next call.
        log.warning("a hard stop's sum was not looked up: %s", type(error.orig).__name__)


def _answered(reservation: Reservation, actual: int | None, estimate: int | None) -> list[Any]:
    """What the script says once it knows PostgreSQL's sums, which it asks for now and then.

    Where PostgreSQL is away it goes on with the sums that it has, and raises if it has none.
    """
    said = _run(reservation, actual, estimate, {})
    away: DBAPIError | None = None
    while said[0] == "unknown":
        if away is not None:
            raise away
        asked = [int(place) - 1 for place in said[1:]]
        known: dict[int, int] = {}
        try:
            with tenant_session(reservation.tenant_id) as session:
                sums = _sums(session, [reservation.holds[place] for place in asked])
            # Beyond any budget, and beyond what a script can add to, it is the same.
            known = dict(zip(asked, (min(one.nanos, _MOST_NANOS) for one in sums), strict=True))
        except DBAPIError as error:
            away = error
        # It has been settled by now; what remains is to reserve.
        said = _run(reservation, None, estimate, known)
    return said


def _run(
    reservation: Reservation, actual: int | None, estimate: int | None, known: dict[int, int]
) -> list[Any]:
    now = datetime.now(UTC)
    lease_ms = round(reservation.lease_seconds * 1000)
    keys: list[str] = []
    arguments: list[str | int] = [
        reservation.id,
        "" if actual is None else actual,
        "" if estimate is None else estimate,
        lease_ms,
        round(REFRESH_SECONDS * 1000),
    ]
    for place, hold in enumerate(reservation.holds):
        keys.append(budget_sums_key(reservation.tenant_id, hold.key))
        keys.append(budget_leases_key(reservation.tenant_id, hold.key))
        end = datetime.combine(
            hold.budget.period.end(hold.starts_on), datetime.min.time(), tzinfo=UTC
        )
        kept = max(end - now, timedelta(0)) + _KEPT_AFTER
        arguments += [
            hold.budget.amount_nanos,
            known.get(place, ""),
            round(kept.total_seconds() * 1000) + lease_ms,
        ]
    answered = redis_client().register_script(_TAKE)(keys=keys, args=arguments)
    return list(answered)


def _sums(session: Session, holds: Sequence[Hold]) -> list[Spent]:
    return spent(session, [(hold.budget, hold.starts_on) for hold in holds])


def _by_postgresql(reservation: Reservation) -> Reservation | Refused:
    """Without Redis: refused when what is rolled up has reached a limit. Nothing is reserved."""
    with tenant_session(reservation.tenant_id) as session:
        sums = _sums(session, reservation.holds)
    for hold, found in zip(reservation.holds, sums, strict=True):
        if found.nanos >= hold.budget.amount_nanos:
            return Refused(hold.budget, hold.starts_on, found.nanos, 0, reservation.estimate_nanos)
    return reservation


class _Redis:
    """Whether Redis has answered lately: nobody waits for each call for one that does not."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._lock = threading.Lock()

    def away(self) -> bool:
        return time.monotonic() < self._away_until

    def lost(self, error: BaseException) -> None:
        with self._lock:
            if not self.away():
                log.warning(
                    "Redis does not answer (%s): until it does, hard stops are kept by what has"
                    " been rolled up",
                    type(error).__name__,
                )
            self._away_until = time.monotonic() + _REDIS_AWAY_SECONDS


_redis: Final = _Redis()


def _actual(reservation: Reservation, actual_nanos: int | None) -> int:
    if actual_nanos is None:
        return reservation.estimate_nanos
    _require_amount(actual_nanos)
    return actual_nanos


def _require_amount(nanos: int) -> None:
    if not 0 <= nanos < _MOST_NANOS:
        raise ValueError(f"{nanos} nano-dollars; expected 0 to 2**53 - 1")
