"""`mlops evaluate run` and `mlops card write`, from the command to what the workers made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from click.testing import Result

from shared.tenancy.tenants import create_tenant

pytestmark = pytest.mark.timeout(300)

Command = Callable[..., Result]


@pytest.fixture
def tenant(cluster: Any) -> str:
    """The name of one that has the model `rules`."""
    name = f"cli-{uuid.uuid4()}"
    create_tenant(name)
    registered = cluster.command(name, "model", "register", "rules", "--agent", "rule-based")
    assert registered.exit_code == 0, registered.stderr
    return name


@pytest.fixture
def command(cluster: Any, tenant: str) -> Command:
    return partial(cluster.command, tenant)


@pytest.fixture
def process(tenant: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command in a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mlops.cli", *arguments],
            env={**os.environ, "MLOPS_TENANT": tenant, "COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=200,
        )

    return run


TWO_TASKS = ("--task", "click-test", "--task", "enter-text", "--seeds", "1")


def test_a_run_is_evaluated_shown_and_put_into_a_card(command: Command, process: Any) -> None:
    ran = process("evaluate", "run", "--model", "rules", *TWO_TASKS, "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["episodes"], report["ended"]) == (2, 2)
    (agent,) = report["agents"]
    assert (agent["agent"], agent["scored"], agent["successes"]) == ("rules@1.0.0", 2, 2)
    assert f"run {report['run']}: 2 episodes" in ran.stderr.splitlines()

    shown = command("evaluate", "show", report["run"][:18])
    assert "100% (34 to 100) of 2" in shown.stdout

    written = command("card", "write", "rules")
    assert (written.exit_code, written.stdout) == (0, "rules@1.0.0 card 1\n"), written.stderr
    assert "click-test" in command("card", "show", "rules").stdout


def test_a_run_of_a_task_that_is_not_there_says_why(command: Command) -> None:
    refused = command("evaluate", "run", "--model", "rules", "--task", "fly")
    assert (refused.exit_code, refused.stdout) == (5, "")
    assert "no task 'fly' in miniwob; there is:" in refused.stderr


def test_a_benchmark_of_a_kind_of_task_is_measured_and_ranked(command: Command) -> None:
    kind = ("--category", "search", "--difficulty", "easy", "--seeds", "2")
    ran = command("evaluate", "benchmark", "rules", *kind, "--json")
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    listed = json.loads(
        command("evaluate", "tasks", "--benchmark", "miniwob", *kind[:4], "--json").stdout
    )
    assert report["episodes"] == report["ended"] == 2 * len(listed)
    (model,) = report["models"]
    scores = model["scores"]
    assert scores["tasks"] == len(listed)
    assert scores["strict"]["n"] == report["scored"]
    assert [part["name"] for part in scores["by_category"]] == ["search"]
    assert {part["name"] for part in scores["by_task"]} == {task["name"] for task in listed}
    assert f"{len(listed)} tasks x 2 seeds" in ran.stderr

    board = json.loads(command("evaluate", "leaderboard", "--json").stdout)
    (own,) = (line for line in board["places"] if line["own"])
    assert (own["name"], own["rate"]) == ("rules@1.0.0", scores["loose"]["rate"])
    results = command("evaluate", "results", report["run"])
    assert "tasks like these" in results.stdout
