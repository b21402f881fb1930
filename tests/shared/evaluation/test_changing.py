"""A run that was made: resumed, extended, cancelled; exactly what is asked, however many ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.evaluation import changing
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.changing import cancel, extend, resume
from shared.evaluation.episodes import load
from shared.evaluation.protocol import Outcome
from shared.evaluation.runs import Assigned, Chooser, EvaluationError, PriceCheck, create_run
from shared.evaluation.standing import spent_nanos, standing
from shared.evaluation.tables import Episode
from shared.jobs import claims
from shared.jobs.claims import claim
from shared.jobs.contracts import AbSplit, ExtendRun, RunBenchmark
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.tenancy.tables import AuditEntry

TASKS = ("click-test", "login-user")


def no_test(session: Session, split: AbSplit) -> Chooser:
    raise AssertionError("this run names its models")


def priced(version: object) -> None:
    """Every agent's price is known."""


@pytest.fixture
def run(tenant: TenantId) -> UUID:
    """Two tasks with two seeds by one agent."""
    return run_of(tenant)


def run_of(tenant: TenantId, chooser: Callable[..., Chooser] = no_test, **fields: object) -> UUID:
    with tenant_session(tenant) as session:
        for name in ("first", "second"):
            models.register(session, name, "1.0.0", "rule-based", {}, check=describe_agent)
        job = {"tasks": TASKS, "seeds": (0, 7), "models": ("first",), **fields}
        made = create_run(session, RunBenchmark.model_validate(job), chooser, priced)
    return UUID(made["run_id"])


def episodes(tenant: TenantId, run: UUID) -> list[Episode]:
    with tenant_session(tenant) as session:
        return list(
            session.scalars(
                sa.select(Episode).where(Episode.run_id == run).order_by(Episode.seed, Episode.id)
            )
        )


def end(tenant: TenantId, episode: Episode, outcome: str, cost_nanos: int = 0) -> None:
    """End an episode's job with an outcome, as the worker does."""
    held = claim(tenant, episode.job_id, worker="w", lease_seconds=60)
    assert held is not None
    with tenant_session(tenant) as session:
        session.execute(
            sa.update(Episode)
            .where(Episode.id == episode.id)
            .values(outcome=outcome, reason="why", cost_nanos=cost_nanos)
        )
        if outcome == "cancelled":
            claims.end_cancelled(session, held)
        elif outcome in ("success", "failure", "timeout"):
            claims.succeed(session, held, {})
        else:
            claims.fail(session, held, "why", {"final": outcome == "agent_error"})


def outcomes(tenant: TenantId, run: UUID) -> list[str | None]:
    with tenant_session(tenant) as session:
        return list(
            session.scalars(
                sa.text(
                    "SELECT outcome FROM mlops.episode_results WHERE run_id = :run"
                    " ORDER BY outcome NULLS LAST"
                ),
                {"run": run},
            )
        )


def resumed(tenant: TenantId, run: UUID, budget: str | None = None) -> changing.Resumed:
    with tenant_session(tenant) as session:
        amount = None if budget is None else Decimal(budget)
        return resume(session, run, budget_dollars=amount, unpriced=priced)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_view_of_results_scores_what_the_protocol_scores(
    tenant: TenantId, run: UUID, outcome: Outcome
) -> None:
    end(tenant, episodes(tenant, run)[0], outcome.value)
    with tenant_session(tenant) as session:
        found = session.execute(
            sa.text(
                "SELECT outcome, scored FROM mlops.episode_results"
                " WHERE run_id = :run AND outcome IS NOT NULL"
            ),
            {"run": run},
        ).one()
    assert tuple(found) == (outcome.value, outcome.scored)


@pytest.mark.parametrize("outcome", ["environment_error", "cancelled", "budget_exceeded"])
def test_what_ended_without_a_result_is_done_again(
    tenant: TenantId, run: UUID, outcome: str
) -> None:
    first, second, *_ = episodes(tenant, run)
    end(tenant, first, outcome, cost_nanos=5)
    end(tenant, second, "success", cost_nanos=7)
    assert resumed(tenant, run) == changing.Resumed(queued=1, under_way=2, stopping=0)
    assert outcomes(tenant, run) == ["success", None, None, None]
    with tenant_session(tenant) as session:
        again = session.get_one(Episode, first.id)
        assert (again.outcome, again.reason) == (None, None)
        # What the earlier attempt cost stays paid.
        assert spent_nanos(session, run) == 12
    end(tenant, first, "success")
    assert outcomes(tenant, run).count("success") == 2


@pytest.mark.parametrize("outcome", ["success", "failure", "timeout", "agent_error"])
def test_a_result_that_counts_is_not_done_again(tenant: TenantId, run: UUID, outcome: str) -> None:
    for episode in episodes(tenant, run):
        end(tenant, episode, outcome)
    assert resumed(tenant, run) == changing.Resumed(queued=0, under_way=0, stopping=0)
    assert outcomes(tenant, run) == [outcome] * 4


