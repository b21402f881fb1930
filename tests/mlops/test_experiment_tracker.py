"""`ExperimentTracker`: what is logged is kept once, and a run ends as what it was."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlops.experiment_tracker import ExperimentTracker, TrackedRun
from mlops.run_log import run_log
from shared.database import TenantId, tenant_session
from shared.tracking.errors import FilterError, NotFoundError, TrackingError
from shared.tracking.recording import Batch, Point, store
from shared.tracking.runs import SILENT, end_silent_runs, find_run, hear_of
from shared.tracking.tables import ExperimentRun, RunAction, RunArtifact, RunMessage


@pytest.fixture
def tracker(tenant: TenantId) -> ExperimentTracker:
    return ExperimentTracker(tenant)


@pytest.fixture
def experiment(tracker: ExperimentTracker) -> str:
    return tracker.create_experiment("prompts", hypothesis="short ones do as well")


def stored(tenant: TenantId, run: str) -> ExperimentRun:
    with tenant_session(tenant) as session:
        return find_run(session, run)


def test_the_example_of_the_documentation(tenant: TenantId, tracker: ExperimentTracker) -> None:
    exp_id = tracker.create_experiment(
        name="GPT-4 vs Claude Comparison",
        description="Compare performance of different LLMs",
        llm_provider="openai",
        llm_model="gpt-4",
        temperature=0.1,
    )
    run_id = tracker.start_run(exp_id)
    tracker.log_metric("success_rate", 0.85)
    tracker.log_conversation("user", "Navigate to google.com")
    tracker.log_action("click", success=True)
    tracker.complete_run(success=True)

    run = stored(tenant, run_id)
    assert (run.status, run.success, run.experiment_id) == ("completed", True, run_id.experiment)
    assert [point.value for point in tracker.metric_history(run_id)] == [0.85]
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(RunMessage.content)).all() == ["Navigate to google.com"]
        assert session.scalars(sa.select(RunAction.success)).all() == [True]


def test_the_same_experiment_again_is_the_one_that_is_there(tracker: ExperimentTracker) -> None:
    first = tracker.create_experiment("prompts", llm_model="gpt-4")
    assert tracker.create_experiment("prompts", llm_model="gpt-4") == first
    with pytest.raises(TrackingError, match="is there with another configuration"):
        tracker.create_experiment("prompts", llm_model="gpt-5")


def test_a_run_knows_the_code_packages_and_machine_it_ran_on(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str, tmp_path: Path
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "requirements.txt").write_text("redis==8.0\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    with tracker.start_run(experiment, seed=7, folder=tmp_path) as run:
        pass
    environment = stored(tenant, run).environment
    assert environment["seed"] == 7
    assert len(environment["git"]["commit"]) == 40
    assert environment["git"]["dirty"] is False
    assert environment["lock_file"].startswith("requirements.txt sha256:")
    assert environment["host"]

    (tmp_path / "requirements.txt").write_text("redis==8.1\n")
    recipe = tracker.reproduce(run)
    assert recipe.seed == 7
    assert any("files are changed here" in one for one in recipe.differences)
    assert any("the lock file was" in one for one in recipe.differences)


def test_a_block_that_raises_fails_its_run_and_says_why(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    with pytest.raises(ZeroDivisionError), tracker.start_run(experiment) as run:
        run.log_metric("loss", 1.0)
        _ = 1 / 0
    failed = stored(tenant, run)
    assert (failed.status, failed.success) == ("failed", None)
    assert failed.message == "ZeroDivisionError: division by zero"
    assert len(tracker.metric_history(run)) == 1


def test_a_run_completed_twice_is_refused(tracker: ExperimentTracker, experiment: str) -> None:
    run = tracker.start_run(experiment)
    run.complete_run(success=True)
    with pytest.raises(TrackingError, match=r"is completed since .* it takes no more"):
        run.complete_run(success=False)
    with pytest.raises(TrackingError, match="has ended"):
        run.log_metric("late", 1)


def test_logging_without_a_run_is_refused(tracker: ExperimentTracker) -> None:
    with pytest.raises(TrackingError, match="no run is active: start_run begins one"):
        tracker.log_metric("loss", 1.0)


def test_a_run_within_a_run_is_its_child(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    with tracker.start_run(experiment, name="outer") as outer:
        with pytest.raises(TrackingError, match="'outer' is active"):
            tracker.start_run(experiment)
        with tracker.start_run(experiment, nested=True) as inner:
            tracker.log_metric("loss", 1.0)
        tracker.log_metric("loss", 2.0)
    assert stored(tenant, inner).parent_id == outer.uuid
    assert [point.value for point in tracker.metric_history(outer)] == [2.0]


def test_a_thread_logs_to_the_only_run_and_has_to_choose_among_two(
    tracker: ExperimentTracker, experiment: str
) -> None:
    outcomes: list[object] = []

    def log() -> None:
        try:
            tracker.log_metric("loss", 1.0)
            outcomes.append("logged")
        except TrackingError as error:
            outcomes.append(str(error))

    def in_thread() -> None:
        thread = threading.Thread(target=log)
        thread.start()
        thread.join()

    with tracker.start_run(experiment):
        in_thread()
        with tracker.start_run(experiment, nested=True):
            in_thread()
    assert outcomes[0] == "logged"
    assert str(outcomes[1]).startswith("2 runs are active")


def test_numbers_that_are_none_are_kept_and_found(
    tracker: ExperimentTracker, experiment: str
) -> None:
    with tracker.start_run(experiment, name="odd") as run:
        run.log_metrics({"loss": math.nan, "score": math.inf})
        run.log_metric("loss", 3.0, step=-1)
    (found,) = tracker.search_runs("metrics.loss = 3")
    assert found.metrics["loss"].not_finite == 1
    assert (found.metrics["loss"].minimum, found.metrics["loss"].maximum) == (3.0, 3.0)
    assert [one.run.name for one in tracker.search_runs("metrics.score > 1e300")] == ["odd"]
    with tracker.start_run(experiment, name="unknown") as run:
        run.log_metric("score", math.nan)
    assert [one.run.name for one in tracker.search_runs("metrics.score > 0")] == ["odd"]
    assert [one.run.name for one in tracker.search_runs("metrics.score = nan")] == ["unknown"]


def test_the_last_value_is_that_of_the_highest_step(
    tracker: ExperimentTracker, experiment: str
) -> None:
    with tracker.start_run(experiment) as run:
        for step in (1, 3, 2):
            run.log_metric("loss", 10.0 * step, step=step)
            run.flush()
        run.log_metric("loss", 99.0)
    (found,) = tracker.search_runs()
    metric = found.metrics["loss"]
    assert (metric.value, metric.step, metric.points) == (30.0, 3, 4)
    assert (metric.minimum, metric.maximum) == (10.0, 99.0)


def test_what_is_sent_twice_is_stored_once(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    run = tracker.start_run(experiment)
    points = [Point(n, "loss", float(n), n, None, datetime.now(UTC)) for n in range(5)]
    for batch in (Batch(points[:3]), Batch(points), Batch(points)):
        with tenant_session(tenant) as session:
            store(session, run.uuid, batch)
    run.complete_run()
    assert [point.value for point in tracker.metric_history(run)] == [0, 1, 2, 3, 4]
    assert tracker.search_runs()[0].metrics["loss"].points == 5


def test_a_value_that_is_no_number_stores_nothing_of_its_call(
    tracker: ExperimentTracker, experiment: str
) -> None:
    with tracker.start_run(experiment) as run:
        for wrong in ("0.5", None, [1], "x" * 10_000):
            with pytest.raises(TrackingError, match="expected a number"):
                run.log_metrics({"good": 1.0, "bad": wrong})  # type: ignore[dict-item]
    assert tracker.metric_history(run) == []


@pytest.mark.parametrize("odd", ["", " x", "a\nb", "x" * 10_000, "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused_in_a_line(
    tracker: ExperimentTracker, odd: str
) -> None:
    with pytest.raises(TrackingError, match="expected 1 to 200 printable characters") as refused:
        tracker.create_experiment(odd)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("odd", ["🚀 'quoted' \"twice\"", "../../etc/passwd", "a" * 200])
def test_odd_names_are_names(tracker: ExperimentTracker, odd: str) -> None:
    identifier = tracker.create_experiment(odd)
    with tracker.start_run(odd, name=odd) as run:
        run.log_metric(odd, 1.0)
        run.log_param(odd, odd)
    assert run.experiment.hex == identifier.replace("-", "")
    assert tracker.metric_history(run, odd)[0].value == 1.0


def test_a_param_keeps_its_first_value(tracker: ExperimentTracker, experiment: str) -> None:
    with tracker.start_run(experiment, params={"lr": 0.1}) as run:
        run.log_param("lr", 0.1)
        with pytest.raises(TrackingError, match=r"'lr' .* is 0.1 and cannot become 0.2"):
            run.log_params({"lr": 0.2, "other": 1})
    assert tracker.search_runs("params.lr = 0.1 and params.other is null")


def test_secrets_are_not_stored(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    key = "sk-" + "a1B2" * 12
    with tracker.start_run(experiment, params={"api_key": key}) as run:
        run.log_conversation("user", f"use {key}")
        run.log_action("type", text=f"password={key}")
    with tenant_session(tenant) as session:
        said = [
            session.scalars(sa.select(RunMessage.content)).one(),
            str(session.scalars(sa.select(RunAction.details)).one()),
            str(session.scalars(sa.select(ExperimentRun.params)).one()),
        ]
    assert not any(key in one for one in said)


def test_a_file_is_kept_with_its_run(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str, tmp_path: Path
) -> None:
    (tmp_path / "report.txt").write_text("all well")
    with tracker.start_run(experiment) as run:
        run.log_artifact(tmp_path / "report.txt")
        run.log_artifact(tmp_path / "report.txt", "../outside.txt")
        with pytest.raises(TrackingError, match="is a folder"):
            run.log_artifact(tmp_path)
        with pytest.raises(TrackingError, match="is no file"):
            run.log_artifact(tmp_path / "absent")
    with tenant_session(tenant) as session:
        kept = session.scalars(sa.select(RunArtifact).order_by(RunArtifact.name)).all()
    assert [(one.name, one.size_bytes) for one in kept] == [
        ("../outside.txt", 8),
        ("report.txt", 8),
    ]
    assert len({one.sha256 for one in kept}) == 1


def test_runs_are_searched_by_what_they_logged(tracker: ExperimentTracker, experiment: str) -> None:
    for name, rate, team in (("a", 0.9, "web"), ("b", 0.7, "web"), ("c", 0.95, "shop")):
        with tracker.start_run(experiment, name, tags={"team": team}, params={"n": 3}) as run:
            run.log_metric("success_rate", rate)

    def found(condition: str, **more: str) -> list[str]:
        return [one.run.name for one in tracker.search_runs(condition, **more)]  # type: ignore[arg-type]

    assert found("metrics.success_rate > 0.8 and tags.team = 'web'") == ["a"]
    assert found("", order_by="metrics.success_rate desc") == ["c", "a", "b"]
    assert found("not tags.team = 'web'") == ["c"]
    assert found("params.n = 3 and name in ('a', 'c')", order_by="name") == ["a", "c"]
    assert found("params.n = '3'") == []
    assert found("metrics.absent < 1 or metrics.absent >= 1") == []
    assert found("metrics.absent is null and duration >= 0", order_by="name") == ["a", "b", "c"]
    assert found("started_at > '2100-01-01'") == []
    for wrong, told in (
        ("status = 'done'", "expected one of running, completed"),
        ("metrics.success_rate = 'high'", "expected a number"),
        ("started_at > 'yesterday'", "expected a time like"),
        ("success = 1", "expected true or false"),
        ("metrics.success_rate like 'x'", "expected a field of text"),
        ("tags.team in ('web', 1)", "values of one type"),
    ):
        with pytest.raises(FilterError, match=told):
            found(wrong)


def test_a_run_is_found_by_its_name_its_identifier_or_the_beginning_of_one(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    with tracker.start_run(experiment, "first") as run:
        pass
    for reference in (run, run[:10], "first"):
        assert stored(tenant, reference).id == run.uuid
    # What could be the beginning of many identifiers is a name.
    for name in "0123456789abcdef":
        with tracker.start_run(experiment, name) as short:
            pass
        assert stored(tenant, name).id == short.uuid
    with pytest.raises(NotFoundError, match="near it: first"):
        stored(tenant, "frist")
    with tracker.start_run(experiment, "first"):
        pass
    with pytest.raises(NotFoundError, match="more than one run"):
        stored(tenant, "first")


def test_runs_with_the_same_episodes_are_compared_in_pairs(
    tracker: ExperimentTracker, experiment: str
) -> None:
    for name, solved in (("a", 2), ("b", 9)):
        with tracker.start_run(experiment, name) as run:
            for n in range(10):
                run.log_metric("success", float(n < solved), episode=f"task {n}")
    (found,) = tracker.compare_runs("a", "b")
    assert (found.pairs, found.difference) == (10, pytest.approx(0.7))
    assert found.p_value == pytest.approx(2 * 0.5**7)


def test_a_run_that_falls_silent_is_killed_and_comes_back_if_it_only_slept(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    run = tracker.start_run(experiment)
    later = datetime.now(UTC) + SILENT + timedelta(seconds=5)
    with tenant_session(tenant) as session:
        assert end_silent_runs(session, datetime.now(UTC)) == 0
        assert end_silent_runs(session, later) == 1
    killed = stored(tenant, run)
    assert (killed.status, killed.ended_at, killed.success) == ("killed", killed.seen_at, None)
    with tenant_session(tenant) as session:
        hear_of(session, [run.uuid])
    assert stored(tenant, run).status == "running"
    run.complete_run()
    with tenant_session(tenant) as session:
        hear_of(session, [run.uuid])
    assert stored(tenant, run).status == "completed"


PROGRAM = """
import os, signal, sys
from uuid import UUID
from mlops import ExperimentTracker
from shared.database import TenantId
run = ExperimentTracker(TenantId(UUID(sys.argv[1]))).start_run(sys.argv[2], name=sys.argv[3])
run.log_metric("loss", 1.0)
if sys.argv[3] == "killed":
    run.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_ends_leaves_no_run_that_runs_for_ever(
    tenant: TenantId, tracker: ExperimentTracker, experiment: str
) -> None:
    for name in ("forgotten", "killed"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tenant), experiment, name],
            env=os.environ,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if name == "killed" else 0)
    assert stored(tenant, "forgotten").status == "killed"
    assert len(tracker.metric_history("forgotten")) == 1
    with tenant_session(tenant) as session:
        end_silent_runs(session, datetime.now(UTC) + SILENT + timedelta(seconds=5))
    assert stored(tenant, "killed").status == "killed"
    assert len(tracker.metric_history("killed")) == 1


def test_what_is_logged_while_postgresql_is_away_is_stored_later(
    tenant: TenantId,
    tracker: ExperimentTracker,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: TrackedRun = tracker.start_run(experiment)
    with monkeypatch.context() as away:
        away.setattr("mlops.run_log.tenant_session", _away)
        run.log_metric("loss", 1.0)
        with pytest.raises(TrackingError, match=r"1 entries of run .* are not stored"):
            run_log(tenant).flush_for(run.uuid, seconds=0.2)
        run.log_metric("loss", 2.0)
    run.complete_run(success=True)
    assert [point.value for point in tracker.metric_history(run)] == [1.0, 2.0]


def _away(tenant_id: TenantId) -> object:
    raise sa.exc.OperationalError("", {}, ConnectionError("refused"))
