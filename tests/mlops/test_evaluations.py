"""`mlops evaluate` on runs that no worker touches: changed, followed and shown from the shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mlops.cli import app
from mlops.console import Exit
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.runs import create_run
from shared.evaluation.tables import BenchmarkRun, Episode
from shared.jobs import claims
from shared.jobs.claims import claim
from shared.jobs.contracts import RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.settings import settings
from shared.tenancy.tenants import create_tenant

Command = Callable[..., Any]


@pytest.fixture
def name(services: object) -> str:
    return f"evaluations-{uuid.uuid4()}"


@pytest.fixture
def tenant(name: str) -> TenantId:
    tenant = create_tenant(name)
    with tenant_session(tenant) as session:
        models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
    return tenant


@pytest.fixture
def mlops(name: str, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command in this process, in the test's own tenant."""

    def run(*arguments: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("MLOPS_TENANT", name)
            patch.setattr("mlops.console.out.width", 250)
            patch.setattr("mlops.console.err.width", 250)
            settings.cache_clear()
            answer = CliRunner().invoke(app, ["evaluate", *arguments])
        settings.cache_clear()
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer

    return run


@pytest.fixture
def run(tenant: TenantId) -> uuid.UUID:
    """One task with three seeds; the first episode has failed with a picture that is gone."""
    job = RunBenchmark(tasks=("click-test",), seeds=(0, 1, 2), models=("rules",))
    with tenant_session(tenant) as session:
        made = create_run(session, job, lambda *_: pytest.fail("no test"), lambda version: None)
        first = session.scalars(sa.select(Episode).where(Episode.seed == 0)).one()
    held = claim(tenant, first.job_id, worker="w", lease_seconds=60)
    assert held is not None
    step = {
        "index": 0, "action": {"kind": "click", "element": 7}, "error": "it is \x1b[2Jgone",
        "reasoning": "the [bold]button[/bold]", "url": "http://127.0.0.1/x", "observe_ms": 5,
        "think_ms": 600, "act_ms": 7, "dom_nodes": 8, "screenshot": "ab" * 32,
        "observation_sha256": "cd" * 32,
        "spent": {"calls": 2, "failed_calls": 1, "models": ["m"], "input_tokens": 1_234,
                  "output_tokens": None, "cost_nanos": 21_000},
    }  # fmt: skip
    with tenant_session(tenant) as session:
        session.execute(
            sa.update(Episode)
            .where(Episode.id == first.id)
            .values(
                outcome="failure", reason="the wrong one", goal="Click it.", steps=1, trace=[step],
                duration_ms=700, llm_calls=2, input_tokens=1_234, cost_nanos=21_000, attempt=1,
                worker="w",
            )
        )  # fmt: skip
        claims.succeed(session, held, {})
    return uuid.UUID(made["run_id"])


def episode(tenant: TenantId, seed: int) -> str:
    with tenant_session(tenant) as session:
        return str(session.scalars(sa.select(Episode.id).where(Episode.seed == seed)).one())


def test_an_episode_is_replayed_step_by_step(
    mlops: Command, tenant: TenantId, run: uuid.UUID
) -> None:
    shown = mlops("show", episode(tenant, 0)[:18])
    assert shown.exit_code == 0, shown.stderr
    for part in (
        "miniwob/click-test seed 0 by rules@1.0.0",
        "Click it.",
        "the [bold]button[/bold]",
        "click element=7",
        "it is \\x1b[2Jgone",
        "observe 5 ms, think 600 ms, act 7 ms",
        "2 calls (1 failed) of m: 1,234 tokens in, unknown out, $0.000021",
        "no longer kept, or not on this machine (abababababab)",
        "failure: the wrong one",
    ):
        assert part in shown.stdout
    assert "\x1b[2J" not in shown.stdout

    parsed = json.loads(mlops("show", episode(tenant, 0), "--json").stdout)
    assert (parsed["outcome"], parsed["scored"], parsed["cost_nanos"]) == ("failure", True, 21_000)
    assert parsed["steps"][0]["screenshot_file"] is None
    assert parsed["steps"][0]["output_tokens"] is None


def test_the_episodes_of_a_run_are_listed_with_how_they_ended(
    mlops: Command, tenant: TenantId, run: uuid.UUID
) -> None:
    listed = json.loads(mlops("episodes", str(run)[:8], "--json").stdout)
    assert [(one["seed"], one["outcome"], one["reason"]) for one in listed] == [
        (0, "failure", "the wrong one"),
        (1, None, None),
        (2, None, None),
    ]
    assert listed[0]["id"] == episode(tenant, 0)
    assert json.loads(mlops("episodes", str(run), "--outcome", "timeout", "--json").stdout) == []
    shown = mlops("episodes", str(run), "--outcome", "failure")
    assert episode(tenant, 0)[:13] in shown.stdout
    assert "the wrong one" in shown.stdout
    assert "2 more" in mlops("episodes", str(run), "--limit", "1").stderr


def test_an_episode_that_has_not_begun_is_shown_too(
    mlops: Command, tenant: TenantId, run: uuid.UUID
) -> None:
    shown = mlops("show", episode(tenant, 2)).stdout
    assert "not known: it did not begin" in shown
    assert "outcome  queued" in shown


def test_a_run_is_cancelled_and_resumed(mlops: Command, tenant: TenantId, run: uuid.UUID) -> None:
    cancelled = json.loads(mlops("cancel", str(run)[:18], "--json").stdout)
    assert cancelled == {"run": str(run), "cancelled": 2, "stopping": 0}
    shown = mlops("show", str(run))
    assert f"`mlops evaluate resume {str(run)[:8]}` does them" in shown.stderr
    resumed = mlops("resume", str(run), "--detach")
    assert resumed.stdout == f"{run}\n"
    assert "2 episodes are queued again, 0 were under way" in resumed.stderr
    again = mlops("resume", str(run), "--detach")
    assert "0 episodes are queued again, 2 were under way" in again.stderr


def test_a_spent_budget_is_told_in_one_line(
    mlops: Command, tenant: TenantId, run: uuid.UUID
) -> None:
    mlops("cancel", str(run))
    with tenant_session(tenant) as session:
        session.execute(sa.update(BenchmarkRun).values(budget_nanos=20_000))
    refused = mlops("resume", str(run))
    assert (refused.exit_code, refused.stdout) == (Exit.FAILURE, "")
    assert "give a budget above what it has cost" in refused.stderr
    assert "cost $0.000021 of a budget of $0.00002" in mlops("show", str(run)).stderr
    assert mlops("resume", str(run), "--budget", "0.5", "--detach").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "--model", "rules", "--task", "fly"), Exit.NOT_FOUND, "no task 'fly' in miniwob"),
        (("run", "--model", "rules", "--task", "click-tset"), Exit.NOT_FOUND, "click-test"),
        (("run", "--model", "rules", "--benchmark", "x"), Exit.NOT_FOUND, "no benchmark 'x'"),
        (("run", "--model", "rules", "--budget", "much"), Exit.USAGE, "'much' is no amount"),
        (("run", "--model", "rules", "--budget", "-1"), Exit.USAGE, "above 0"),
        (("run", "--model", "rules", "--record", "film"), Exit.USAGE, "recording"),
        (("run", "--model", "rules", "--priority", "10"), Exit.USAGE, "--priority"),
        (("resume", "beef"), Exit.NOT_FOUND, "no run 'beef'"),
        (("cancel", "no id"), Exit.NOT_FOUND, "no run 'no id'"),
        (("extend", "beef", "--seeds", "1"), Exit.NOT_FOUND, "no run 'beef'"),
        (("report", "beef"), Exit.NOT_FOUND, "no run 'beef'"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_submits_nothing(
    mlops: Command, tenant: TenantId, arguments: tuple[str, ...], code: Exit, said: str
) -> None:
    refused = mlops(*arguments)
    assert (refused.exit_code, refused.stdout) == (code, ""), refused.stderr
    assert refused.stderr.count("\n") == 1
    assert said in refused.stderr
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 0


@pytest.mark.parametrize(
    ("arguments", "queue"),
    [
        (("run", "--model", "rules", "--task", "click-test"), "control"),
        pytest.param(("resume",), "evaluation", marks=pytest.mark.proof),
    ],
)
def test_who_waits_in_vain_is_told_where_to_look(
    name: str, tenant: TenantId, run: uuid.UUID, arguments: tuple[str, ...], queue: str
) -> None:
    """Also in a pipe. Ctrl-C ends the waiting and not the run."""
    of_run = [str(run)] if arguments == ("resume",) else []
    with subprocess.Popen(
        [sys.executable, "-m", "mlops.cli", "evaluate", *arguments, *of_run],
        env={**os.environ, "MLOPS_TENANT": name, "COLUMNS": "250"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        hint = f"no worker of the queue {queue} has taken "
        said = next((line for line in waiting.stderr if hint in line), "")
        assert "`mlops status` shows what runs, `mlops doctor` what is wrong" in said
        waiting.send_signal(signal.SIGINT)
        assert "goes on" in waiting.stderr.read()
        assert waiting.wait() == Exit.INTERRUPTED
