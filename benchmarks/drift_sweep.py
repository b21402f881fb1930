"""A sweep over 50 functions and 6 metrics, the last 24 hours against the 28 days before them.

And the same with all that is monitored unless somebody says otherwise, and with what was found told
as alerts, as the sweeps of the timetable do.

A sweep reads rollups and no events, so the rollups of four weeks are written as they would have
been made: the values of an hour are drawn, counted by the same histograms, copied into
`model_performance`, and days that are over are added up by the product itself. To be sure of that,
the events of one hour are stored as well, summed by the product, and compared with what was
written.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa

from benchmarks.measure import Figure, MeasurementError, interleaved
from benchmarks.services import measured_services
from shared.alerts.drifting import tell_of_drift
from shared.database import TenantId, tenant_session
from shared.drift.sweep import detect
from shared.jobs.contracts import DetectDrift, WindowOf
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.days import mark_days, sum_past_days
from shared.telemetry.errors import ErrorCategory
from shared.telemetry.features.built_in import MONITORED
from shared.telemetry.features.watching import unwatch, watch
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import SHARE_UNIT, Metric, OfOutcome, Share
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import ModelPerformance
from shared.tenancy.tenants import create_tenant

FUNCTIONS = 50
METRICS = (
    Metric.LLM_LATENCY,
    Metric.QUERY_LENGTH,
    Metric.CONFIDENCE,
    Metric.TOKENS,
    Metric.DOM_NODES,
    Share.ERROR_RATE,
)
CURRENT_HOURS = 24
BASELINE_HOURS = 28 * 24
AN_HOUR = 300
"Events of each function, so that four weeks of all have about ten million."
FEWER = 10
"So many times fewer events has the other tenant."
DIFFERENT = 1_000
"Hours that are drawn; which of them a function has in an hour is drawn as well."
MODELS = ("large", "small")
PAGES = 5
"One event of so many is a page load, the others are model calls."
LIMIT_SECONDS = 2.0
FLAT = 1.2
"So many times as long may a sweep take where ten times as many events are stored."
ROUNDS = 7

Ints = npt.NDArray[np.int64]


def figures() -> Iterator[Figure]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with measured_services() as servers:
        few, many = (_Stored(servers, now, an_hour) for an_hour in (AN_HOUR // FEWER, AN_HOUR))
        few.check_an_hour()
        seconds = interleaved(many.sweep, few.sweep, ROUNDS)
        work = (
            f"{FUNCTIONS} functions x {len(METRICS)} metrics, {CURRENT_HOURS} h against"
            f" {BASELINE_HOURS // 24} days, {many.events:.1e} events in the rollups, read,"
            f" tested, judged and stored, median of {ROUNDS}"
        )
        yield Figure("sweep_50x6", seconds.ours, LIMIT_SECONDS, "s", f"limit ({work})", 1)
        yield Figure(
            "sweep_50x6_tenfold",
            seconds.ours,
            seconds.other,
            "s",
            f"the same with {few.events:.1e} events, with a limit of {FLAT} times",
            1 / FLAT,
        )
        many.all_metrics()
        seconds = interleaved(many.sweep, many.told_sweep, ROUNDS)
        work = f"{FUNCTIONS} functions x {len(MONITORED)} metrics, median of {ROUNDS}"
        yield Figure("sweep_50_all", seconds.ours, LIMIT_SECONDS, "s", f"limit ({work})", 1)
        yield Figure(
            "sweep_50_all_told",
            seconds.other,
            LIMIT_SECONDS,
            "s",
            f"limit ({work}, alerts raised and closed)",
            1,
        )


def sweep(tenant: TenantId, now: datetime, *, told: bool) -> int:
    """Detect drift up to `now`, store it, and tell of it if asked; how many metrics were judged.
    All that depends on how a sweep is asked for stands here."""
    middle = now - timedelta(hours=CURRENT_HOURS)
    job = DetectDrift(
        baseline=WindowOf(start=middle - timedelta(hours=BASELINE_HOURS), end=middle),
        current=WindowOf(start=middle, end=now),
    )
    with tenant_session(tenant) as session:
        found = detect(session, job, uuid.uuid4())
        if told:
            tell_of_drift(session, found)
        return len(found.findings)


@dataclass(frozen=True)
class Hour:
    """What one function did in an hour: model calls, and page loads with their pages."""

    latency_ms: Ints
    query_length: Ints
    confidence: Ints
    "In `SHARE_UNIT`."
    input_tokens: Ints
    output_tokens: Ints
    failed: npt.NDArray[np.bool_]
    asked: Ints
    "Which of `MODELS`."
    load_ms: Ints
    dom_nodes: Ints


def draw(rng: np.random.Generator, events: int) -> Hour:
    pages = events // PAGES
    calls = events - pages

    def lognormal(mean: float, sigma: float, size: int) -> Ints:
        return np.rint(rng.lognormal(mean, sigma, size)).astype(np.int64)

    return Hour(
        lognormal(7, 0.8, calls),
        lognormal(7, 0.5, calls),
        np.rint(SHARE_UNIT * rng.beta(5, 2, calls)).astype(np.int64),
        rng.integers(500, 20_000, calls),
        rng.integers(5, 900, calls),
        rng.random(calls) < 0.05,
        rng.integers(len(MODELS), size=calls),
        lognormal(6.5, 0.6, pages),
        lognormal(6, 0.5, pages),
    )


def rollup(hour: Hour) -> dict[str, object]:
    """The columns of `model_performance` that are not nothing."""
    counted: dict[str, object] = {
        metric.value: Histogram.from_values(values).to_bytes()
        for metric, values in (
            (Metric.LLM_LATENCY, hour.latency_ms),
            (Metric.PAGE_LOAD, hour.load_ms),
            (Metric.QUERY_LENGTH, hour.query_length),
            (OfOutcome.QUERY_LENGTH_OF_SUCCESSES, hour.query_length[~hour.failed]),
            (OfOutcome.QUERY_LENGTH_OF_ERRORS, hour.query_length[hour.failed]),
            (Metric.CONFIDENCE, hour.confidence),
            (Metric.TOKENS, hour.input_tokens + hour.output_tokens),
            (Metric.DOM_NODES, hour.dom_nodes),
        )
    }
    failed = int(hour.failed.sum())
    asked = np.bincount(hour.asked, minlength=len(MODELS)).tolist()
    return counted | {
        "names": {f"llm_call.{name}": n for name, n in zip(MODELS, asked, strict=True) if n},
        "errors_by_type": {"llm_call.TimeoutError": failed} if failed else {},
        "errors_by_category": {ErrorCategory.TIMEOUT.value: failed} if failed else {},
        "page_loads": hour.load_ms.size,
        "llm_calls": hour.failed.size,
        "llm_errors": int(hour.failed.sum()),
        "input_tokens": int(hour.input_tokens.sum()),
        "output_tokens": int(hour.output_tokens.sum()),
        "unpriced_calls": hour.failed.size,
    }


_COLUMNS = {column.name: column.type for column in ModelPerformance.__table__.columns}


def _filled(counted: dict[str, object]) -> dict[str, object]:
    """A whole row: what was not counted is nothing of its column's kind."""
    nothing: dict[str, object] = {
        name: b"" if isinstance(kind, sa.LargeBinary) else 0 if isinstance(kind, sa.Integer) else {}
        for name, kind in _COLUMNS.items()
        if name not in ("tenant_id", "hour", "model", "function", "variant", "computed_at")
    }
    return nothing | counted


