"""What telemetry costs: taking it in, summing it up, and looking back over a month of it.

The database writes its log to disk, as `mlops up` has it. CPU is that of the worker's process and
of PostgreSQL together.
"""

from __future__ import annotations

import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psutil
import psycopg

from benchmarks import history, mlflow_server, processes
from benchmarks.measure import Figure, MeasurementError, PeerMissingError, Skipped
from benchmarks.services import measured_services
from shared.database import tenant_session
from shared.jobs.contracts import JobMessage
from shared.jobs.tables import JobRow
from shared.local.ephemeral import TemporaryServices
from shared.telemetry.batches import accept, pack
from shared.telemetry.ingestion import COPIED_COLUMNS, COPIED_TYPES
from shared.tenancy.tenants import create_tenant

BATCH = 5_000
ROUNDS = 7
COPY_LIMIT = 5.0
"So many times the CPU of a plain COPY may all of it take: the target is on the ratio's other side."
MLFLOW_TARGET = 20.0


def figures() -> Iterator[Figure | Skipped]:
    with measured_services() as servers:
        ingest = Ingest(servers)
        yield copied(ingest, servers)
        try:
            yield from mlflow_server.figures(ingest, servers, MLFLOW_TARGET)
        except PeerMissingError as missing:
            yield Skipped("mlflow", str(missing))
        yield from history.figures(servers)


class Ingest:
    """The worker of the queue `ingest`, its task called in this process."""

    def __init__(self, servers: TemporaryServices) -> None:
        # What a worker process imports once is not what a batch costs.
        from tasks.ingest import ingest_batch

        self._task = ingest_batch
        self.tenant = create_tenant(f"benchmark-{uuid.uuid4()}")
        self._postgres = psutil.Process(servers.postgres_pid)

    def cpu_seconds(self, lines: list[bytes]) -> float:
        """Of a batch from its message to rows that can be read: worker and PostgreSQL."""
        job = self._accepted(lines)
        message = JobMessage(tenant_id=self.tenant, job_id=job).model_dump(mode="json")
        return self.measured(lambda: self._run(message))

    def measured(self, work: Callable[[], object]) -> float:
        """CPU seconds of `work` in this process and in PostgreSQL."""
        before = time.process_time() + processes.cpu_seconds([self._postgres])
        work()
        return time.process_time() + processes.cpu_seconds([self._postgres]) - before

    def _run(self, message: dict[str, object]) -> None:
        said = self._task.apply(kwargs=message).get()
        if said != "succeeded":
            raise MeasurementError(f"a batch was not stored: {said}")

    def _accepted(self, lines: list[bytes]) -> uuid.UUID:
        batch = uuid.uuid4()
        with tenant_session(self.tenant) as session:
            accept(session, batch, pack(lines), len(lines))
            return session.query(JobRow.id).filter_by(idempotency_key=str(batch)).scalar()


def calls(number: int, seed: int) -> list[bytes]:
    """Model calls as an agent in production sends them, of the last hours."""
    rng = random.Random(seed)
    now = datetime.now(UTC)
    return [
        json.dumps(
            {
                "kind": "llm_call",
                "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "occurred_at": (now - timedelta(seconds=rng.uniform(0, 7200))).isoformat(),
                "model": f"buyer@1.{rng.randrange(4)}.0",
                "function": rng.choice(("checkout", "search", "compare")),
                "variant": rng.choice(("", "control", "treatment")),
                "task_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "provider": "openai",
                "llm_model": rng.choice(("gpt-4.1-mini", "gpt-4.1")),
                "latency_ms": int(rng.lognormvariate(7, 0.8)),
                "input_tokens": rng.randrange(500, 20_000),
                "cached_input_tokens": rng.randrange(500),
                "output_tokens": rng.randrange(5, 900),
                "query_length": rng.randrange(2_000, 60_000),
                "confidence": round(rng.random(), 4),
            }
        ).encode()
        for _ in range(number)
    ]


def copied(ingest: Ingest, servers: TemporaryServices) -> Figure:
    """A batch through the queue's task, and the same rows by a bare binary COPY."""
    copy = BareCopy(ingest, servers)
    ours, bare = [], []
    for round_ in range(ROUNDS + 1):
        ours.append(ingest.cpu_seconds(calls(BATCH, round_)))
        bare.append(ingest.measured(copy.rows))
    copy.close()
    return Figure(
        "ingest_cpu_per_event",
        1e6 * statistics.median(ours[1:]) / BATCH,
        1e6 * statistics.median(bare[1:]) / BATCH,
        "us",
        "plain psycopg binary COPY of the same rows into a table without an index; ours claims,"
        " unpacks, validates, redacts, prices, copies, merges into the partition and marks the"
        f" hours; worker and PostgreSQL, batches of {BATCH}, median of {ROUNDS}",
        target=1 / COPY_LIMIT,
    )


class BareCopy:
    """The rows of the first batch, as they were stored, copied into a table of their own."""

    def __init__(self, ingest: Ingest, servers: TemporaryServices) -> None:
        ingest.cpu_seconds(calls(BATCH, -1))
        # The owner of the server: the application may neither make tables nor read past its wall.
        database = urlsplit(servers.database_url).path.lstrip("/")
        self._connection = psycopg.connect(servers.superuser_url, dbname=database)
        self._types = ("uuid", *COPIED_TYPES)
        columns = ", ".join(("tenant_id", *COPIED_COLUMNS))
        self._rows = self._connection.execute(f"SELECT {columns} FROM mlops.events").fetchall()
        self._connection.execute("CREATE TABLE public.copied (LIKE mlops.events)")
        self._copy = f"COPY public.copied ({columns}) FROM STDIN (FORMAT BINARY)"
        self._connection.commit()

    def rows(self) -> None:
        with self._connection.cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.set_types(self._types)
            for row in self._rows:
                copy.write_row(row)
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()
