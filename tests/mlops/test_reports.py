"""`mlops ab`, `card`, `alert` and `evaluate`, on a real PostgreSQL."""

import hashlib
import json
import uuid
from collections import Counter
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mlops import ConfigManager
from mlops.cli import app
from mlops.console import Exit
from shared.abtest import copies, followers
from shared.abtest.lifecycle import find
from shared.abtest.states import AbTestError
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.cards.writing import write_card
from shared.database import tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.runs import Assigned, create_run
from shared.evaluation.tables import Episode
from shared.jobs.contracts import AbSplit, RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.settings import settings
from shared.tenancy.tenants import create_tenant

HOUR = datetime(2026, 11, 18, 12, tzinfo=UTC)
"A Wednesday."
STAND_IN = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}
SPLIT = ("--variant", "control=old:0.5", "--variant", "treatment=new:0.5")


@pytest.fixture
def name(services):
    return f"reports-{uuid.uuid4()}"


@pytest.fixture
def tenant(name):
    """A tenant that only this test knows, with the models old, new and idle."""
    tenant = create_tenant(name)
    with tenant_session(tenant) as session:
        models.register(session, "old", "1.0.0", "rule-based", {}, check=describe_agent)
        models.register(session, "idle", "1.0.0", "rule-based", {}, check=describe_agent)
        models.register(session, "new", "1.0.0", "llm", STAND_IN, check=describe_agent)
    return tenant


@pytest.fixture
def mlops(name, tenant, monkeypatch):
    """A command in this process, in the test's own tenant."""

    def run(*arguments, width=250):
        with monkeypatch.context() as patch:
            patch.setenv("MLOPS_TENANT", name)
            patch.setattr("mlops.console.out.width", width)
            settings.cache_clear()
            answer = CliRunner().invoke(app, arguments)
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


def put_run(tenant, job, outcomes, chooser=None):
    """A run whose episodes of a model, or variant, have ended so; None has not ended."""
    with tenant_session(tenant) as session:
        run = uuid.UUID(create_run(session, job, chooser, lambda version: None)["run_id"])
        left = {name: list(ends) for name, ends in outcomes.items()}
        for episode in session.scalars(sa.select(Episode).order_by(Episode.seed)):
            version = session.get(models.ModelVersion, episode.model_version_id)
            episode.outcome = left[episode.variant or version.model.name].pop(0)
            if episode.outcome is not None:
                episode.steps, episode.trace = 2, [step(100), step(300)]
                episode.finished_at = HOUR
                session.get(JobRow, episode.job_id).status = "succeeded"
            if version.agent == "llm" and episode.outcome is not None:
                episode.llm_calls, episode.input_tokens, episode.cost_nanos = 1, 900, 1_000_000
    assert not any(left.values())
    return run


def step(milliseconds):
    return {
        "index": 0,
        "action": {"kind": "wait", "milliseconds": 1},
        "observe_ms": milliseconds,
        "think_ms": 0,
        "act_ms": 0,
    }


def test_an_ab_test_from_its_creation_to_its_end(told, mlops):
    made = told("ab", "create", "choice", *SPLIT, "--json")
    assert (made["status"], made["environment"]) == ("draft", "production")
    assert [v["model"] for v in made["variants"]] == ["old@1.0.0", "new@1.0.0"]
    assert told("ab", "start", "choice") == "choice running\n"
    assert told("ab", "create", "choice", *SPLIT, "--environment", "staging") == "choice draft\n"
    listed = told("ab", "list", "--json")
    assert [(t["environment"], t["status"]) for t in listed] == [
        ("production", "running"),
        ("staging", "draft"),
    ]
    assert "control=old@1.0.0:0.5, treatment=new@1.0.0:0.5" in told("ab", "list")
    assert told("ab", "stop", "choice", "--json")["status"] == "stopped"
    refused(mlops("ab", "start", "choice"), Exit.FAILURE, "it is stopped; start takes a test")


def test_an_ab_test_may_let_its_weights_follow_the_results(told, mlops):
    one = ("ab", "create", "words", "--variant", "standard", "--variant", "concise")
    made = told(*one, "--allocation", "thompson", "--least-share", "0.1", "--json")
    assert (made["plan"]["allocation"], made["plan"]["least_share"]) == ("thompson", 0.1)
    # Units that come again keep their variant.
    assert made["rules"]["sticky"]
    too_much = ("--allocation", "thompson", "--least-share", "0.7")
    refused(mlops(*one, *too_much), Exit.FAILURE, "least share 0.7 of 2 variants; expected 0 to")
    refused(mlops(*one, "--allocation", "x"), Exit.FAILURE, "'fixed' or 'thompson'")