class _Stored:
    """A tenant of whom the rollups of both windows are there."""

    def __init__(self, servers: TemporaryServices, now: datetime, an_hour: int) -> None:
        self._url = servers.superuser_url
        self._database = urlsplit(servers.database_url).path.lstrip("/")
        self._now, self._an_hour, self._metrics = now, an_hour, len(METRICS)
        self._tenant = create_tenant(f"sweep-{uuid.uuid4()}")
        self.events = (CURRENT_HOURS + BASELINE_HOURS) * FUNCTIONS * an_hour
        self._write()
        self._only_the_metrics()

    def sweep(self) -> None:
        self._sweep(told=False)

    def told_sweep(self) -> None:
        self._sweep(told=True)

    def all_metrics(self) -> None:
        with tenant_session(self._tenant) as session:
            for feature in MONITORED:
                watch(session, feature.name)
        self._metrics = len(MONITORED)

    def _sweep(self, *, told: bool) -> None:
        judged = sweep(self._tenant, self._now, told=told)
        if judged != FUNCTIONS * self._metrics:
            raise MeasurementError(f"{judged} metrics judged; not {FUNCTIONS} x {self._metrics}")

    def check_an_hour(self) -> None:
        """Raises `MeasurementError` if an hour's events are not summed to what was written."""
        rng = np.random.default_rng(0)
        hours = {_function(number): draw(rng, self._an_hour) for number in range(3)}
        tenant, at = create_tenant(f"check-{uuid.uuid4()}"), self._now - timedelta(hours=1)
        with self._connect() as connection:
            connection.execute("SELECT mlops.ensure_event_partitions(%s, %s)", [at.date()] * 2)
            for function, hour in hours.items():
                _store_events(connection, tenant, at, function, hour)
            connection.execute("INSERT INTO mlops.dirty_hours VALUES (%s, %s)", [tenant, at])
        with tenant_session(tenant) as session:
            roll_up_dirty_hours(session)
            rows = session.execute(sa.select(ModelPerformance.__table__)).mappings().all()
        made = {row["function"]: row for row in rows}
        for function, hour in hours.items():
            written = _filled(rollup(hour))
            odd = [name for name in written if made[function][name] != written[name]]
            if odd:
                raise MeasurementError(f"what is written of {', '.join(odd)} is not what is summed")

    def _write(self) -> None:
        rng = np.random.default_rng(self._an_hour)
        hours = [self._now - timedelta(hours=n + 1) for n in range(CURRENT_HOURS + BASELINE_HOURS)]
        rows = [_filled(rollup(draw(rng, self._an_hour))) for _ in range(DIFFERENT)]
        columns = ("tenant_id", "hour", "model", "function", "variant", *rows[0])
        with (
            self._connect() as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY mlops.model_performance ({', '.join(columns)}) FROM STDIN") as copy,
        ):
            for hour in hours:
                for number in range(FUNCTIONS):
                    function = _function(number)
                    row = rows[rng.integers(DIFFERENT)]
                    values = [json.dumps(v) if isinstance(v, dict) else v for v in row.values()]
                    copy.write_row((self._tenant, hour, _model(function), function, "", *values))
        with tenant_session(self._tenant) as session:
            mark_days(session, hours)
            sum_past_days(session, self._today(), at_most=len(hours))
        with self._connect() as connection:
            connection.execute("VACUUM ANALYZE mlops.model_performance, mlops.daily_performance")

    def _today(self) -> date:
        return self._now.date()

    def _only_the_metrics(self) -> None:
        with tenant_session(self._tenant) as session:
            for feature in MONITORED:
                if feature.name not in METRICS:
                    unwatch(session, feature.name)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._url, dbname=self._database, autocommit=True)


