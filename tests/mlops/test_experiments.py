"""`mlops experiment` and `mlops run`."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from mlops.experiment_tracker import ExperimentTracker
from shared.database import TenantId


@pytest.fixture
def tracked(tenant: TenantId) -> ExperimentTracker:
    """Two experiments of two runs each."""
    tracker = ExperimentTracker(tenant)
    for name, rates in (("short", (0.7, 0.8)), ("long", (0.9, 0.95))):
        tracker.create_experiment(name, hypothesis="length does not matter", llm_model="gpt-4")
        for n, rate in enumerate(rates):
            with tracker.start_run(name, f"{name}-{n}", tags={"team": "web"}, seed=n) as run:
                run.log_metrics({"success_rate": rate, "odd": math.nan})
                run.log_action("click", success=True)
    return tracker


def test_an_experiment_is_made_listed_and_shown(mlops: Callable[..., Result]) -> None:
    made = mlops(
        "experiment", "create", "Browser_Automation_Test", "--description",
        "Testing GPT-4 performance", "--llm-provider", "openai", "--llm-model", "gpt-4",
        "--config", "vision=true", "--tag", "team=web", "--json",
    )  # fmt: skip
    identifier = json.loads(made.stdout)["id"]
    assert [one["name"] for one in json.loads(mlops("experiment", "list", "--json").stdout)] == [
        "Browser_Automation_Test"
    ]
    for reference in (identifier, identifier[:8], "Browser_Automation_Test"):
        shown = json.loads(mlops("experiment", "show", reference, "--json").stdout)
        assert shown["configuration"] == {
            "llm_provider": "openai", "llm_model": "gpt-4", "vision": True,
        }  # fmt: skip
    tagged = mlops("experiment", "tag", identifier, "team=null", "reviewed=true", "--json")
    assert json.loads(tagged.stdout) == {"reviewed": True}
    assert "Testing GPT-4 performance" in mlops("experiment", "show", identifier).stdout


def test_runs_are_found_by_a_filter(
    mlops: Callable[..., Result], tracked: ExperimentTracker
) -> None:
    found = mlops(
        "run", "list", "--filter", "metrics.success_rate > 0.75 and tags.team = 'web'",
        "--order-by", "metrics.success_rate desc", "--json",
    )  # fmt: skip
    runs = json.loads(found.stdout)
    assert [one["name"] for one in runs] == ["long-1", "long-0", "short-1"]
    assert runs[0]["metrics"]["odd"]["value"] == "nan"
    table = mlops("run", "list", "short").stdout
    assert "short-0" in table
    assert "long-0" not in table


def test_a_run_is_shown_with_what_it_logged(
    mlops: Callable[..., Result], tracked: ExperimentTracker
) -> None:
    shown = json.loads(mlops("run", "show", "short-0", "--json").stdout)
    assert (shown["status"], shown["success"], shown["actions"]) == ("completed", None, 1)
    assert shown["environment"]["seed"] == 0
    history = json.loads(mlops("run", "metrics", "short-0", "success_rate", "--json").stdout)
    assert [one["value"] for one in history] == [0.7]
    assert "nan" in mlops("run", "show", "short-0").stdout


def test_experiments_and_runs_are_compared(
    mlops: Callable[..., Result], tracked: ExperimentTracker
) -> None:
    found = json.loads(mlops("experiment", "compare", "short", "long", "--json").stdout)
    rate = {one["metric"]: one for one in found["metrics"]}["success_rate"]
    assert rate["difference"] == pytest.approx(0.175)
    assert rate["interval"][0] < 0.175 < rate["interval"][1]
    told = mlops("run", "compare", "short-0", "long-0")
    assert "+0.2" in told.stdout
    assert "a run has one value of a metric" in told.stderr


def test_a_run_is_made_again_as_it_was_begun(
    mlops: Callable[..., Result], tracked: ExperimentTracker
) -> None:
    recipe = json.loads(mlops("run", "reproduce", "short-1", "--json").stdout)
    assert recipe["seed"] == 1
    assert recipe["command"][0] == sys.orig_argv[0]
    printed = mlops("run", "reproduce", "short-1")
    assert recipe["shell"] in printed.stdout


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("run", "list", "--filter", "metrics.x >"), 2, "the filter cannot be read at its end"),
        (("run", "list", "--order-by", "begun"), 2, "there is no field 'begun'"),
        (("run", "show", "nothing"), 5, "no run 'nothing'"),
        (("experiment", "show", "shrot"), 5, "no experiment 'shrot'; near it: short"),
        (("experiment", "compare", "short", "short"), 1, "are the same experiment"),
        (("experiment", "create", "short"), 1, "is there with another hypothesis"),
        (("experiment", "create", "x" * 10_000), 1, "expected 1 to 200 printable characters"),
        (("experiment", "create", "a", "--tag", "team"), 2, "expected NAME=VALUE"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    mlops: Callable[..., Result],
    tracked: ExperimentTracker,
    command: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    result = mlops(*command)
    assert result.exit_code == code
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"


def test_the_page_works_as_it_is_written(
    mlops: Callable[..., Result],
    name: str,
    tenant: TenantId,
    with_environment: Callable[..., None],
) -> None:
    blocks = [text.partition("\n") for text in PAGE.read_text("utf-8").split("```")[1::2]]
    with_environment(MLOPS_TENANT=name)
    (program,) = (text for language, _, text in blocks if language == "python")
    exec(program, {})  # noqa: S102 (it is ours)
    (commands,) = (text for language, _, text in blocks if language == "")
    said = {}
    for line in commands.splitlines():
        program_name, *arguments = shlex.split(line)
        assert program_name == "mlops"
        result = mlops(*arguments)
        assert result.exit_code == 0, (line, result.stderr)
        said[line] = result.stdout
    (filtered,) = (told for line, told in said.items() if "success_rate > 0.8" in line)
    assert "long" in filtered
    assert "short" not in filtered
    assert "10 pairs" in said["mlops run compare short long"]
