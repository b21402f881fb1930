"""What an A/B test of ten million units costs: to judge it, to look at it, and to go on summing.

The units are as `sum_units` leaves them, a thousand that differ again and again, so that their
sums are known without a look at them. Making them takes some minutes and some 6 GB;
`MLOPS_BENCH_UNITS` says how many there are to be.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks.measure import Figure, MeasurementError, interleaved
from benchmarks.services import environment, measured_services
from shared.abtest import lifecycle, truth
from shared.abtest.metrics import BEFORE, COMPONENTS, SPREADS, SUMMED
from shared.abtest.slots import lost, reallocate
from shared.abtest.tables import AbSum
from shared.abtest.unit_analysis import judge_units
from shared.abtest.unit_sums import sum_units
from shared.abtest.verdicts import AbState, Verdict
from shared.database import TenantId, tenant_of, tenant_session
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.histograms import Histogram
from shared.tenancy.tenants import create_tenant

UNITS: Final = int(os.environ.get("MLOPS_BENCH_UNITS", "10000000"))
ALIKE: Final = 1_000
"Units that differ; so many are copied."
NEW_EVENTS: Final = 100_000
TEST: Final = "large"
NOBODYS: Final = "empty"
VARIANTS: Final = ("control", "treatment")
SECONDS: Final = 1.0
ROUNDS: Final = 7
_COUNT: Final = f"{UNITS:.0e}".replace("+0", "")
BIGINTS: Final = (*COMPONENTS, *(f"{name}_before" for name in BEFORE))


def figures() -> Iterator[Figure]:
    """Seconds. What is measured waits for the database's log to be on disk."""
    if UNITS < ALIKE or UNITS % ALIKE:
        raise MeasurementError(f"{UNITS:,} units; expected a multiple of {ALIKE:,}")
    name = f"benchmark-{uuid4()}"
    with measured_services() as servers, environment(MLOPS_TENANT=name):
        tenant = create_tenant(name)
        with tenant_session(tenant) as session:
            split = [{"name": name, "weight": 0.5} for name in VARIANTS]
            lifecycle.create(session, NOBODYS, split)
            lifecycle.start(session, NOBODYS)
            lifecycle.create(session, TEST, split, sticky=True)
            test_id = lifecycle.start(session, TEST).id
        begun = time.monotonic()
        size = _fill(servers, tenant, test_id)
        took = time.monotonic() - begun
        print(f"abtest: {UNITS:,} units made in {took:.0f} s, {size / 1e9:.1f} GB", flush=True)
        yield _figure("judged", _median(lambda: _judged(tenant)), SECONDS, "limit")
        yield _shown()
        yield _figure("published", _median(lambda: _truth(tenant)), 60.0, "limit")
        summed = _summed(servers, tenant, test_id)
        yield _figure("summed", summed, 60.0, f"limit for {NEW_EVENTS:,} new events")


def _figure(name: str, seconds: float, limit: float, against: str) -> Figure:
    return Figure(f"{_COUNT}_units_{name}", seconds, limit, "s", against, 1.0)