def _function(number: int) -> str:
    return f"function-{number:02d}"


def _model(function: str) -> str:
    """Each function has a model of its own, so that there are as many groups by either."""
    return f"{function}@1.0.0"


def _store_events(
    connection: psycopg.Connection[tuple[object, ...]],
    tenant: TenantId,
    at: datetime,
    function: str,
    hour: Hour,
) -> None:
    columns = (
        "tenant_id, event_id, occurred_at, kind, model, function, variant, success, latency_ms,"
        " query_length, confidence, input_tokens, output_tokens, dom_nodes, llm_model, error_type,"
        " error_category, error_shape"
    )
    key = (_model(function), function, "")
    calls = zip(
        hour.failed.tolist(),
        hour.latency_ms.tolist(),
        hour.query_length.tolist(),
        (hour.confidence / SHARE_UNIT).tolist(),
        hour.input_tokens.tolist(),
        hour.output_tokens.tolist(),
        [None] * hour.failed.size,
        [MODELS[which] for which in hour.asked.tolist()],
        strict=True,
    )
    loads = zip(hour.load_ms.tolist(), hour.dom_nodes.tolist(), strict=True)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY mlops.events ({columns}) FROM STDIN") as copy,
    ):
        for failed, *values in calls:
            error = ("TimeoutError", ErrorCategory.TIMEOUT.value, "TimeoutError")
            of_error = error if failed else (None, None, None)
            copy.write_row(
                (tenant, uuid.uuid4(), at, "llm_call", *key, not failed, *values, *of_error)
            )
        for load_ms, nodes in loads:
            copy.write_row(
                (tenant, uuid.uuid4(), at, "page_load", *key, True, load_ms)
                + (None,) * 4
                + (nodes, *(None,) * 4)
            )
