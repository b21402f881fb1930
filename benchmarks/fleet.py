"""Evaluation workers of the product, as `mlops up` runs them, and what a run of theirs costs."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psutil
import sqlalchemy as sa

from benchmarks import processes
from benchmarks.measure import MeasurementError
from benchmarks.services import python_process
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode
from shared.jobs.contracts import Queue, Recording, RunBenchmark
from shared.local.ephemeral import TemporaryServices
from shared.local.programs import WORKER_ENVIRONMENT, worker
from shared.registry.models import key, register
from shared.tenancy.tenants import create_tenant

PATIENCE_SECONDS = 120.0
PATIENCE_PER_EPISODE = 1.0

RULES = ("rule-based", {})
"The agent that does on the tasks of `oracle.py` what the peers' scripts do, and what is set."

SOLVED = frozenset({"success"})
ENDED = frozenset({"success", "failure", "timeout"})
"By the agent's own doing: what is not among these is a fault of the machinery."


@dataclass(frozen=True)
class Done:
    """A run that has ended: the seconds until its last episode was recorded, and its size."""

    seconds: float
    episodes: int
    steps: int
    timeouts: int

    @property
    def per_minute(self) -> float:
        return 60 * self.episodes / self.seconds


@dataclass(frozen=True)
class Fleet:
    """Running evaluation workers and one that takes in the telemetry of their episodes."""

    tenant: TenantId
    workers: tuple[psutil.Process, ...]
    beside: tuple[psutil.Process, ...]
    "What works for them: the telemetry's worker, PostgreSQL and Redis."

    def run(
        self,
        tasks: Sequence[str],
        episodes: int,
        *,
        agent: tuple[str, Mapping[str, object]] = RULES,
        recording: Recording = Recording.JPEG,
        expected: frozenset[str] = SOLVED,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Done:
        """Submit so many episodes, a multiple of the tasks, and wait for the last one's row.

        `meanwhile` is called ten times a second. Raises `MeasurementError` when an episode ends
        otherwise than `expected`: a rate of failures is no rate.
        """
        begun = time.perf_counter()
        patience = PATIENCE_SECONDS + episodes * PATIENCE_PER_EPISODE
        run = self._submit(tasks, episodes // len(tasks), agent, recording)
        while None in (outcomes := self._outcomes(run)):
            if time.perf_counter() - begun > patience:
                raise MeasurementError(f"{episodes} episodes did not end within {patience:g} s")
            meanwhile()
            time.sleep(0.1)
        seconds = time.perf_counter() - begun
        if not set(outcomes) <= expected:
            raise MeasurementError(f"episodes ended otherwise than they should: {outcomes}")
        episodes, timeouts = sum(outcomes.values()), outcomes.get("timeout", 0)
        return Done(seconds, episodes, self._steps(run), timeouts)

    def _submit(
        self,
        tasks: Sequence[str],
        seeds: int,
        agent: tuple[str, Mapping[str, object]],
        recording: Recording,
    ) -> uuid.UUID:
        kind, parameters = agent
        with tenant_session(self.tenant) as session:
            model = register(
                session,
                f"{kind}-{uuid.uuid4().hex[:8]}",
                "1.0.0",
                kind,
                parameters,
                check=describe_agent,
            )
            job = RunBenchmark(
                tasks=tuple(tasks),
                seeds=tuple(range(seeds)),
                models=(key(model),),
                recording=recording,
            )
            return uuid.UUID(create_run(session, job, _no_test, lambda _: None)["run_id"])

    def _outcomes(self, run: uuid.UUID) -> dict[str | None, int]:
        with tenant_session(self.tenant) as session:
            rows = session.execute(
                sa.select(Episode.outcome, sa.func.count())
                .where(Episode.run_id == run)
                .group_by(Episode.outcome)
            )
            return {row[0]: row[1] for row in rows}

    def _steps(self, run: uuid.UUID) -> int:
        with tenant_session(self.tenant) as session:
            steps = sa.select(sa.func.sum(Episode.steps)).where(Episode.run_id == run)
            return session.scalar(steps) or 0

    def memory(self) -> float:
        """Bytes that the workers with their browsers hold, shared ones split up (PSS)."""
        return processes.memory(self.workers)

    def cpu_seconds(self) -> float:
        """Of the workers with their browsers and of all that works for them, since their start."""
        return processes.cpu_seconds(self.workers + self.beside)

    def have_browsers(self) -> bool:
        """Whether every worker has started its own."""
        return all(
            any("chrom" in process.name() or "headless" in process.name() for process in family)
            for family in (processes.families([worker]) for worker in self.workers)
        )


@contextmanager
def fleet(servers: TemporaryServices, workers: int, at_a_time: int) -> Iterator[Fleet]:
    """So many evaluation workers with so many episodes at a time in each, warmed up."""
    with ExitStack() as stack:

        def start(*command: str, **variables: str) -> psutil.Process:
            process = stack.enter_context(
                python_process(
                    "benchmarks.reaper",
                    *(sys.executable, "-m", *command),
                    **WORKER_ENVIRONMENT,
                    **variables,
                )
            )
            return psutil.Process(process.pid)

        beside = (
            start(*worker(Queue.INGEST).command),
            psutil.Process(servers.postgres_pid),
            psutil.Process(servers.redis_pid),
        )
        started = []
        for number in range(workers):
            command = list(worker(Queue.EVALUATION, at_a_time).command)
            command[command.index("-n") + 1] = f"evaluation-{number}-{os.getpid()}@%h"
            started.append(start(*command, MLOPS_EPISODES_PER_WORKER=str(at_a_time)))
        made = Fleet(create_tenant(f"benchmark-{uuid.uuid4()}"), tuple(started), beside)
        _warm(made, workers * min(at_a_time, 8))
        yield made


def _warm(made: Fleet, episodes: int) -> None:
    """The first episodes start the browsers; the first worker that is up must not do them all."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    made.run(("click-test",), episodes)
    while not made.have_browsers():
        if time.monotonic() > deadline:
            raise MeasurementError(f"workers started no browser within {PATIENCE_SECONDS:g} s")
        made.run(("click-test",), episodes)
    made.run(("click-test",), episodes)


def _no_test(*_: object) -> object:
    raise MeasurementError("a benchmark has no A/B test")