def test_an_ab_test_is_changed_while_it_runs(told, mlops):
    rules = {"targeting": [{"attribute": "country", "operator": "is", "value": "DE"}]}
    told(
        *("ab", "create", "words", "--variant", "standard", "--variant", "concise"),
        *("--metric", "task_completion_rate", "--coverage", "0.5", "--rules", json.dumps(rules)),
    )
    assert told("ab", "start", "words", "--json")["version"] == 2
    assert "`mlops ab assign words UNIT` shows what a unit gets" in told("ab", "show", "words")
    assert told("ab", "ramp", "words", "1.0") == "words running\n"
    told("ab", "weights", "words", "standard:0.0", "concise:1.0")
    here = ("--attributes", '{"country": "DE"}')
    assert told("ab", "assign", "words", "u", *here) == "concise (assigned)\n"
    assert told("ab", "assign", "words", "u", "--json") == {
        "test": "words", "unit": "u", "variant": None, "reason": "not_targeted", "in_test": False,
        "payload": None,
    }  # fmt: skip
    told("ab", "force", "words", "u", "standard")
    assert told("ab", "assign", "words", "u") == "standard (forced)\n"
    told("ab", "force", "words", "u")
    told("ab", "pause", "words")
    assert told("ab", "assign", "words", "u", *here) == "no variant (paused)\n"
    told("ab", "resume", "words")
    seen = told("ab", "show", "words", "--json")["version"]
    told("ab", "conclude", "words", "concise", "--version", str(seen))
    refused(
        mlops("ab", "conclude", "words", "standard", "--version", str(seen)),
        Exit.FAILURE,
        f"version {seen} was read, and it is {seen + 1} now",
    )
    refused(mlops("ab", "ramp", "words", "0.1"), Exit.FAILURE, "it is concluded")
    ended = told("ab", "show", "words", "--json")
    assert (ended["status"], ended["winner"]) == ("concluded", "concise")
    assert ended["success_metric"] == "task_completion_rate"
    assert told("ab", "show", "words").startswith(
        "words has summed no unit yet, so nothing is known; it is concluded\n"
    )
    assert "standard:0, concise:1" in told("ab", "list")


def test_slots_on_their_way_are_told_of_with_the_processes_that_they_wait_for(told, tenant):
    told("ab", "create", "words", "--variant", "a", "--variant", "b", "--sticky")
    told("ab", "start", "words")
    process = uuid.uuid4()
    with tenant_session(tenant) as session:
        followers.enrol(session, process, "production", 60)
        (waiting,) = followers.awaited(session, find(session, "words"))
    way = (
        "0.3 of the units move when 1 process has stored whom they have shown a variant;"
        f" waits for {waiting.process}\n"
    )
    assert told("ab", "weights", "words", "a:0.2", "b:0.8") == f"words running; {way}"
    assert told("ab", "show", "words").endswith(way)
    found = told("ab", "show", "words", "--json")
    assert found["moving"] == {"share": 0.3, "waits_for": [waiting.process]}
    with tenant_session(tenant) as session:
        followers.leave(session, process)
    assert told("ab", "pause", "words") == "words paused; 0.3 of the units move within a minute\n"
    told("ab", "stop", "words")
    assert told("ab", "show", "words", "--json")["moving"] is None


def test_what_an_ab_test_cannot_become_is_told_in_one_line(told, mlops):
    told("ab", "create", "words", "--variant", "a:0.5", "--variant", "b:0.5")
    told("ab", "start", "words")
    for arguments, code, complaint in (
        (("weights", "words", "a:0.5", "b:0.6"), Exit.FAILURE, "sum to 1.1"),
        (("weights", "words", "a:1"), Exit.FAILURE, "this test's variants are"),
        (("weights", "words", "a=1"), Exit.USAGE, "NAME:WEIGHT"),
        (("weights", "words", "a:0.5", "a:0.4", "b:0.5"), Exit.USAGE, "two weights"),
        (("ramp", "words", "1.5"), Exit.FAILURE, "coverage 1.5"),
        (("conclude", "words", "c"), Exit.FAILURE, "there is: a, b"),
        (("force", "words", "u", "c"), Exit.FAILURE, "there is: a, b"),
        (("assign", "words", ""), Exit.FAILURE, "unit id ''"),
        (("assign", "words", "u" * 1001), Exit.FAILURE, "of 1001 characters"),
        (("assign", "words", "u", "--attributes", "[]"), Exit.USAGE, "no JSON object"),
        (("assign", "none", "u"), Exit.NOT_FOUND, "no A/B test 'none'"),
        (("pause", "none"), Exit.NOT_FOUND, "no A/B test 'none'"),
    ):
        refused(mlops("ab", *arguments), code, complaint)


