"""A metric into MLflow's tracking server and into ours: the processor that each takes."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from benchmarks import processes
from benchmarks.measure import Figure, PeerMissingError
from benchmarks.peers import MLFLOW, python_of
from shared.local import ports
from shared.local.ephemeral import TemporaryServices

WORKERS = 2
BATCH = 1_000
"The most that `log_batch` takes."
OUR_BATCH = 5_000
ROUNDS = 7
NAMES = 20
PATIENCE_SECONDS = 120.0


class Ingest(Protocol):
    def cpu_seconds(self, lines: list[bytes]) -> float: ...


def figures(ingest: Ingest, servers: TemporaryServices, target: float) -> Iterator[Figure]:
    """Raises `PeerMissingError` where MLflow cannot be had."""
    with _mlflow(servers) as theirs:
        theirs.log_batch()
        taken = [(ingest.cpu_seconds(_metrics()), theirs.cpu_seconds()) for _ in range(ROUNDS)]
    ours, other = (statistics.median(side) for side in zip(*taken, strict=True))
    yield Figure(
        "cpu_per_metric",
        1e6 * ours / OUR_BATCH,
        1e6 * other / BATCH,
        "us",
        f"{MLFLOW.title} server with {WORKERS} workers, log_batch of {BATCH} metrics of {NAMES}"
        f" names into one run, the same PostgreSQL; ours the worker and PostgreSQL, batches of"
        f" {OUR_BATCH} metrics; medians of {ROUNDS} in turns",
        target=target,
    )


def _metrics() -> list[bytes]:
    """Each an event of its own, so that a metric is a metric on both sides."""
    now = datetime.now(UTC)
    return [
        json.dumps(
            {
                "kind": "metric",
                "event_id": str(uuid.uuid4()),
                "occurred_at": (now - timedelta(milliseconds=n)).isoformat(),
                "model": "buyer@1.0.0",
                "function": "checkout",
                "name": f"metric-{n % NAMES}",
                "value": random.random(),
            }
        ).encode()
        for n in range(OUR_BATCH)
    ]


class _Mlflow:
    def __init__(self, address: str, watched: list[psutil.Process]) -> None:
        self._address = address
        self._watched = watched
        self._step = 0
        made = self.post("experiments/create", {"name": f"benchmark-{uuid.uuid4()}"})
        run = self.post("runs/create", {"experiment_id": made["experiment_id"], "start_time": 1})
        self._run = run["run"]["info"]["run_id"]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self._address}/api/2.0/mlflow/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def log_batch(self) -> None:
        at = int(time.time() * 1000)
        metrics = []
        for n in range(BATCH):
            self._step += n % NAMES == 0
            metrics.append(
                {
                    "key": f"metric-{n % NAMES}",
                    "value": random.random(),
                    "timestamp": at,
                    "step": self._step,
                }
            )
        self.post("runs/log-batch", {"run_id": self._run, "metrics": metrics})

    def cpu_seconds(self) -> float:
        """Of the server and PostgreSQL for one batch; what the client takes is not counted."""
        before = processes.cpu_seconds(self._watched)
        self.log_batch()
        return processes.cpu_seconds(self._watched) - before


@contextmanager
def _mlflow(servers: TemporaryServices) -> Iterator[_Mlflow]:
    python = python_of(MLFLOW)
    url = _database(servers)
    port = ports.choose()
    with (
        tempfile.TemporaryDirectory(prefix="mlops-mlflow-") as folder,
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.reaper", str(python), "-m", "mlflow", "server"),
                *("--backend-store-uri", url, "--artifacts-destination", folder),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)),
            ],
            stdout=said,
            stderr=said,
        ) as process,
    ):
        try:
            watched = [psutil.Process(process.pid), psutil.Process(servers.postgres_pid)]
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process, said)
            yield _Mlflow(address, watched)
        except (urllib.error.URLError, TimeoutError, KeyError) as error:
            raise PeerMissingError(f"{MLFLOW.title} failed: {error}") from None
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def _database(servers: TemporaryServices) -> str:
    """The URL of an empty database for the peer on the same server."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    return urlunsplit(
        urlsplit(servers.superuser_url)._replace(scheme="postgresql+psycopg2", path="/mlflow")
    )


def _wait_for(address: str, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310 (loopback)
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
                raise PeerMissingError(
                    f"{MLFLOW.title}: its server does not start: {last}"
                ) from None
            time.sleep(0.2)
