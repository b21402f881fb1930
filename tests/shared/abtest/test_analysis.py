from __future__ import annotations

import math
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.analysis import analysis_of, step
from shared.abtest.inference.sample_ratio import sample_ratio_p
from shared.abtest.lifecycle import AbTestError, change_weights, create, start
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import AbState, VariantFigure, Verdict
from shared.database import tenant_of
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import AnalyzeAbTest
from shared.jobs.tables import JobRow
from shared.registry.models import register, resolve

NOW = datetime.now(UTC)


def test_a_sample_ratio_of_nothing_is_unknown() -> None:
    assert sample_ratio_p([0, 0], [0.5, 0.5]) is None
    assert sample_ratio_p([7, 0], [1.0, 0.0]) is None
    assert sample_ratio_p([7, 1], [1.0, 0.0]) == 0.0


@pytest.fixture
def running(session: Session) -> AbTest:
    register(session, "walker", "1.0.0", "rule-based", {}, check=lambda *_: None)
    create(
        session,
        "prompt",
        [{"name": name, "weight": 0.5, "model": "walker"} for name in ("control", "treatment")],
    )
    return start(session, "prompt")


def put_episodes(
    session: Session,
    variant: str,
    outcomes: list[str | None],
    test: str = "prompt",
    *,
    began: datetime | None = None,
    units: str | None = None,
    **columns: int,
) -> None:
    """Episodes of a run that `test` split; an outcome of None has not ended.

    Runs of the same `units` have tried the same ones. `columns` are the same for each episode.
    """
    tenant_id = tenant_of(session)
    run, task = uuid4(), uuid4()
    specification = {"ab": {"test": test, "environment": "production"}}
    session.add(
        BenchmarkRun(
            id=run,
            tenant_id=tenant_id,
            benchmark="miniwob",
            function="evaluation",
            specification=specification,
            **({"created_at": began} if began else {}),
        )
    )
    session.add(
        EvaluationTask(
            id=task,
            tenant_id=tenant_id,
            benchmark="miniwob",
            name=f"task-{task}",
            category="click",
            difficulty="easy",
            max_steps=5,
            timeout_seconds=10,
        )
    )
    jobs: list[UUID] = [uuid4() for _ in outcomes]
    session.flush()
    session.execute(
        sa.insert(JobRow),
        [
            {
                "id": job,
                "tenant_id": tenant_id,
                "kind": "evaluate_episode",
                "queue": "evaluation",
                "payload": {},
                "status": "succeeded" if outcome else "queued",
                "max_attempts": 3,
            }
            for job, outcome in zip(jobs, outcomes, strict=True)
        ],
    )
    session.execute(
        sa.insert(Episode),
        [
            {
                "tenant_id": tenant_id,
                "run_id": run,
                "task_id": task,
                "model_version_id": resolve(session, "walker").id,
                "job_id": job,
                "seed": seed,
                "unit_id": f"{units or task}:{seed}",
                "variant": variant,
                "outcome": outcome,
                **columns,
            }
            for seed, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True))
        ],
    )


def rate(found: Verdict, variant: str) -> VariantFigure:
    return next(
        one
        for one in found.figures
        if (one.variant, one.metric) == (variant, "task_completion_rate")
    )


def test_an_analysis_counts_what_the_test_assigned(session: Session, running: AbTest) -> None:
    broken = ["environment_error", "cancelled", None]
    put_episodes(session, "control", ["success"] * 10 + ["failure"] * 30 + broken)
    put_episodes(session, "treatment", ["success"] * 30 + ["timeout", "agent_error"] * 5)
    put_episodes(session, "treatment", ["failure"] * 100, test="another")
    found = analysis_of(session, running, NOW)
    # What cannot be scored was assigned all the same.
    assert found.units_of == {"control": 43, "treatment": 40}
    assert (rate(found, "control").units, rate(found, "control").value) == (40, 0.25)
    assert (rate(found, "treatment").units, rate(found, "treatment").value) == (40, 0.75)
    assert found.state is AbState.BETTER
    assert found.verdict.startswith(
        "treatment is better than control: +50.0 points of task_completion_rate, 97.5 %"
        " always-valid interval"
    )
    assert found.sample_ratio_p == pytest.approx(math.erfc(math.sqrt(9 / 83 / 2)))


def test_what_an_agent_costs_is_guarded(session: Session, running: AbTest) -> None:
    put_episodes(session, "control", ["success"] * 40, cost_nanos=1_000)
    put_episodes(session, "treatment", ["success"] * 40, cost_nanos=2_000)
    found = analysis_of(session, running, NOW)
    assert [one.metric for one in found.comparisons] == ["task_completion_rate", "cost_per_unit"]
    assert found.harmed == (("treatment", "cost_per_unit"),)
    assert found.verdict.endswith("; but worse is cost_per_unit of treatment")


