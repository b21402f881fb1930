"""`mlops demo`: two agents through every queue, on real services, in a real browser."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mlops.console import err

if TYPE_CHECKING:
    from shared.database import TenantId
    from shared.jobs.contracts import Contract
    from shared.jobs.tables import JobRow
    from shared.local.services import Services
    from shared.local.state import FlowerRecord

TASKS = (
    "click-test", "click-test-2", "click-button", "click-link", "click-dialog", "click-checkboxes",
    "click-option", "click-tab", "click-collapsible", "enter-text", "enter-password", "focus-text",
    "login-user", "choose-list", "click-button-sequence", "search-engine", "navigate-tree",
    "use-autocomplete",
)  # fmt: skip
SEEDS = 3
TRAFFIC_SEEDS = 4
"Enough for the 30 scored episodes of each variant that an A/B test's verdict needs."
FIRST_TRAFFIC_SEED = 100
"The traffic's episodes are other ones than the benchmark's."
AB_TEST = "agent-choice"
PATIENCE_SECONDS = 600.0

STAND_IN = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}


class DemoError(Exception):
    """Something of the demonstration is not there; the message is one line."""


class DemoInterrupted(KeyboardInterrupt):
    """Somebody did not want to wait; the tenant, and what was submitted in it, is there."""

    def __init__(self, tenant: str) -> None:
        super().__init__()
        self.tenant = tenant


@dataclass(frozen=True)
class Plan:
    """How much is evaluated: each task with each seed by each agent, and with others by A/B."""

    tasks: tuple[str, ...] = TASKS
    seeds: int = SEEDS
    traffic_seeds: int = TRAFFIC_SEEDS

    def episodes(self, agents: int) -> int:
        return len(self.tasks) * (self.seeds * agents + self.traffic_seeds)


@dataclass(frozen=True)
class Demo:
    """What a demonstration leaves behind, to be shown and checked."""

    plan: Plan
    tenant_id: TenantId
    tenant: str
    models: tuple[str, ...]
    runs: tuple[UUID, ...]
    ab_analysis: dict[str, Any]
    sweep: dict[str, Any]
    cards: tuple[Path, ...]


def llm_parameters(model: str | None) -> tuple[str, dict[str, Any]]:
    """The name and parameters of the LLM agent: of `model`, or of the stand-in.

    Raises `DemoError` when a model is asked for and there is no key for it.
    """
    if not model or model == "stand-in":
        return "stand-in", STAND_IN
    if not os.environ.get("OPENAI_API_KEY"):
        raise DemoError(
            f"MODEL={model} needs OPENAI_API_KEY in the environment"
            " (and OPENAI_BASE_URL for an endpoint other than OpenAI's)"
        )
    parameters: dict[str, Any] = {"model": model}
    if url := os.environ.get("OPENAI_BASE_URL"):
        parameters["base_url"] = url
    return model.replace("@", "-"), parameters


def bring_up(*, fresh_environment: bool) -> Services:
    """Start what does not run; all of it anew with `fresh_environment`: workers read keys there."""
    from migrations.run import upgrade
    from shared.local import services
    from shared.settings import settings

    state_dir = settings().state_dir
    with err.status("starting PostgreSQL, Redis, the workers, beat and Flower"):
        if fresh_environment:
            services.stop(state_dir)
        running = services.start(state_dir, migrate=upgrade)
    for note in running.notes:
        err.print(note, markup=False)
    return running


def run(model: str | None, directory: Path, plan: Plan = Plan()) -> Demo:
    """Evaluate, roll up, test for drift, compare, and write the cards; every step is a job.

    Raises `DemoError` as soon as something is missing, and `DemoInterrupted` on Ctrl-C.
    """
    from shared.tenancy.tenants import create_tenant

    began = datetime.now(UTC)
    # A tenant of its own: the wall keeps this run's figures apart from every other's.
    tenant = f"demo-{began:%Y%m%d-%H%M%S}-{os.getpid()}"
    tenant_id = create_tenant(tenant)
    try:
        return _run(model, directory, plan, began, tenant, tenant_id)
    except KeyboardInterrupt:
        raise DemoInterrupted(tenant) from None


def _run(
    model: str | None,
    directory: Path,
    plan: Plan,
    began: datetime,
    tenant: str,
    tenant_id: TenantId,
) -> Demo:
    from shared.abtest import lifecycle
    from shared.database import tenant_session
    from shared.evaluation.agents.registry import describe_agent
    from shared.jobs.contracts import (
        AbSplit,
        AnalyzeAbTest,
        DetectDrift,
        RollUp,
        RunBenchmark,
        WindowOf,
        WriteCard,
    )
    from shared.registry import models

    llm_name, parameters = llm_parameters(model)
    with tenant_session(tenant_id) as session:
        registered = [
            models.register(session, name, "1.0.0", agent, given, check=describe_agent)
            for name, agent, given in (
                ("rule-based", "rule-based", {}),
                (llm_name, "llm", parameters),
            )
        ]
        names = tuple(models.key(version) for version in registered)
        lifecycle.create(
            session,
            AB_TEST,
            [
                {"name": "control", "weight": 0.5, "model": names[0]},
                {"name": "treatment", "weight": 0.5, "model": names[1]},
            ],
        )
        lifecycle.start(session, AB_TEST)

    steps = _Steps(tenant_id)
    with steps.bar:
        benchmark = steps.episodes(
            "benchmark: every task, seed and agent",
            RunBenchmark(
                tasks=plan.tasks,
                seeds=tuple(range(plan.seeds)),
                models=names,
                function="benchmark",
            ),
        )
        traffic = steps.episodes(
            "traffic: an A/B test chooses the agent",
            RunBenchmark(
                tasks=plan.tasks,
                seeds=tuple(range(FIRST_TRAFFIC_SEED, FIRST_TRAFFIC_SEED + plan.traffic_seeds)),
                ab=AbSplit(test=AB_TEST),
                function="traffic",
            ),
        )
        steps.settle("telemetry: every event stored")
        steps.job("rollup: hours and costs summed", RollUp())
        hour = began.replace(minute=0, second=0, microsecond=0)
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        end = now + timedelta(hours=1)
        sweep = steps.job(
            "drift: traffic against benchmark",
            DetectDrift(
                baseline=WindowOf(start=hour, end=end, function="benchmark"),
                current=WindowOf(start=hour, end=end, function="traffic"),
            ),
        )
        analysis = steps.job("A/B: agents compared", AnalyzeAbTest(test=AB_TEST))
        for name in names:
            steps.job(f"card: {name}", WriteCard(model=name))
    return Demo(
        plan=plan,
        tenant_id=tenant_id,
        tenant=tenant,
        models=names,
        runs=(benchmark, traffic),
        ab_analysis=analysis,
        sweep=sweep,
        cards=_export(tenant_id, directory / tenant),
    )


def left_behind(tenant: str | None) -> str:
    """What goes on after an interruption, where it is kept, and how to end it; one line.

    `tenant` is None when it was interrupted before it had one.
    """
    from mlops.services import state_folder
    from shared.local import services

    folder = state_folder()
    if not services.statuses(folder):
        return f"interrupted: nothing was left running; {folder} keeps the data"
    told = f"interrupted: the services go on in {folder}: `mlops down` stops them"
    if tenant is None:
        return told
    return (
        f"{told}; what was submitted goes on too: `MLOPS_TENANT={tenant} mlops job list` shows it,"
        " and `mlops demo` begins a new demonstration beside it"
    )


class _Steps:
    """The steps of a demonstration, each with a bar of its own."""

    def __init__(self, tenant_id: TenantId) -> None:
        self._tenant_id = tenant_id
        self.bar = Progress(
            TextColumn("{task.description:<42}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
        )

    def job(self, description: str, job: Contract) -> dict[str, Any]:
        """Submit a job and wait; its result."""
        line = self.bar.add_task(description, total=1)
        row = self._ended(description, job)
        self.bar.update(line, completed=1)
        return dict(row.result or {})

    def _ended(self, description: str, job: Contract) -> JobRow:
        from mlops.client import submit

        try:
            row = submit(job, tenant_id=self._tenant_id).wait(PATIENCE_SECONDS)
        except TimeoutError as error:
            raise DemoError(f"{description}: {error}") from None
        if row.status != "succeeded":
            raise DemoError(f"{description}: {row.kind} {row.status}: {row.error}")
        return row

    def episodes(self, description: str, job: Contract) -> UUID:
        """Submit a benchmark run and wait until all its episodes have ended; its identifier."""
        from shared.database import tenant_session
        from shared.evaluation.reading import progress

        line = self.bar.add_task(description, total=None)
        row = self._ended(description, job)
        run_id = UUID((row.result or {})["run_id"])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with tenant_session(self._tenant_id) as session:
                now = progress(session, [run_id])
            self.bar.update(line, completed=now.ended, total=now.total)
            if now.done:
                return run_id
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{description}: {now.ended} of {now.total} episodes ended within"
                    f" {PATIENCE_SECONDS:g} s; `mlops logs evaluation` may say why"
                )
            time.sleep(0.2)

    def settle(self, description: str) -> None:
        """Wait until every batch of telemetry of this tenant is stored."""
        import sqlalchemy as sa

        from shared.database import tenant_session
        from shared.jobs.tables import JobRow

        line = self.bar.add_task(description, total=None)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with tenant_session(self._tenant_id) as session:
                total, ended = session.execute(
                    sa.select(sa.func.count(), sa.func.count(JobRow.finished_at)).where(
                        JobRow.kind == "ingest_events"
                    )
                ).one()
            self.bar.update(line, completed=ended, total=total)
            if ended == total:
                return
            if time.monotonic() > deadline:
                raise DemoError(f"{description}: {ended} of {total} batches")
            time.sleep(0.2)


def _export(tenant_id: TenantId, directory: Path) -> tuple[Path, ...]:
    from shared.cards.writing import export
    from shared.database import tenant_session

    with tenant_session(tenant_id) as session:
        return tuple(export(session, directory))


def check(demo: Demo, flower: FlowerRecord | None) -> Sequence[str]:
    """What is missing or does not add up, a line each; nothing when all of it is really there."""
    import sqlalchemy as sa

    from shared.database import tenant_session
    from shared.drift.tables import DriftDetection
    from shared.evaluation.reading import progress, summarize
    from shared.jobs.contracts import Queue
    from shared.jobs.tables import JobRow

    problems = []
    with tenant_session(demo.tenant_id) as session:
        now = progress(session, demo.runs)
        expected = demo.plan.episodes(len(demo.models))
        if (now.ended, now.total) != (expected, expected):
            problems.append(f"{now.ended} of {expected} episodes have a result")
        for summary in summarize(session, demo.runs):
            if summary.environment_errors:
                problems.append(
                    f"{summary.model}: {summary.environment_errors} episodes ended in an"
                    " environment error; `mlops job list --status failed` says why"
                )
            if summary.agent == "llm" and not summary.input_tokens:
                problems.append(f"{summary.model}: its endpoint counted no tokens")
        for name, (stored, summed) in _totals(session).items():
            if stored != summed:
                problems.append(f"{name}: episodes come to {stored}, rollups to {summed}")
        worked = set(
            session.scalars(sa.select(JobRow.queue).where(JobRow.status == "succeeded").distinct())
        )
        problems += [f"no job went through the queue {q}" for q in Queue if q not in worked]
        tested = set(session.scalars(sa.select(DriftDetection.model).distinct()))
        problems += [
            f"{name}: no drift test was stored" for name in demo.models if name not in tested
        ]
    problems += [f"the card {path} is empty" for path in demo.cards if not path.stat().st_size]
    if len(demo.cards) != len(demo.models):
        problems.append(f"{len(demo.cards)} cards for {len(demo.models)} models")
    return problems + _flower_problems(flower)


def _totals(session: Any) -> dict[str, tuple[int, int]]:
    """The same sums from the episodes and from the rollups."""
    import sqlalchemy as sa

    names = (
        "scored episodes",
        "llm calls",
        "input tokens",
        "output tokens",
        "nano-dollars",
        "unpriced",
    )
    episodes = session.execute(
        sa.text(
            "SELECT count(*) FILTER (WHERE scored),"
            " sum(llm_calls)::bigint, sum(input_tokens)::bigint,"
            " sum(output_tokens)::bigint, sum(cost_nanos)::bigint, sum(unpriced_calls)::bigint"
            " FROM mlops.episode_results"
        )
    ).one()
    rollups = session.execute(
        sa.text(
            "SELECT sum(tasks)::bigint, sum(llm_calls)::bigint, sum(input_tokens)::bigint,"
            " sum(output_tokens)::bigint, sum(cost_nanos)::bigint, sum(unpriced_calls)::bigint"
            " FROM mlops.model_performance"
        )
    ).one()
    return dict(zip(names, zip(episodes, rollups, strict=True), strict=True))


def _flower_problems(flower: FlowerRecord | None) -> list[str]:
    if flower is None:
        return []
    from mlops.flower import workers

    try:
        seen = workers(flower)
    except OSError as error:
        return [f"Flower does not answer: {error}"]
    from shared.jobs.contracts import Queue

    missing = [queue for queue in Queue if not any(w.startswith(f"{queue}@") for w in seen)]
    return [f"Flower does not see the worker of {queue}" for queue in missing]
