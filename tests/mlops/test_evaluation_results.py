"""`mlops evaluate tasks`, `results`, `compare`, `leaderboard`, `benchmark`: what they say."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mlops.cli import app
from mlops.console import Exit
from shared.database import tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.benchmarks import NAMES, catalogue
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode, EvaluationTask
from shared.jobs.contracts import RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.settings import settings
from shared.tenancy.tenants import create_tenant

MODELS = ("old", "new")
SIDES = ("--model", "old", "--model", "new")
OF_A_TASK = ("benchmark", "name", "category", "difficulty", "max_steps", "timeout_seconds")
STAND_IN = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}


@pytest.fixture
def name(services):
    return f"results-{uuid.uuid4()}"


@pytest.fixture
def tenant(name):
    tenant = create_tenant(name)
    with tenant_session(tenant) as session:
        models.register(session, "old", "1.0.0", "rule-based", {}, check=describe_agent)
        models.register(session, "new", "1.0.0", "llm", STAND_IN, check=describe_agent)
    return tenant


@pytest.fixture
def mlops(name, tenant, monkeypatch):
    """A command in this process, in the test's own tenant."""

    def run(*arguments):
        with monkeypatch.context() as patch:
            patch.setenv("MLOPS_TENANT", name)
            patch.setattr("mlops.console.out.width", 200)
            settings.cache_clear()
            answer = CliRunner().invoke(app, ["evaluate", *arguments])
        settings.cache_clear()
        # A traceback would be an exception that is no exit.
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer

    return run


@pytest.fixture
def told(mlops):
    """What a command that succeeds says on stdout: with --json what that means."""

    def run(*arguments):
        answer = mlops(*arguments)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout) if "--json" in arguments else answer.stdout

    return run


def refused(answer, code, *parts):
    """One line on stderr, nothing on stdout, this exit code."""
    assert (answer.exit_code, answer.stdout) == (code, ""), answer.stderr
    assert answer.stderr.count("\n") == 1, answer.stderr
    for part in parts:
        assert part in answer.stderr


def put_run(tenant, outcomes: Mapping[str, Mapping[str, Sequence[str | None]]]) -> str:
    """A run whose episodes ended so, by model, task and seed; None has not ended.

    A step costs the LLM agent 100 tokens and a thousandth of a dollar.
    """
    tasks = tuple(next(iter(outcomes.values())))
    seeds = range(len(outcomes[next(iter(outcomes))][tasks[0]]))
    job = RunBenchmark(tasks=tasks, seeds=tuple(seeds), models=tuple(outcomes))
    with tenant_session(tenant) as session:
        run = create_run(session, job, lambda *_: None, lambda version: None)["run_id"]
        for episode in session.scalars(sa.select(Episode).where(Episode.run_id == uuid.UUID(run))):
            version = session.get(models.ModelVersion, episode.model_version_id)
            task = session.get(EvaluationTask, episode.task_id)
            episode.outcome = outcomes[version.model.name][task.name][episode.seed]
            if episode.outcome is None:
                continue
            episode.steps, episode.duration_ms, episode.finished_at = 2, 1500, sa.func.now()
            episode.raw_reward = {"success": 1.0, "failure": 0.3}.get(episode.outcome)
            session.get(JobRow, episode.job_id).status = "succeeded"
            if version.agent == "llm":
                episode.llm_calls, episode.input_tokens, episode.cost_nanos = 2, 200, 2_000_000
    return run


@pytest.fixture
def run(tenant):
    """Old succeeds in 4 of 6, one of them loosely more; new in 6 of 7 that are scored of 8."""
    return put_run(
        tenant,
        {
            "old": {
                "click-test": ["success", "success", "failure", None],
                "search-engine": ["success", "success", "timeout", None],
            },
            "new": {
                "click-test": ["success"] * 4,
                "search-engine": ["success", "success", "timeout", "environment_error"],
            },
        },
    )


def test_tasks_are_listed_with_what_they_are(told, mlops):
    everything = told("tasks", "--json")
    assert len(everything) == sum(len(catalogue(name)) for name in NAMES)
    easy = told("tasks", "--benchmark", "miniwob", "--difficulty", "easy", "--json")
    assert {(t["benchmark"], t["difficulty"]) for t in easy} == {("miniwob", "easy")}
    found = told("tasks", "--category", "search", "--json")
    assert "search-engine" in {task["name"] for task in found}
    assert {task["category"] for task in found} == {"search"}
    assert "search-engine" in told("tasks", "--benchmark", "miniwob", "--category", "search")
    refused(mlops("tasks", "--benchmark", "none"), Exit.NOT_FOUND, "'none'", "miniwob")
    answer = mlops("tasks", "--benchmark", "miniwob", "--category", "cooking")
    refused(answer, Exit.NOT_FOUND, "no task of category 'cooking'", "search")


