"""A month of one tenant's telemetry: an hour summed again, and reports over all of it."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import psycopg
import sqlalchemy as sa

from benchmarks.measure import Figure, MeasurementError
from shared.costs.aggregation import aggregate
from shared.database import TenantId, tenant_session
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.days import sum_past_days
from shared.telemetry.metrics import Metric
from shared.telemetry.reading import Window, histograms, sums
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import DirtyHour
from shared.tenancy.tenants import create_tenant

T = TypeVar("T")

DAYS = 30
AN_HOUR = 13_889
"Events, so that a month has ten million."
FEW = 100_000
MANY = 10_000_000
ROUNDS = 9
LIMIT_MS = 50.0
FLAT = 1.3
"So many times as long may an hour take among many events as among few."
QUANTILES = (0.5, 0.95, 0.99)


def figures(servers: TemporaryServices) -> Iterator[Figure]:
    tenant = create_tenant(f"history-{uuid.uuid4()}")
    newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    history = _History(tenant, servers, newest)
    history.fill(FEW)
    few = history.roll_up_ms()
    history.fill(MANY)
    many = history.roll_up_ms()
    yield Figure(
        "roll_up_hour",
        many,
        LIMIT_MS,
        "ms",
        f"limit (one hour of {AN_HOUR} events in 12 groups among {MANY:.0e}, median of {ROUNDS})",
        target=1,
    )
    yield Figure(
        "roll_up_flat",
        many,
        few,
        "ms",
        f"the same hour among {FEW:.0e} stored events, with a limit of {FLAT} times",
        target=1 / FLAT,
    )
    yield Figure(
        "roll_up_hour_and_costs",
        history.roll_up_ms(with_costs=True),
        LIMIT_MS,
        "ms",
        "limit (the same, with what each language model was billed and the day, week and month)",
        target=1,
    )
    window = Window(newest - timedelta(hours=24 * DAYS - 1), newest + timedelta(hours=1))
    yield from history.reports(window)


class _History:
    """Events of one tenant, hour before hour back from the newest, all of them summed."""

    def __init__(self, tenant: TenantId, servers: TemporaryServices, newest: datetime) -> None:
        self._tenant = tenant
        self._newest = newest
        self._filled = 0
        database = urlsplit(servers.database_url).path.lstrip("/")
        self._url, self._database = servers.superuser_url, database

    def fill(self, events: int) -> None:
        """Up to so many, rounded up to whole hours, made in the database itself: to send them
        would take an hour."""
        hours = -(-events // AN_HOUR)
        with psycopg.connect(self._url, dbname=self._database, autocommit=True) as connection:
            for hour in range(self._filled, hours):
                at = self._newest - timedelta(hours=hour)
                day = at.date()
                connection.execute("SELECT mlops.ensure_event_partitions(%s, %s)", [day, day])
                connection.execute(_FILL, {"tenant": self._tenant, "at": at, "n": AN_HOUR})
            connection.execute("VACUUM ANALYZE mlops.events")
        self._filled = hours
        while True:
            with tenant_session(self._tenant) as session:
                hours = roll_up_dirty_hours(session, at_most=50)
                if not hours:
                    break
                aggregate(session, hours)
        with tenant_session(self._tenant) as session:
            sum_past_days(session, datetime.now(UTC).date(), at_most=2 * DAYS)
        with psycopg.connect(self._url, dbname=self._database, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE mlops.model_performance, mlops.daily_performance")

    def roll_up_ms(self, *, with_costs: bool = False) -> float:
        """Milliseconds, from the mark to the commit, of the newest hour.

        With the sums by language model, day, week and month, which the same job makes of it.
        """

        def again() -> float:
            with tenant_session(self._tenant) as session:
                session.execute(
                    sa.insert(DirtyHour).values(tenant_id=self._tenant, hour=self._newest)
                )
            begun = time.perf_counter()
            with tenant_session(self._tenant) as session:
                hours = roll_up_dirty_hours(session)
                if len(hours) != 1:
                    raise MeasurementError("the hour was not summed")
                if with_costs:
                    aggregate(session, hours)
            return 1000 * (time.perf_counter() - begun)

        again()
        return statistics.median(again() for _ in range(ROUNDS))

    def reports(self, window: Window) -> Iterator[Figure]:
        """A month's cost and percentiles, from rollups, and from the events themselves."""
        ours_cost, cost_ms = self._timed(lambda: self._cost(window))
        raw_cost, raw_cost_ms = self._timed(lambda: self._raw_cost(window), rounds=1)
        if ours_cost != raw_cost:
            raise MeasurementError(f"costs of rollups {ours_cost} and of events {raw_cost} differ")
        ours, quantiles_ms = self._timed(lambda: self._quantiles(window))
        raw, raw_quantiles_ms = self._timed(lambda: self._raw_quantiles(window), rounds=1)
        worst = max(
            abs(ours[model][n] / exact - 1)
            for model, of in raw.items()
            for n, exact in enumerate(of)
        )
        if worst > 0.005:
            raise MeasurementError(f"a quantile of the rollups is off by {worst:.2%}")
        for name, ms, raw_ms, equal in (
            ("month_cost", cost_ms, raw_cost_ms, "equal to the nano-dollar"),
            ("month_percentiles", quantiles_ms, raw_quantiles_ms, f"off by {worst:.2%} at most"),
        ):
            yield Figure(
                name,
                ms,
                LIMIT_MS,
                "ms",
                f"limit (by model over {DAYS} days of {MANY:.0e} events, median of {ROUNDS};"
                f" from the events {raw_ms:,.0f} ms, {equal})",
                target=1,
            )

    def _timed(self, ask: Callable[[], T], rounds: int = ROUNDS) -> tuple[T, float]:
        took = []
        for _ in range(rounds):
            begun = time.perf_counter()
            answer = ask()
            took.append(1000 * (time.perf_counter() - begun))
        return answer, statistics.median(took)

    def _cost(self, window: Window) -> dict[str, int]:
        with tenant_session(self._tenant) as session:
            return {model: found.cost_nanos for model, found in sums(session, window).items()}

    def _raw_cost(self, window: Window) -> dict[str, int]:
        with tenant_session(self._tenant) as session:
            rows = session.execute(
                sa.text(
                    "SELECT model, CAST(sum(cost_nanos) AS bigint) FROM mlops.events"
                    " WHERE occurred_at >= :start AND occurred_at < :end GROUP BY model"
                ),
                {"start": window.start, "end": window.end},
            )
            return dict(rows.all())

    def _quantiles(self, window: Window) -> dict[str, tuple[float, ...]]:
        with tenant_session(self._tenant) as session:
            found = histograms(session, window, Metric.LLM_LATENCY)
        return {
            model: tuple(histogram.quantile(q) or np.nan for q in QUANTILES)
            for model, histogram in found.items()
        }

    def _raw_quantiles(self, window: Window) -> dict[str, tuple[float, ...]]:
        with tenant_session(self._tenant) as session:
            rows = session.execute(
                sa.text(
                    "SELECT model, percentile_disc(CAST(:q AS float8[]))"
                    " WITHIN GROUP (ORDER BY latency_ms) FROM mlops.events"
                    " WHERE occurred_at >= :start AND occurred_at < :end GROUP BY model"
                ),
                {"start": window.start, "end": window.end, "q": list(QUANTILES)},
            )
            return {model: tuple(found) for model, found in rows}


_FILL = """
WITH made AS (
    INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model, function, variant,
        success, latency_ms, provider, llm_model, input_tokens, cached_input_tokens, output_tokens,
        query_length, confidence, cost_nanos, cost_reason)
    SELECT %(tenant)s, gen_random_uuid(), %(at)s + n * interval '1 hour' / %(n)s, 'llm_call',
        'buyer@1.' || n %% 4 || '.0', (ARRAY['checkout', 'search', 'compare'])[1 + n %% 3], '',
        true, CAST(exp(7 + 0.8 * (sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random())))
                   AS bigint),
        'openai', 'gpt-4.1-mini', CAST(500 + 19500 * random() AS bigint),
        CAST(500 * random() AS bigint), CAST(5 + 895 * random() AS bigint),
        CAST(2000 + 58000 * random() AS bigint), random(), CAST(8e6 * random() AS bigint), 'a price'
    FROM generate_series(0, %(n)s - 1) AS n
)
INSERT INTO mlops.dirty_hours (tenant_id, hour) VALUES (%(tenant)s, %(at)s)
"""