def test_the_documented_call_makes_a_test_that_assigns(tenant):
    manager = ConfigManager(tenant)
    test = manager.create_ab_test(
        "prompt_optimization",
        variants=["standard", "detailed", "concise"],
        traffic_split=[0.4, 0.3, 0.3],
        success_metric="task_completion_rate",
        environment="staging",
    )
    assert (test.status, test.success_metric) == ("running", "task_completion_rate")
    given = [
        manager.assign("prompt_optimization", f"u{n}", environment="staging") for n in range(2000)
    ]
    counts = Counter(one.variant.name for one in given)
    assert abs(counts["standard"] - 800) < 5 * (2000 * 0.4 * 0.6) ** 0.5
    assert manager.assign("prompt_optimization", "u1").reason == "unknown_test"
    even = manager.create_ab_test("even", ["a", "b"], start=False)
    assert [variant["weight"] for variant in even.variants] == [0.5, 0.5]
    assert even.status == "draft"
    with pytest.raises(AbTestError, match="a traffic split of 2 for 3 variants"):
        manager.create_ab_test("odd", ["a", "b", "c"], traffic_split=[0.5, 0.5])
    copies.close_copies()


def test_what_an_ab_test_has_shown_begins_with_the_verdict(told, tenant):
    told("ab", "create", "choice", *SPLIT)
    assert told("ab", "show", "choice") == (
        "choice has assigned no unit yet, so nothing is known;"
        " it is a draft: `mlops ab start choice` lets it assign\n"
        "plan: compared by task_completion_rate; 1000 units in all, alpha 5 %, power 80 %\n"
        "guardrails: cost_per_unit (open)\n"
        "choice is draft, version 1; control=old@1.0.0:0.5, treatment=new@1.0.0:0.5\n"
    )
    told("ab", "start", "choice")
    assert """job submit '{"job": "run_benchmark",""" in told("ab", "show", "choice")

    def by_turns(session, split):
        return lambda unit: (
            Assigned("treatment", "new@1.0.0")
            if int(unit.rpartition(":")[2]) % 2
            else Assigned("control", "old@1.0.0")
        )

    put_run(
        tenant,
        RunBenchmark(tasks=("click-test",), seeds=tuple(range(80)), ab=AbSplit(test="choice")),
        {
            "control": ["success"] * 10 + ["failure"] * 30,
            "treatment": ["success"] * 30 + ["failure"] * 10,
        },
        by_turns,
    )
    found = told("ab", "show", "choice", "--json")
    assert (found["state"], found["sample_ratio_p"]) == ("better", 1.0)
    rates = [one for one in found["figures"] if one["metric"] == "task_completion_rate"]
    assert [one["value"] for one in rates] == [0.25, 0.75]
    low, high = rates[0]["interval"]
    assert 0 <= low < 0.25 < high
    text = told("ab", "show", "choice")
    assert text.startswith(
        "treatment is better than control: +50.0 points of task_completion_rate, 95 % always-valid"
    )
    assert "sample ratio as intended (p = 1, whenever one looks" in text
    assert "control=old@1.0.0:0.5, treatment=new@1.0.0:0.5" in text


def test_an_ab_test_that_cannot_be_is_refused(mlops):
    one = ("ab", "create", "choice", "--variant", "control=old:1.0")
    refused(mlops(*one), Exit.FAILURE, "1 variants; a test has 2 or more")
    for wrong in ("a:", "control=old", "=old:0.5", "a=:0.5", "a=old:half"):
        refused(mlops(*one, "--variant", wrong), Exit.USAGE, "NAME=MODEL:WEIGHT")
    refused(mlops(*one, "--variant", "b=old:0.5", "--rules", "5"), Exit.USAGE, "no JSON object")
    refused(mlops(*one, "--variant", "b=nobody:0.5"), Exit.NOT_FOUND, "no model 'nobody'")
    refused(mlops(*one, "--variant", "b=new:0.5"), Exit.FAILURE, "sum")
    refused(mlops("ab", "create", "choice"), Exit.USAGE, "--variant")
    assert mlops("ab", "create", "choice", *SPLIT).exit_code == 0
    refused(mlops("ab", "create", "choice", *SPLIT), Exit.FAILURE, "already")
    for verb in ("start", "stop", "show"):
        refused(mlops("ab", verb, "none"), Exit.NOT_FOUND, "no A/B test 'none'", "choice")
    refused(mlops("ab", "show", "choice", "--environment", "x"), Exit.NOT_FOUND, "'x'")