def test_results_hold_every_figure_with_its_n(told, run):
    found = told("results", run[:8], "--json")
    assert (found["run"], found["ended"]) == (run, 14)
    new, old = found["models"]
    scores = new["scores"]
    assert (scores["strict"]["count"], scores["strict"]["n"]) == (6, 7)
    assert scores["environment_errors"]["count"] == 1
    # 7 episodes of 200 tokens and 2 thousandths of a dollar, for 6 successes.
    assert scores["tokens_per_success"]["value"] == pytest.approx(1400 / 6)
    assert scores["nanos_per_success"]["value"] == pytest.approx(14_000_000 / 6)
    assert new["simulated_price"] is True
    low, high = scores["strict"]["clustered"]
    assert 0 < low < 6 / 7 < high <= 1
    assert (old["scores"]["strict"]["count"], old["scores"]["loose"]["count"]) == (4, 5)
    assert [part["name"] for part in old["scores"]["by_category"]] == ["click", "search"]
    assert old["scores"]["violations"]["rate"] is None


def test_results_are_told_to_people(mlops, run):
    answer = mlops("results", run, "--tasks")
    assert answer.exit_code == 0
    text = answer.stdout
    for part in ("85.7 %", "pass@4", "pass^2", "not tested", "no calls", "$0.00233"):
        assert part in text
    assert "dollars per success (simulated)" in text
    assert "search-engine" in text
    assert "search-engine" not in mlops("results", run).stdout
    assert "seeds clustered by task" in answer.stderr
    assert "14 of 16 episodes have ended" in answer.stderr


def test_two_models_of_a_run_are_compared_pair_by_pair(told, mlops, run):
    found = told("compare", run, "--model", "old", "--model", "new", "--json")
    assert (found["pairs"], found["gained"], found["lost"], found["missing"]) == (6, 1, 0, 1)
    assert found["difference"] == pytest.approx(1 / 6)
    assert found["finding"] == "no difference shown"
    assert (found["base"]["model"], found["other"]["model"]) == ("old@1.0.0", "new@1.0.0")
    back = told("compare", run, "--json")
    assert back["base"]["model"] == "new@1.0.0"
    assert back["difference"] == pytest.approx(-1 / 6)
    answer = mlops("compare", run, "--model", "old", "--model", "new")
    assert answer.stdout.startswith("no difference shown: +16.7 points, 95 % interval")
    assert "6 of 2 tasks" in answer.stdout
    old, new = (f"for {model}@1.0.0 in run {run[:8]}" for model in ("old", "new"))
    assert answer.stderr == (
        f"2 of 8 tasks and seeds make no pair: 1 not ended {old} and environment error {new};"
        f" 1 not ended {old}\n"
    )


def test_steps_and_costs_of_the_pairs_are_compared(told, mlops, tenant):
    tasks = list(catalogue("miniwob"))[:6]
    run = put_run(tenant, {model: {task: ["success"] * 2 for task in tasks} for model in MODELS})
    found = told("compare", run, *SIDES, "--json")
    # The rule-based agent asks no model: that is known to cost nothing.
    assert found["cost_nanos"] == {
        "pairs": 12, "left_out": 0, "base_mean": 0, "other_mean": 2_000_000,
        "difference": 2_000_000, "interval": None,
    }  # fmt: skip
    assert (found["steps"]["difference"], found["simulated_price"]) == (0, True)
    assert found["unpaired"] == []
    text = told("compare", run, *SIDES)
    assert "dollars an episode (95 %, bootstrap over tasks) (simulated)" in text
    assert "0.00000 to 0.00200: +0.00200" in text
    with tenant_session(tenant) as session:
        session.execute(sa.update(Episode).where(Episode.llm_calls > 0).values(unpriced_calls=1))
    found = told("compare", run, *SIDES, "--json")["cost_nanos"]
    assert (found["pairs"], found["left_out"], found["difference"]) == (0, 12, None)
    assert "unknown in all 12 pairs" in told("compare", run, *SIDES)


def test_runs_of_other_benchmarks_or_versions_are_refused(mlops, tenant):
    first, second = (put_run(tenant, {"old": {"click-test": ["success"]}}) for _ in range(2))
    with tenant_session(tenant) as session:
        task = session.scalars(sa.select(EvaluationTask)).one()
        anew = EvaluationTask(
            **{name: getattr(task, name) for name in OF_A_TASK}, tenant_id=tenant, digest="0" * 64
        )
        session.add(anew)
        session.flush()
        of_second = Episode.run_id == uuid.UUID(second)
        session.execute(sa.update(Episode).where(of_second).values(task_id=anew.id))
    refused(mlops("compare", first, second), Exit.USAGE, "two versions", "miniwob/click-test")
    job = RunBenchmark(
        benchmark="sites", tasks=(next(iter(catalogue("sites"))),), seeds=(0,), models=("old",)
    )
    with tenant_session(tenant) as session:
        sites = create_run(session, job, lambda *_: None, lambda version: None)["run_id"]
    refused(mlops("compare", first, sites), Exit.USAGE, "is of 'miniwob'", "of 'sites'")