def test_an_episode_of_unknown_cost_is_not_one_that_cost_nothing(
    session: Session, running: AbTest
) -> None:
    put_episodes(session, "control", ["success"] * 40, cost_nanos=1_000)
    put_episodes(session, "treatment", ["success"] * 40, unpriced_calls=1)
    found = analysis_of(session, running, NOW)
    cost = next(one for one in found.comparisons if one.metric == "cost_per_unit")
    assert cost.difference is None
    assert cost.reason == "part of it is unknown of 40 of 40 units of treatment"


def test_what_episodes_do_not_tell_is_remarked(session: Session, running: AbTest) -> None:
    (remark,) = analysis_of(session, running, NOW).remarks
    assert remark == (
        "benchmark episodes do not tell error_rate, llm_latency, so that is not compared"
    )
    register(session, "runner", "1.0.0", "rule-based", {}, check=lambda *_: None)
    variants = [{"name": name, "weight": 0.5, "model": "runner"} for name in ("a", "b")]
    own = {"name": "retries", "numerator": "attempts", "larger_is_better": False}
    create(session, "slow", variants, success_metric="llm_latency", guardrails=[], metrics=[own])
    found = analysis_of(session, start(session, "slow"), NOW)
    assert found.verdict == "collecting: a has 0 of at least 30 units"
    assert found.remarks[0].startswith("benchmark episodes do not tell llm_latency, retries,")


def test_an_episodes_cost_counts_up_to_the_cap_of_the_plan(session: Session) -> None:
    register(session, "walker", "1.0.0", "rule-based", {}, check=lambda *_: None)
    variants = [{"name": n, "weight": 0.5, "model": "walker"} for n in ("control", "treatment")]
    create(session, "prompt", variants, winsorize={"cost_per_unit": 1e-6})
    test = start(session, "prompt")
    put_episodes(session, "control", ["success"] * 40, cost_nanos=500)
    put_episodes(session, "treatment", ["success"] * 39, cost_nanos=500)
    put_episodes(session, "treatment", ["success"], cost_nanos=10**9)
    figures = analysis_of(session, test, NOW).figures
    costs = {one.variant: one for one in figures if one.metric == "cost_per_unit"}
    assert costs["control"].value == pytest.approx(500e-9)
    assert costs["treatment"].value == pytest.approx(512.5e-9)
    assert (costs["control"].capped, costs["treatment"].capped) == (0, 1)


def test_no_episodes_are_collecting_and_never_a_success(session: Session, running: AbTest) -> None:
    found = analysis_of(session, running, NOW)
    assert (found.state, found.units, found.sample_ratio_p) == (AbState.COLLECTING, 0, None)
    put_episodes(session, "control", ["success"] * 29)
    put_episodes(session, "treatment", ["failure"] * 29)
    few = analysis_of(session, running, NOW)
    assert few.verdict == "collecting: control has 29 of at least 30 units"


def test_a_unit_is_one_trial_however_many_runs_have_tried_it(
    session: Session, running: AbTest
) -> None:
    first, second = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
    # Stored in another order than they began.
    again: list[str | None] = ["success", "success", "success", "success", None, "failure"]
    put_episodes(session, "control", again, began=second, units="same")
    once: list[str | None] = ["failure", "environment_error", None, "success", "cancelled"]
    put_episodes(session, "control", once, began=first, units="same")
    put_episodes(session, "control", ["success"] * 30)
    put_episodes(session, "treatment", ["success"] * 36)
    found = analysis_of(session, running, NOW)
    assert found.units_of["control"] == 36
    # Unit 0 failed first; 1 and 2 could be scored the second time; 4 never; 5 was tried once.
    control = rate(found, "control")
    assert control.value is not None
    assert (control.units, round(control.value * 35)) == (35, 33)


def test_the_job_of_an_analysis_has_it_as_its_result(session: Session, running: AbTest) -> None:
    result = step(session, AnalyzeAbTest(test="prompt"))
    assert result["state"] == "collecting"
    with pytest.raises(AbTestError, match="no A/B test 'none' in 'production'"):
        step(session, AnalyzeAbTest(test="none"))


def test_after_a_change_of_weights_the_ratio_is_not_held_to_one(
    session: Session, running: AbTest
) -> None:
    put_episodes(session, "control", ["success"] * 40)
    assert analysis_of(session, running, NOW).state is AbState.SAMPLE_RATIO_MISMATCH
    change_weights(session, "prompt", {"control": 0.9, "treatment": 0.1})
    found = analysis_of(session, running, NOW)
    assert found.sample_ratio_p is None
    assert found.remarks[0].startswith("the weights have changed since the test began")