def test_of_those_who_resume_at_once_one_queues_each_episode(tenant: TenantId, run: UUID) -> None:
    for episode in episodes(tenant, run):
        end(tenant, episode, "environment_error")
    together = threading.Barrier(4)
    counts: list[int] = []

    def ask() -> None:
        together.wait()
        counts.append(resumed(tenant, run).queued)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 4]


def test_a_resumed_episode_forgets_how_it_ended_before_its_worker_died(
    tenant: TenantId, run: UUID
) -> None:
    """Else the outcome of an earlier attempt would be told of one that never came to an end."""
    first = episodes(tenant, run)[0]
    end(tenant, first, "budget_exceeded")
    resumed(tenant, run)
    held = claim(tenant, first.job_id, worker="w", lease_seconds=60)
    assert held is not None
    with tenant_session(tenant) as session:
        claims.fail(session, held, "its worker went away")
    assert outcomes(tenant, run)[0] == "environment_error"


def test_a_cancelled_run_ends_what_waits_and_asks_what_runs(tenant: TenantId, run: UUID) -> None:
    first, second, third, fourth = episodes(tenant, run)
    end(tenant, first, "success")
    held = claim(tenant, second.job_id, worker="w", lease_seconds=60)
    assert held is not None
    with tenant_session(tenant) as session:
        assert cancel(session, run) == (2, 1)
        assert claims.cancel_requested(session, [one.job_id for one in (first, second)]) == {
            second.job_id
        }
    assert outcomes(tenant, run) == ["cancelled", "cancelled", "success", None]
    assert resumed(tenant, run) == changing.Resumed(queued=2, under_way=1, stopping=1)
    assert claim(tenant, third.job_id, worker="w", lease_seconds=60) is not None
    assert claim(tenant, fourth.job_id, worker="w", lease_seconds=60) is not None


def test_a_run_grows_by_seeds_that_it_does_not_have(tenant: TenantId, run: UUID) -> None:
    with tenant_session(tenant) as session:
        # A newer version of the model is another model: the run keeps to its own.
        models.register(session, "first", "2.0.0", "rule-based", {}, check=describe_agent)
        made = extend(session, ExtendRun(run_id=run, more_seeds=3), no_test, priced)
    assert made == {"run_id": str(run), "episodes": 6, "seeds": [1, 2, 3]}
    there = episodes(tenant, run)
    assert [one.seed for one in there] == [0, 0, 1, 1, 2, 2, 3, 3, 7, 7]
    assert len({one.model_version_id for one in there}) == 1
    with tenant_session(tenant) as session:
        assert standing(session, run).queued == 10
        more = extend(session, ExtendRun(run_id=run, more_seeds=4), no_test, priced)
    assert more["seeds"] == [4, 5, 6, 8]


def test_an_extended_run_of_a_test_goes_on_with_its_assignment(tenant: TenantId) -> None:
    def chooser(session: Session, split: AbSplit) -> Chooser:
        assert split.test == "which"
        return lambda unit: Assigned(*(("b", "second") if unit.endswith("1") else ("a", "first")))

    run = run_of(tenant, chooser, models=(), ab={"test": "which"}, tasks=("click-test",))
    with tenant_session(tenant) as session:
        extend(session, ExtendRun(run_id=run, more_seeds=2), chooser, priced)
    assert [(one.unit_id, one.variant) for one in episodes(tenant, run)] == [
        ("miniwob/click-test:0", "a"),
        ("miniwob/click-test:1", "b"),
        ("miniwob/click-test:2", "a"),
        ("miniwob/click-test:7", "a"),
    ]


def test_a_run_does_not_grow_beyond_the_limit(tenant: TenantId) -> None:
    run = run_of(tenant, seeds=tuple(range(10)))
    with (
        tenant_session(tenant) as session,
        pytest.raises(EvaluationError, match="at most 100000 in one run"),
    ):
        # 20 episodes are there.
        changing._require_room(session, run, 99_981)


def test_a_spent_budget_is_not_resumed_and_a_higher_one_is(tenant: TenantId) -> None:
    run = run_of(tenant, budget_dollars="0.000001")
    first, second, *_ = episodes(tenant, run)
    end(tenant, first, "success", cost_nanos=1_500)
    end(tenant, second, "budget_exceeded")
    for budget in (None, "0.0000015"):
        with pytest.raises(EvaluationError, match=r"has cost \$0\.0000015 of its budget"):
            resumed(tenant, run, budget)
    assert resumed(tenant, run, "0.000002").queued == 1
    with tenant_session(tenant) as session:
        assert standing(session, run).budget_nanos == 2_000
        changes = session.execute(
            sa.select(AuditEntry.action, AuditEntry.details).where(
                AuditEntry.action.startswith("run.")
            )
        ).all()
    assert [tuple(change) for change in changes] == [
        ("run.budget", {"nanos": 2_000, "before": 1_000}),
        ("run.resume", {"episodes": 1}),
    ]