def test_two_runs_of_a_model_are_compared(told, mlops, tenant):
    tasks = list(catalogue("miniwob"))[:8]
    bad = put_run(tenant, {"old": {task: ["failure", "failure"] for task in tasks}})
    good = put_run(tenant, {"old": {task: ["success", "success"] for task in tasks}})
    text = told("compare", bad, good)
    assert text.startswith(f"old@1.0.0 in run {good[:8]} is better: +100.0 points")
    assert told("compare", good, bad).startswith(f"old@1.0.0 in run {bad[:8]} is worse: -100.0")
    other = put_run(tenant, {"new": {"click-test": ["success"]}})
    apart = told("compare", good, other)
    assert "points on one task: that says nothing of others" in apart


def test_what_cannot_be_compared_is_refused(mlops, tenant, run):
    refused(mlops("compare", "ffff"), Exit.NOT_FOUND, "no run 'ffff'")
    refused(mlops("compare", run, "--model", "old"), Exit.USAGE, "new@1.0.0, old@1.0.0")
    answer = mlops("compare", run, run[:8], "--model", "nobody", "--model", "old")
    refused(answer, Exit.NOT_FOUND, "of nobody", "old@1.0.0")
    other = put_run(tenant, {"old": {"click-test": ["success"]}})
    refused(mlops("compare", run, other), Exit.USAGE, "say which with --model")
    refused(mlops("compare", run, *["--model", "old"] * 3), Exit.USAGE, "at most two")
    waiting = put_run(tenant, {"old": {"click-test": [None]}})
    refused(mlops("compare", other, waiting), Exit.NOT_FOUND, "no model")


def test_the_leaderboard_marks_what_is_published_and_what_differs(told, mlops, run):
    found = told("leaderboard", "--json")
    lines = {line["name"]: line for line in found["places"]}
    # Loosely, 5 of 6 and 6 of 7: above and among the published ones.
    # Two tasks are too few for a place among results on 125.
    assert list(lines)[:2] == ["new@1.0.0", "old@1.0.0"]
    assert (lines["new@1.0.0"]["place"], lines["Claude-3.5-Sonnet"]["place"]) == (None, 1)
    assert (lines["new@1.0.0"]["kind"], lines["old@1.0.0"]["kind"]) == ("stand-in", "rule-based")
    assert lines["old@1.0.0"]["rate"] == pytest.approx(5 / 6)
    assert lines["old@1.0.0"]["strict"] == pytest.approx(4 / 6)
    assert (lines["GPT-4o"]["own"], lines["GPT-4o"]["rate"]) == (False, 0.638)
    assert lines["GPT-4o"]["on"] == "2024-10-25"
    (source,) = found["published"]
    assert source["criterion"] == "raw reward above 0"
    text = told("leaderboard")
    assert "published: AgentLab, reproducibility_journal.csv (agent GenericAgent)" in text
    assert "Not measured here" in text
    assert "stand-in, no model" in text
    assert "Without a place: " in text
    assert f"old@1.0.0 (run {run[:8]}) differs: 2 tasks instead of 125; 3 seeds per task" in text
    refused(mlops("leaderboard", "--benchmark", "none"), Exit.NOT_FOUND, "'none'")


def test_a_leaderboard_without_own_runs_says_how_to_make_one(told):
    assert "no run of yours yet" in told("leaderboard")


def test_a_benchmark_that_cannot_be_submits_nothing(mlops, tenant):
    answer = mlops("benchmark", "nobody", "--category", "search")
    refused(answer, Exit.NOT_FOUND, "no model 'nobody'")
    refused(mlops("benchmark", "old", "--category", "cooking"), Exit.NOT_FOUND, "'cooking'")
    refused(mlops("benchmark", "old", "--difficulty", "x"), Exit.NOT_FOUND, "easy, hard, medium")
    answer = mlops("benchmark", "old", "--category", "timing", "--difficulty", "easy")
    refused(answer, Exit.NOT_FOUND, "no task of category timing and difficulty easy")
    refused(mlops("benchmark", "old", "--seeds", "0"), Exit.USAGE, "--seeds")
    refused(mlops("benchmark", "old", "--benchmark", "none"), Exit.NOT_FOUND, "'none'")
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 0
