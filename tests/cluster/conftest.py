"""The whole product under its own process manager, for tests that kill parts of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

import mlops
from migrations.run import upgrade
from mlops.cli import app
from shared import broker
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.reading import Progress, progress
from shared.jobs.contracts import RollUp, RunBenchmark
from shared.jobs.tables import JobRow
from shared.local import services
from shared.registry import models
from shared.settings import settings
from shared.tenancy.tenants import create_tenant

TASKS = ("click-test", "click-button", "click-dialog", "enter-text", "click-option", "focus-text")
PATIENCE = 180.0
SECONDS_PER_EPISODE = 5.0
"Far more than one takes, on a slow machine that does other things too."


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what must come, however slow the machine, at least three minutes."""
    patience = max(seconds, PATIENCE)
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Run:
    """A benchmark run of a tenant of its own, by an agent that solves all of its tasks."""

    tenant: TenantId
    id: uuid.UUID
    episodes: int

    def progress(self) -> Progress:
        with tenant_session(self.tenant) as session:
            return progress(session, [self.id])

    def under_way(self, ended: int = 3) -> None:
        """Wait until some episodes have ended, and others not."""
        until(lambda: self.progress().ended >= ended, f"{ended} episodes")
        assert not self.progress().done, "the run ended before the fault"

    def outlives_a_restart_of_postgresql(self) -> None:
        def answers() -> bool:
            try:
                return self.progress().total > 0
            except sa.exc.DBAPIError:
                return False

        until(answers, "PostgreSQL")

    def assert_one_result_per_episode(self, outcomes: Sequence[str] = ("success",)) -> None:
        until(lambda: self.progress().done, "all episodes", self.episodes * SECONDS_PER_EPISODE)
        with tenant_session(self.tenant) as session:
            rows = session.execute(
                sa.text("SELECT outcome, reason FROM mlops.episode_results")
            ).all()
        assert len(rows) == self.episodes
        assert [tuple(row) for row in rows if row.outcome not in outcomes] == []

    def assert_totals_are_those_of_the_episodes(self) -> None:
        """Of the events, of the rollup, and of the episodes, once everything is stored."""
        until(lambda: self._unstored() == 0, "every batch of events")
        rolled = mlops.submit(RollUp(), tenant_id=self.tenant).wait(PATIENCE)
        assert rolled.status == "succeeded", rolled.error
        with tenant_session(self.tenant) as session:
            episodes, events, rollups = (
                tuple(session.execute(sa.text(query)).one())
                for query in (
                    "SELECT count(*), sum(actions)::bigint FROM mlops.episode_results",
                    "SELECT count(*) FILTER (WHERE kind = 'task_end' AND success IS NOT NULL),"
                    " count(*) FILTER (WHERE kind = 'action') FROM mlops.events",
                    "SELECT sum(tasks)::bigint, sum(actions)::bigint FROM mlops.model_performance",
                )
            )
        assert events == episodes
        assert rollups == episodes

    def _unstored(self) -> int:
        with tenant_session(self.tenant) as session:
            return session.scalar(
                sa.select(sa.func.count()).where(
                    JobRow.kind == "ingest_events", JobRow.finished_at.is_(None)
                )
            )


@dataclass(frozen=True)
class Cluster:
    """PostgreSQL, Redis, a worker per queue, beat and Flower, as `mlops up` runs them."""

    running: services.Services

    def process(self, name: str) -> psutil.Process:
        """The process of that name, once it is up."""
        found: list[psutil.Process] = []

        def up() -> bool:
            for info in services.statuses(self.running.state_dir):
                # One that was just killed is still listed, until its manager hears of it.
                if info.name == name and info.pid is not None:
                    with suppress(psutil.NoSuchProcess):
                        process = psutil.Process(info.pid)
                        if process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                            found.append(process)
            return bool(found)

        until(up, f"{name} to be up")
        return found[-1]

    def browsers(self) -> list[psutil.Process]:
        """The evaluation worker's Chromium processes that others were started by."""
        found = []
        for child in self.process("evaluation").children(recursive=True):
            # A process of theirs may end between the list and the question.
            with suppress(psutil.NoSuchProcess):
                if "chrom" in child.name() and "--type=" not in " ".join(child.cmdline()):
                    found.append(child)
        return found

    @contextmanager
    def also(self, *celery: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more process, started by hand with a Celery command line."""
        with subprocess.Popen(
            [sys.executable, "-m", "celery", *celery],
            env=os.environ
            | {
                "DATABASE_URL": self.running.database_url,
                "REDIS_URL": self.running.redis_url,
                "REMAP_SIGTERM": "SIGQUIT",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def start_run(self, seeds: int = 2, tasks: Sequence[str] = TASKS) -> Run:
        """Submit a run and wait until its episodes are made, not until they have ended."""
        tenant = create_tenant(f"cluster-{uuid.uuid4()}")
        with tenant_session(tenant) as session:
            models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
        made = mlops.submit(
            RunBenchmark(
                tasks=tuple(tasks), seeds=tuple(range(seeds)), models=("rules",), function="cluster"
            ),
            tenant_id=tenant,
        ).wait(PATIENCE)
        assert made.status == "succeeded", made.error
        return Run(tenant, uuid.UUID(made.result["run_id"]), seeds * len(tasks))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        until(condition, what, seconds)

    def command(self, tenant: str, *arguments: str) -> Result:
        """A command in this process, in the tenant of that name."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLOPS_TENANT", tenant)
            patch.setattr("mlops.console.out.width", 250)
            settings.cache_clear()
            result = CliRunner().invoke(app, list(arguments))
        settings.cache_clear()
        return result


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    state = tmp_path_factory.mktemp("cluster") / "state"
    environment = {
        "MLOPS_STATE_DIR": str(state),
        "MLOPS_LEASE_SECONDS": "4",
        "MLOPS_RESEND_AFTER_SECONDS": "2",
        "MLOPS_EPISODES_PER_WORKER": "2",
        "MLOPS_FLOWER_PORT": "0",
        "MLOPS_WEB_PORT": "0",
    }
    with ExitStack() as stack:
        stack.callback(_forget)
        stack.enter_context(_stopped_if_killed(state))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        # The services that other tests of this process use are not the ones that are killed here.
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        _forget()
        yield Cluster(
            stack.enter_context(services.running_services(state, durable=False, migrate=upgrade))
        )
        broker.celery_app().close()


_STOP_AT_END_OF_INPUT = """
import sys
from pathlib import Path

from shared.local import services

sys.stdin.read()
services.stop(Path(sys.argv[1]))
"""


@contextmanager
def _stopped_if_killed(state: Path) -> Iterator[None]:
    """The cluster outlives its starter by design; a test run that is killed must not leave it."""
    command = [sys.executable, "-c", _STOP_AT_END_OF_INPUT, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield


def _forget() -> None:
    settings.cache_clear()
    broker.celery_app.cache_clear()


@pytest.fixture
def run(cluster: Cluster) -> Run:
    """A run that has been submitted and has not ended."""
    return cluster.start_run()