def test_cards(told, mlops, tenant, tmp_path):
    assert told("card", "list", "--json") == []
    assert told("card", "list").startswith("no cards yet: ")
    with tenant_session(tenant) as session:
        card = write_card(session, "old")
        content, content_hash = card.content, card.content_hash
    (listed,) = told("card", "list", "--json")
    assert (listed["model"], listed["number"]) == ("old@1.0.0", 1)
    assert content_hash[:12] in told("card", "list")
    assert told("card", "show", "old") == content
    shown = told("card", "show", "old@1.0.0", "--json")
    assert hashlib.sha256(shown["content"].encode()).hexdigest() == content_hash
    assert shown["figures"]

    folder = tmp_path / "a" / "b"
    exported = told("card", "export", "old", "--directory", str(folder), "--json")
    assert exported["path"] == str(folder / "old@1.0.0.md")
    assert (folder / "old@1.0.0.md").read_text() == content
    assert told("card", "export", "old", "--directory", str(folder)) == exported["path"] + "\n"

    for verb in (("show",), ("write",), ("export", "--directory", str(folder))):
        answer = mlops("card", *verb, "nobody")
        refused(answer, Exit.NOT_FOUND, "no model 'nobody' is registered")
    refused(mlops("card", "show", "idle"), Exit.NOT_FOUND, "mlops card write idle@1.0.0")
    file = tmp_path / "file"
    file.touch()
    answer = mlops("card", "export", "old", "--directory", str(file))
    refused(answer, Exit.FAILURE, "cannot be written")
    refused(mlops("card", "export", "old"), Exit.USAGE, "--directory")
    # A model that is not there submits nothing.
    assert told("job", "list", "--json") == []


def test_alerts_are_the_open_ones_unless_all_are_wanted(told, mlops, tenant):
    with tenant_session(tenant) as session:
        raise_alert(session, "drift", "a", Severity.WARNING, "it \x1b[31m[b]moved[/b]")
        raise_alert(session, "drift", "a", Severity.WARNING, "it \x1b[31m[b]moved[/b]")
        raise_alert(session, "drift", "b", Severity.CRITICAL, "it was away")
        resolve_alert(session, "b", "it is back")
    (row,) = told("alert", "list", "--json")
    assert (row["severity"], row["times_seen"], row["resolved_at"]) == ("warning", 2, None)
    assert len(told("alert", "list", "--all", "--json")) == 2
    assert r"it \x1b[31m[b]moved[/b]" in told("alert", "list")
    assert "it was away" not in told("alert", "list")
    # What a message ends with can be copied where it is narrow.
    assert "\n  it \\x1b[31m[b]moved[/b]\n" in mlops("alert", "list", width=60).stdout
    assert "it was away" in told("alert", "list", "--all")
    refused(mlops("alert", "list", "--every"), Exit.USAGE, "--every")


def test_a_run_is_shown_as_far_as_it_is(told, mlops, tenant):
    job = RunBenchmark(tasks=("click-test",), seeds=(0, 1, 2, 3), models=("old", "new"))
    run = put_run(
        tenant,
        job,
        {
            "old": ["success", "success", "failure", "environment_error"],
            "new": ["success", None, None, None],
        },
    )
    found = told("evaluate", "show", str(run)[:13], "--json")
    assert (found["run"], found["episodes"], found["ended"]) == (str(run), 8, 5)
    new, old = found["agents"]
    assert (old["scored"], old["successes"], old["environment_errors"]) == (3, 2, 1)
    assert (old["cost_nanos"], old["mean_steps"]) == (0, 2.0)
    assert (new["cost"], new["input_tokens"]) == ("$0.001 (simulated)", 900)

    answer = mlops("evaluate", "show", str(run))
    assert answer.exit_code == 0
    assert "67% (21 to 94) of 3" in answer.stdout
    assert "100 / 300 ms" in answer.stdout
    assert "1 of 8 episodes ended in an environment error" in answer.stderr
    assert "5 of 8 episodes have ended" in answer.stderr


def test_a_run_that_cannot_be_is_refused_and_submits_nothing(told, mlops, tenant):
    refused(mlops("evaluate", "show", "f"), Exit.NOT_FOUND, "there is none yet")
    refused(mlops("evaluate", "run"), Exit.USAGE, "--model")
    refused(mlops("evaluate", "run", "--model", "nobody"), Exit.NOT_FOUND, "'nobody'")
    refused(mlops("evaluate", "run", "--model", "old@7.0.0"), Exit.NOT_FOUND, "old@1.0.0")
    refused(mlops("evaluate", "run", "--model", "old", "--seeds", "0"), Exit.USAGE, "--seeds")
    refused(mlops("evaluate", "run", "--model", "old", "--function", ""), Exit.USAGE, "function")
    assert told("job", "list", "--json") == []

    refused(mlops("evaluate", "show", "%"), Exit.NOT_FOUND, "no run or episode '%'")
