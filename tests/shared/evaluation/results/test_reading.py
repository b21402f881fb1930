"""Episodes from PostgreSQL: which of them count for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.evaluation.results.pairing import compare_paired
from shared.evaluation.results.played import successes
from shared.evaluation.results.reading import own_results, score_models, sides
from shared.evaluation.runs import Assigned, create_run
from shared.evaluation.tables import Episode, EvaluationTask
from shared.jobs.contracts import AbSplit, RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry.models import register
from shared.registry.tables import ModelVersion


@pytest.fixture(autouse=True)
def models(session: Session) -> None:
    for name in ("old", "new"):
        register(session, name, "1.0.0", "rule-based", {}, check=lambda *_: None)


def put_run(
    session: Session,
    outcomes: Mapping[str, Mapping[str, Sequence[str | None]]],
    ab: str | None = None,
) -> UUID:
    """A run whose episodes ended so, by model, task and seed; None has not ended."""
    tasks = tuple(next(iter(outcomes.values())))
    seeds = range(len(next(iter(next(iter(outcomes.values())).values()))))
    job = RunBenchmark(
        tasks=tasks,
        seeds=tuple(seeds),
        **({"ab": AbSplit(test=ab)} if ab else {"models": tuple(outcomes)}),
    )
    made = create_run(
        session, job, lambda *_: lambda unit: Assigned("control", "old"), lambda version: None
    )
    run = UUID(made["run_id"])
    session.flush()
    for episode in session.scalars(sa.select(Episode).where(Episode.run_id == run)):
        version = session.get_one(ModelVersion, episode.model_version_id)
        task = session.get_one(EvaluationTask, episode.task_id)
        episode.outcome = outcomes[version.model.name][task.name][episode.seed]
        if episode.outcome is not None:
            episode.steps, episode.duration_ms, episode.finished_at = 2, 500, sa.func.now()
            episode.raw_reward = {"success": 1.0, "failure": 0.4}.get(episode.outcome)
            session.get_one(JobRow, episode.job_id).status = "succeeded"
    session.flush()
    return run


def test_scores_are_of_the_ended_episodes_by_model(session: Session) -> None:
    run = put_run(
        session,
        {
            "old": {"click-test": ["success", "failure"], "login-user": ["success", None]},
            "new": {"click-test": [None, None], "login-user": ["environment_error", "timeout"]},
        },
    )
    new, old = score_models(session, [run])
    assert (old.model, old.agent) == ("old@1.0.0", "rule-based")
    assert (old.scores.strict.count, old.scores.loose.count, old.scores.strict.n) == (2, 3, 3)
    assert [one.name for one in old.scores.by_task] == ["click-test", "login-user"]
    assert (new.scores.strict.n, new.scores.environment_errors.count) == (1, 1)
    assert old.scores.violations.n == 0
    assert old.scores.seconds.value == 0.5


def test_violations_are_counted_where_they_are_tested(session: Session) -> None:
    run = put_run(session, {"old": {"click-test": ["success", "success", "success"]}})
    episodes = session.scalars(sa.select(Episode).order_by(Episode.seed)).all()
    episodes[0].violations, episodes[1].violations = [], ["left the site"]
    session.flush()
    (old,) = score_models(session, [run])
    assert (old.scores.violations.count, old.scores.violations.n) == (1, 2)


def test_runs_are_compared_on_the_units_that_both_scored(session: Session) -> None:
    before = put_run(session, {"old": {"click-test": ["failure", "success", "success"]}})
    after = put_run(session, {"old": {"click-test": ["success", "success", "cancelled"]}})
    found = compare_paired(
        *(successes(sides(session, run)["old@1.0.0"]) for run in (before, after))
    )
    assert (found.pairs, found.gained, found.lost) == (2, 1, 0)
    assert (found.only_base, found.only_other) == (1, 0)


def test_a_task_that_was_defined_anew_is_another_task(session: Session) -> None:
    before = put_run(session, {"old": {"click-test": ["failure"]}})
    session.execute(sa.update(EvaluationTask).values(digest="0" * 64))
    after = put_run(session, {"old": {"click-test": ["success"]}})
    found = compare_paired(
        *(successes(sides(session, run)["old@1.0.0"]) for run in (before, after))
    )
    assert (found.pairs, found.missing) == (0, 2)


def test_the_leaderboard_takes_of_each_model_its_largest_whole_run(session: Session) -> None:
    small = put_run(session, {"old": {"click-test": ["success"]}})
    large = put_run(
        session,
        {
            "old": {"click-test": ["success", "failure"], "login-user": ["timeout", "success"]},
            "new": {"click-test": [None, None], "login-user": [None, "cancelled"]},
        },
    )
    put_run(session, {"old": {"click-test": ["success"] * 9}}, ab="choice")
    (found,) = own_results(session, "miniwob")
    assert (found.run, found.model, found.kind) == (large, "old@1.0.0", "rule-based")
    assert small != large
    assert (found.tasks, found.seeds) == (2, (2, 2))
    limits = session.execute(sa.select(EvaluationTask.name, EvaluationTask.max_steps)).all()
    both = {name: limit for name, limit in limits if name in ("click-test", "login-user")}
    assert found.max_steps == (min(both.values()), max(both.values()))
    assert (found.strict.count, found.loose.count, found.loose.n) == (2, 3, 4)
    assert own_results(session, "none") == []
