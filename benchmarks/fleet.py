"""Evaluation workers of the product, as `mlops up` runs them, and what a run of theirs costs."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil
import sqlalchemy as sa

from benchmarks.measure import MeasurementError
from benchmarks.services import python_process
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode
from shared.jobs.contracts import Queue, Recording, RunBenchmark
from shared.local.programs import WORKER_ENVIRONMENT, worker
from shared.registry.models import key, register
from shared.tenancy.tenants import create_tenant

PATIENCE_SECONDS = 300.0


@dataclass
class Fleet:
    """Running evaluation workers and one that takes in the telemetry of their episodes."""

    workers: list[psutil.Process]
    at_a_time: int
    tenant: TenantId = field(default_factory=lambda: create_tenant(f"benchmark-{uuid.uuid4()}"))

    def run(
        self,
        tasks: Sequence[str],
        episodes: int,
        *,
        agent: str = "rule-based",
        parameters: Mapping[str, object] | None = None,
        recording: Recording = Recording.JPEG,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> float:
        """Seconds from submitting so many episodes until the last one is recorded.

        `meanwhile` is called ten times a second. Raises `MeasurementError` when an episode does
        not succeed: a rate of failures is no rate.
        """
        seeds = tuple(range(-(-episodes // len(tasks))))
        begun = time.perf_counter()
        with tenant_session(self.tenant) as session:
            model = register(
                session,
                f"{agent}-{uuid.uuid4().hex[:8]}",
                "1.0.0",
                agent,
                parameters or {},
                check=lambda *described: describe_agent(*described),
            )
            job = RunBenchmark(
                tasks=tuple(tasks), seeds=seeds, models=(key(model),), recording=recording
            )
            made = create_run(session, job, _no_test, lambda _: None)
        run_id = uuid.UUID(made["run_id"])
        while (outcomes := self._outcomes(run_id)).get(None, 0):
            if time.perf_counter() - begun > PATIENCE_SECONDS:
                raise MeasurementError(f"episodes did not end within {PATIENCE_SECONDS:g} s")
            meanwhile()
            time.sleep(0.1)
        seconds = time.perf_counter() - begun
        if set(outcomes) != {"success"}:
            raise MeasurementError(f"not all episodes succeeded: {outcomes}")
        return seconds * episodes / made["episodes"]

    def _outcomes(self, run_id: uuid.UUID) -> dict[str | None, int]:
        with tenant_session(self.tenant) as session:
            rows = session.execute(
                sa.select(Episode.outcome, sa.func.count())
                .where(Episode.run_id == run_id)
                .group_by(Episode.outcome)
            )
            return {row[0]: row[1] for row in rows}

    def processes(self) -> list[psutil.Process]:
        """The evaluation workers with their browsers."""
        found = []
        for process in self.workers:
            found += [process, *process.children(recursive=True)]
        return found

    def memory(self) -> float:
        """Bytes that the workers with their browsers hold, shared ones split up (PSS)."""
        return float(sum(_of_each(self.processes(), lambda p: p.memory_full_info().pss)))

    def cpu_seconds(self) -> float:
        """What they have used since they were started, with the processes that have ended.

        Of a process that ended its parent knows the time once it was waited for.
        """

        def used(process: psutil.Process) -> float:
            times = process.cpu_times()
            return times.user + times.system + times.children_user + times.children_system

        return sum(_of_each(self.processes(), used))


def _of_each(
    processes: Sequence[psutil.Process], ask: Callable[[psutil.Process], float]
) -> Iterator[float]:
    for process in processes:
        try:
            yield ask(process)
        except psutil.NoSuchProcess:
            continue


@contextmanager
def fleet(workers: int, at_a_time: int) -> Iterator[Fleet]:
    """So many evaluation workers with so many episodes at a time in each, warmed up."""
    with ExitStack() as stack:
        variables = WORKER_ENVIRONMENT | {"MLOPS_EPISODES_PER_WORKER": str(at_a_time)}
        stack.enter_context(python_process(*worker(Queue.INGEST).command, **WORKER_ENVIRONMENT))
        started = []
        for number in range(workers):
            command = list(worker(Queue.EVALUATION, at_a_time).command)
            command[command.index("-n") + 1] = f"evaluation-{number}-{os.getpid()}@%h"
            process = stack.enter_context(python_process(*command, **variables))
            started.append(psutil.Process(process.pid))
        made = Fleet(started, at_a_time)
        # The first episodes start the browsers.
        made.run(("click-test",), 4 * workers * min(at_a_time, 8))
        yield made


def _no_test(*_: object) -> object:
    raise MeasurementError("a benchmark has no A/B test")
