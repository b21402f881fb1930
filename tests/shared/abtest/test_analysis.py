from __future__ import annotations

import math
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.analysis import VariantCounts, analyze, conclude, newcombe, step
from shared.abtest.lifecycle import AbTestError, change_weights, create, start
from shared.abtest.tables import AbTest
from shared.abtest.verdicts import AbState, sample_ratio_p
from shared.database import tenant_of
from shared.evaluation.tables import BenchmarkRun, Episode, EvaluationTask
from shared.jobs.contracts import AnalyzeAbTest
from shared.jobs.tables import JobRow
from shared.registry.models import register, resolve


def counts(name: str, scored: int, successes: int, units: int | None = None) -> VariantCounts:
    return VariantCounts(
        name=name,
        model="walker@1.0.0",
        weight=0.5,
        units=scored if units is None else units,
        episodes=scored,
        scored=scored,
        successes=successes,
    )


def test_a_sample_ratio_of_nothing_is_unknown() -> None:
    assert sample_ratio_p([0, 0], [0.5, 0.5]) is None
    assert sample_ratio_p([7, 0], [1.0, 0.0]) is None
    assert sample_ratio_p([7, 1], [1.0, 0.0]) == 0.0


@pytest.mark.parametrize(
    ("one", "two", "low", "high"),
    # Newcombe (1998), table II, method 10.
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090),
     ((10, 10), (0, 20), 0.6791, 1.0), ((10, 10), (0, 10), 0.6075, 1.0)],
)  # fmt: skip
def test_the_interval_of_a_difference_is_newcombes(
    one: tuple[int, int], two: tuple[int, int], low: float, high: float
) -> None:
    assert newcombe(*one, *two) == pytest.approx((low, high), abs=5e-5)


def test_no_data_is_collecting_and_never_a_success() -> None:
    found = conclude([counts("control", 0, 0), counts("treatment", 0, 0)])
    assert found.state is AbState.COLLECTING
    assert found.sample_ratio_p is None
    assert [variant.success_rate for variant in found.variants] == [None, None]
    assert [(d.state, d.difference) for d in found.differences] == [(AbState.COLLECTING, None)]
    one_sided = conclude([counts("control", 500, 0), counts("treatment", 0, 0, units=500)])
    assert one_sided.state is AbState.COLLECTING


def test_a_few_episodes_are_collecting_however_far_apart() -> None:
    assert conclude([counts("a", 29, 0), counts("b", 29, 29)]).state is AbState.COLLECTING


@pytest.mark.parametrize(
    ("successes", "state", "verdict"),
    [
        (300, AbState.BETTER, "treatment is better than control: +10.0 points, 95 % interval +"),
        (200, AbState.WORSE, "treatment is worse than control: -10.0 points, 95 % interval -"),
        (252, AbState.NO_DIFFERENCE, "no variant is told apart from control"),
    ],
)
def test_the_verdict_follows_the_interval(successes: int, state: AbState, verdict: str) -> None:
    found = conclude([counts("control", 500, 250), counts("treatment", 500, successes)])
    assert found.state is state
    assert found.verdict.startswith(verdict)


def test_units_that_do_not_follow_the_weights_spoil_the_result() -> None:
    arms = [counts("control", 500, 250, units=1000), counts("treatment", 500, 400, units=1200)]
    assert conclude(arms).state is AbState.SAMPLE_RATIO_MISMATCH
    # The ratio of two splits is neither of them.
    changed = conclude(arms, split_changed=True)
    assert (changed.state, changed.sample_ratio_p) == (AbState.BETTER, None)


def test_all_alike_has_a_p_value_of_one() -> None:
    found = conclude([counts("a", 50, 50), counts("b", 50, 50)])
    assert found.differences[0].p_value == 1.0
    assert found.state is AbState.NO_DIFFERENCE


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
) -> None:
    """Episodes of a run that `test` split; an outcome of None has not ended.

    Runs of the same `units` have tried the same ones.
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
            }
            for seed, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True))
        ],
    )


def test_an_analysis_counts_what_the_test_assigned(session: Session, running: AbTest) -> None:
    broken = ["environment_error", "cancelled", None]
    put_episodes(session, "control", ["success"] * 10 + ["failure"] * 30 + broken)
    put_episodes(session, "treatment", ["success"] * 30 + ["timeout", "agent_error"] * 5)
    put_episodes(session, "treatment", ["failure"] * 100, test="another")
    found = analyze(session, running)
    assert [
        (v.counts.name, v.counts.units, v.counts.episodes, v.counts.scored, v.counts.successes)
        for v in found.variants
    ] == [("control", 43, 43, 40, 10), ("treatment", 40, 40, 40, 30)]
    assert found.state is AbState.BETTER
    assert found.differences[0].difference == 0.5
    assert found.sample_ratio_p == pytest.approx(math.erfc(math.sqrt(9 / 83 / 2)))


def test_a_unit_is_one_trial_however_many_runs_have_tried_it(
    session: Session, running: AbTest
) -> None:
    first, second = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
    # Stored in another order than they began.
    again: list[str | None] = ["success", "success", "success", "success", None, "failure"]
    put_episodes(session, "control", again, began=second, units="same")
    once: list[str | None] = ["failure", "environment_error", None, "success", "cancelled"]
    put_episodes(session, "control", once, began=first, units="same")
    control = analyze(session, running).variants[0].counts
    assert (control.units, control.episodes) == (6, 11)
    # Unit 0 failed first; 1 and 2 could be scored the second time; 4 never; 5 was tried once.
    assert (control.scored, control.successes) == (5, 3)


def test_the_job_of_an_analysis_has_it_as_its_result(session: Session, running: AbTest) -> None:
    result = step(session, AnalyzeAbTest(test="prompt"))
    assert result["state"] == "collecting"
    assert result["variants"][0]["counts"]["model"] == "walker@1.0.0"
    with pytest.raises(AbTestError, match="no A/B test 'none' in 'production'"):
        step(session, AnalyzeAbTest(test="none"))


def test_after_a_change_of_weights_the_ratio_is_not_held_to_one(
    session: Session, running: AbTest
) -> None:
    put_episodes(session, "control", ["success"] * 40)
    assert analyze(session, running).state is AbState.SAMPLE_RATIO_MISMATCH
    change_weights(session, "prompt", {"control": 0.9, "treatment": 0.1})
    assert analyze(session, running).sample_ratio_p is None
