"""`mlops evaluate validate`: each mistake with its place, and exit codes for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mlops
from mlops.cli import app
from mlops.console import Exit

GOOD = """\
name: desk
tasks:
  - name: one
    task_prompt: Close it.
    start: {html: "<button>Close</button>"}
    success_criteria: {element: "button[disabled]", javascript: "document.title === ''"}
"""
BAD = GOOD.replace("task_prompt", "task_promt").replace("javascript:", "javascrpt:")


def ask(*arguments: object) -> Any:
    answer = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
    return answer


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


def test_a_valid_file_is_said_to_be_valid(good: Path) -> None:
    answer = ask("validate", good)
    assert answer.exit_code == Exit.OK
    assert answer.stdout == f"{good}: benchmark 'desk', 1 task: valid\n"


def test_what_was_not_checked_is_said(good: Path) -> None:
    answer = ask("validate", good, "--no-browser")
    assert answer.exit_code == Exit.OK
    assert "CSS selectors and JavaScript were not checked: not asked for" in answer.stderr


def test_each_mistake_has_a_line_of_its_own(bad: Path) -> None:
    answer = ask("validate", bad)
    assert answer.exit_code == Exit.USAGE
    assert answer.stdout.splitlines() == [
        f"{bad}:3:5: tasks[0].task_prompt: 'task_prompt' is missing",
        f"{bad}:4:5: tasks[0].task_promt: unknown key 'task_promt': did you mean 'task_prompt'?",
        f"{bad}:6:53: tasks[0].success_criteria.javascrpt: unknown key 'javascrpt':"
        " did you mean 'javascript'?",
    ]
    assert answer.stderr == f"mlops: {bad}: 3 mistakes\n"


def test_mistakes_for_machines(good: Path, bad: Path) -> None:
    told = json.loads(ask("validate", bad, "--json").stdout)
    assert (told["valid"], told["name"], told["tasks"]) == (False, None, [])
    assert told["mistakes"][1] == {
        "line": 4,
        "column": 5,
        "path": ["tasks", 0, "task_promt"],
        "message": "unknown key 'task_promt': did you mean 'task_prompt'?",
    }
    told = json.loads(ask("validate", good, "--json", "--no-browser").stdout)
    assert told == {
        "file": str(good),
        "valid": True,
        "name": "desk",
        "tasks": ["one"],
        "browser_checked": False,
        "mistakes": [],
    }


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    answer = ask("validate", tmp_path / "nothing.yaml")
    assert answer.exit_code == Exit.USAGE
    assert "cannot be read: No such file or directory" in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.usefixtures("services")
def test_a_run_of_a_file_with_mistakes_is_not_begun(bad: Path) -> None:
    answer = ask("run", "--benchmark", bad, "--model", "none")
    assert answer.exit_code == Exit.USAGE
    assert f"mlops: {bad}:3:5: tasks[0].task_prompt: 'task_prompt' is missing" in answer.stderr
    assert "(and 2 more: `mlops evaluate validate" in answer.stderr


def test_the_public_face_offers_what_a_file_says() -> None:
    task = mlops.CustomTask(
        name="one",
        task_prompt="Close it.",
        start=mlops.Start(html="<button>Close</button>"),
        success_criteria=mlops.Criterion.model_validate({"element": "button[disabled]"}),
    )
    made = mlops.CustomBenchmark(name="desk", tasks=(task,))
    assert made.definition()["tasks"][0]["task_prompt"] == "Close it."