def test_what_judges_cost_counts_too(tenant: TenantId, run: UUID) -> None:
    first, second, *_ = episodes(tenant, run)
    end(tenant, first, "success", cost_nanos=5)
    with tenant_session(tenant) as session:
        session.execute(
            sa.update(Episode)
            .where(Episode.id == first.id)
            .values(judgements=[{"cost_nanos": 7}, {"cost_nanos": 30}])
        )
    with tenant_session(tenant) as session:
        assert standing(session, run).cost_nanos == spent_nanos(session, run) == 42
        assert spent_nanos(session, run, [second.id]) == 42
        assert spent_nanos(session, run, [first.id, second.id]) == 0


def test_a_budget_given_later_needs_known_prices_too(tenant: TenantId, run: UUID) -> None:
    with (
        tenant_session(tenant) as session,
        pytest.raises(EvaluationError, match="no price is known"),
    ):
        resume(
            session, run, budget_dollars=Decimal(1), unpriced=lambda version: "no price is known"
        )
    with tenant_session(tenant) as session:
        assert standing(session, run).budget_nanos is None


JUDGED = {
    "name": "museum",
    "tasks": [
        {
            "name": "press",
            "task_prompt": "Press it.",
            "start": {"html": "<button>x</button>"},
            "success_criteria": {"element": "p"},
        },
        {
            "name": "hours",
            "task_prompt": "When does it open?",
            "start": {"html": "<p>9</p>"},
            "success_criteria": {
                "any": [{"answer": "9"}, {"judge": {"question": "So?", "model": "judge-1"}}]
            },
        },
    ],
}


def judges_unpriced(asking: object) -> str | None:
    return f"{asking.model} has no price" if isinstance(asking, LlmParameters) else None


def judged(tenant: TenantId, unpriced: PriceCheck, **fields: object) -> UUID:
    job = {"benchmark": "museum", "definition": JUDGED, "seeds": (0,), "models": ("first",)}
    with tenant_session(tenant) as session:
        models.register(session, "first", "1.0.0", "rule-based", {}, check=describe_agent)
        contract = RunBenchmark.model_validate(job | fields)
        return UUID(create_run(session, contract, no_test, unpriced)["run_id"])


def test_a_budget_needs_the_prices_of_the_judges_that_the_run_will_ask(tenant: TenantId) -> None:
    said = "with the judge of task 'hours': judge-1 has no price"
    with pytest.raises(EvaluationError, match=said):
        judged(tenant, judges_unpriced, budget_dollars="1")
    judged(tenant, judges_unpriced, budget_dollars="1", tasks=("press",))
    run = judged(tenant, judges_unpriced)
    with tenant_session(tenant) as session, pytest.raises(EvaluationError, match=said):
        resume(session, run, budget_dollars=Decimal(1), unpriced=judges_unpriced)
    run = judged(tenant, priced, budget_dollars="1")
    with tenant_session(tenant) as session, pytest.raises(EvaluationError, match=said):
        extend(session, ExtendRun(run_id=run, more_seeds=1), no_test, judges_unpriced)


def test_what_judges_cost_and_could_not_be_priced_is_known(tenant: TenantId, run: UUID) -> None:
    first, second, *_ = episodes(tenant, run)
    end(tenant, first, "environment_error", cost_nanos=5)
    said = {"cost_nanos": 7, "unpriced_calls": 2}
    with tenant_session(tenant) as session:
        session.execute(
            sa.update(Episode).where(Episode.id == first.id).values(judgements=[said, said])
        )
    with tenant_session(tenant) as session:
        now = standing(session, run)
        assert (now.cost_nanos, now.unpriced_calls, now.unpriced_judge_calls) == (19, 0, 4)
        # What the budget takes for the earlier attempts of an episode that is tried again.
        assert load(session, first.id).cost_nanos == spent_nanos(session, run) == 19
        assert load(session, second.id).cost_nanos == 0


def test_the_rate_of_environment_errors_is_of_what_was_played(tenant: TenantId, run: UUID) -> None:
    first, second, third, _ = episodes(tenant, run)
    with tenant_session(tenant) as session:
        assert standing(session, run).environment_error_rate is None
    for episode, outcome in (
        (first, "failure"),
        (second, "environment_error"),
        (third, "budget_exceeded"),
    ):
        end(tenant, episode, outcome)
    with tenant_session(tenant) as session:
        now = standing(session, run)
    assert (now.total, now.ended, now.missing, now.done) == (4, 3, 2, False)
    assert now.environment_error_rate == 0.5


def test_another_tenants_run_is_not_there(tenant: TenantId) -> None:
    with tenant_session(tenant) as session:
        for change in (
            lambda: resume(session, uuid4(), unpriced=priced),
            lambda: cancel(session, uuid4()),
            lambda: extend(session, ExtendRun(run_id=uuid4(), more_seeds=1), no_test, priced),
        ):
            with pytest.raises(LookupError, match="no run"):
                change()
        assert session.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 0