def _median(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def _judged(tenant: TenantId) -> Verdict:
    with tenant_session(tenant) as session:
        found = judge_units(session, lifecycle.find(session, TEST), datetime.now(UTC))
    if (found.state, found.units) != (AbState.BETTER, UNITS * (ALIKE - 1) // ALIKE):
        raise MeasurementError(f"{found.units:,} units are {found.state}: {found.verdict}")
    return found


def _shown() -> Figure:
    medians = interleaved(
        lambda: _show(TEST, "treatment is better than control"),
        lambda: _show(NOBODYS, "compared by task_completion_rate"),
    )
    return Figure(f"{_COUNT}_units_shown", *medians, "s", "the same command for none", 0.5)


def _show(test: str, says: str) -> None:
    command = [sys.executable, "-m", "mlops.cli", "ab", "show", test]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or says not in done.stdout:
        raise MeasurementError(f"mlops ab show: {(done.stderr or done.stdout).strip()[-200:]}")


def _truth(tenant: TenantId) -> None:
    """The units that keep their variant when four of ten lose it."""
    with tenant_session(tenant) as session:
        test = lifecycle.find(session, TEST)
        slots = truth.slots_of(test)
        anew = reallocate(slots, (0.1, 0.9))
        truth.kept_with(session, test, anew.marked(lost(slots, anew)))


def _summed(servers: TemporaryServices, tenant: TenantId, test_id: UUID) -> float:
    """One event of each of so many units, in as many transactions as it takes."""
    every = max(1, UNITS // NEW_EVENTS - 1)
    with psycopg.connect(servers.database_owner_url) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
        connection.execute("SELECT mlops.ensure_event_partitions(current_date - 1, current_date)")
        connection.execute(_NEW_EVENTS, {"tenant": tenant, "every": every, "n": NEW_EVENTS})
    before = _successes(tenant, test_id)
    begun = time.perf_counter()
    more, events = True, 0
    while more:
        with tenant_session(tenant) as session:
            done = sum_units(session)
        more, events = done.more, events + done.events
    took = time.perf_counter() - begun
    # One of a thousand was given two variants, and is in no sum.
    added = _successes(tenant, test_id) - before
    expected = sum(1 for k in range(NEW_EVENTS) if k * every % ALIKE)
    if (events, added) != (NEW_EVENTS, expected):
        raise MeasurementError(f"{events:,} events added {added:,} successes; not {expected:,}")
    return took


def _successes(tenant: TenantId, test_id: UUID) -> int:
    with tenant_session(tenant) as session:
        return int(
            session.scalar(
                sa.select(sa.func.sum(AbSum.y)).where(
                    AbSum.test_id == test_id, AbSum.metric == "task_completion_rate"
                )
            )
        )


def _unit(number: int) -> dict[str, int]:
    """What one of the units that differ did; in the treatment more of them succeed."""
    treated = number % 2
    calls = 1 + number % 3
    return dict.fromkeys(BIGINTS, 0) | {
        "tasks": 1,
        "successes": int(number // 2 % 10 < 5 + treated),
        "llm_calls": calls,
        "attempts": calls,
        "errors": int(number // 2 % 25 == 7),
        "llm_latency_ms": calls * (300 + number % 700),
        "timed_calls": calls,
        "task_latency_ms": 2_000 + 3 * number,
        "timed_tasks": 1,
        "cost_nanos": calls * 1_000_000 + 999 * number,
        "tokens": 500 + number,
        "tasks_before": number % 4,
        "cost_nanos_before": 700_000 + 500 * number,
    }


def _fill(servers: TemporaryServices, tenant: TenantId, test_id: UUID) -> int:
    """Make the units, their exposures and their sums; return how many bytes the tables take.

    The indexes are made when the rows are there, which takes a third of the time.
    """
    known = {"tenant": tenant, "test": test_id, "copies": UNITS // ALIKE, "alike": ALIKE}
    with psycopg.connect(servers.database_owner_url) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
        columns = ", ".join(f"{name} bigint" for name in BIGINTS)
        connection.execute(
            f"CREATE TEMPORARY TABLE alike (n int, variant text, mixed boolean, {columns})"
        )
        with connection.cursor().copy("COPY alike FROM STDIN") as copy:
            for number in range(ALIKE):
                values = _unit(number).values()
                copy.write_row((number, VARIANTS[number % 2], number == 0, *values))
        indexes = connection.execute(_INDEXES).fetchall()
        for table, name, is_key, _ in indexes:
            what = f"TABLE mlops.{table} DROP CONSTRAINT" if is_key else "INDEX mlops."
            connection.execute(f"ALTER {what} {name}" if is_key else f"DROP {what}{name}")
        connection.execute(_UNITS, known)
        connection.execute(_EXPOSURES, known)
        for table, name, is_key, definition in indexes:
            key = f"ALTER TABLE mlops.{table} ADD CONSTRAINT {name} {definition}"
            connection.execute(key if is_key else definition)
        connection.execute("ANALYZE mlops.ab_units, mlops.exposures")
        size = connection.execute(_SIZE).fetchone()
    with tenant_session(tenant) as session:
        for variant in VARIANTS:
            session.add_all(_sums(session, test_id, variant))
    assert size is not None
    return int(size[0])


def _sums(session: Session, test_id: UUID, variant: str) -> Iterator[AbSum]:
    numbers = [n for n in range(1, ALIKE) if VARIANTS[n % 2] == variant]
    units, copies = [_unit(number) for number in numbers], UNITS // ALIKE
    for metric in SUMMED:
        beside = metric.denominator or metric.before
        ys = [one[metric.numerator] for one in units]
        xs = [0 if beside is None else one[beside] for one in units]
        spread = Histogram.empty()
        if metric.name in SPREADS:
            numerator, denominator = SPREADS[metric.name]
            held = Histogram.from_values([one[numerator] // one[denominator] for one in units])
            spread = Histogram.from_counts(held.bins, held.counts * copies)
        yield AbSum(
            tenant_id=tenant_of(session),
            test_id=test_id,
            variant=variant,
            metric=metric.name,
            units=len(units) * copies,
            unknown=0,
            y=Decimal(sum(ys) * copies),
            x=Decimal(sum(xs) * copies),
            yy=Decimal(sum(y * y for y in ys) * copies),
            xx=Decimal(sum(x * x for x in xs) * copies),
            xy=Decimal(sum(x * y for x, y in zip(xs, ys, strict=True)) * copies),
            histogram=spread.to_bytes(),
        )


# (table, name, whether it is the key, how it is made).
_INDEXES: Final = """
SELECT t.relname, i.relname, c.oid IS NOT NULL,
    coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(x.indexrelid))
FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid AND c.contype = 'p'
WHERE x.indrelid IN ('mlops.ab_units'::regclass, 'mlops.exposures'::regclass)
"""

_NUMBER: Final = "copy * %(alike)s + alike.n"

_UNITS: Final = f"""
INSERT INTO mlops.ab_units
    (tenant_id, test_id, unit_id, variant, mixed, counted_from, {", ".join(BIGINTS)})
SELECT %(tenant)s, %(test)s, CAST(md5(CAST({_NUMBER} AS text)) AS uuid), variant, mixed,
    now() - interval '1 day', {", ".join(BIGINTS)}
FROM generate_series(0, %(copies)s - 1) AS copy CROSS JOIN alike
"""

_EXPOSURES: Final = f"""
INSERT INTO mlops.exposures
    (tenant_id, test_id, unit_id, variant, slot, exposed_at, mixed, changed)
SELECT %(tenant)s, %(test)s, CAST(md5(CAST({_NUMBER} AS text)) AS uuid), variant,
    alike.n %% 2 * 5000 + copy %% 5000, now() - interval '1 day', mixed, false
FROM generate_series(0, %(copies)s - 1) AS copy CROSS JOIN alike
"""

_SIZE: Final = """
SELECT pg_total_relation_size('mlops.ab_units') + pg_total_relation_size('mlops.exposures')
"""

_NEW_EVENTS: Final = """
WITH made AS (
    INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model, function, variant,
        unit_id, success, latency_ms)
    SELECT %(tenant)s, gen_random_uuid(), now() - n * interval '1 millisecond', 'task_end', '', '',
        '', CAST(md5(CAST(n AS text)) AS uuid), true, 900
    FROM (SELECT k * %(every)s AS n FROM generate_series(0, %(n)s - 1) AS k) AS numbers
    RETURNING tenant_id, occurred_at, event_id
)
INSERT INTO mlops.unit_events (tenant_id, occurred_at, event_id) SELECT * FROM made
"""
