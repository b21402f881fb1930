"""From a contract to episodes, and from a result to rows: nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.evaluation import episodes
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.protocol import (
    Click,
    EpisodeResult,
    Fill,
    LlmCall,
    Outcome,
    Step,
)
from shared.evaluation.reading import progress, summarize
from shared.evaluation.replaying import recorded_episodes
from shared.evaluation.runs import Assigned, Chooser, EvaluationError, create_run
from shared.evaluation.tables import BenchmarkRun, Episode
from shared.jobs import claims
from shared.jobs.claims import Claim
from shared.jobs.contracts import AbSplit, RunBenchmark
from shared.jobs.execution import Cancelled, Ending, Failed, Succeeded, TryAgain
from shared.jobs.tables import JobRow
from shared.registry import models
from shared.registry.models import RegistryError
from shared.registry.tables import ModelVersion
from shared.telemetry.events import parse_events

STARTED = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def no_test(session: Session, split: AbSplit) -> Chooser:
    raise AssertionError("this run names its models")


@pytest.fixture
def agents(tenant: TenantId) -> tuple[str, str]:
    with tenant_session(tenant) as session:
        for name in ("first", "second"):
            models.register(session, name, "1.0.0", "rule-based", {}, check=describe_agent)
    return "first@1.0.0", "second@1.0.0"


def run_of(tenant: TenantId, job: RunBenchmark, chooser: Callable[..., Chooser] = no_test) -> UUID:
    with tenant_session(tenant) as session:
        return UUID(create_run(session, job, chooser, lambda version: None)["run_id"])


def test_a_run_has_an_episode_for_every_task_seed_and_model(
    tenant: TenantId, agents: tuple[str, str]
) -> None:
    job = RunBenchmark(tasks=("click-test", "login-user"), seeds=(1, 2, 3), models=agents)
    run = run_of(tenant, job)
    with tenant_session(tenant) as session:
        assert progress(session, [run]).total == 2 * 3 * 2
        jobs = session.scalars(sa.select(JobRow).where(JobRow.kind == "evaluate_episode")).all()
        assert {job.payload["episode_id"] for job in jobs} == {
            str(one) for one in session.scalars(sa.select(Episode.id))
        }


def test_no_tasks_means_all_of_the_benchmark(tenant: TenantId, agents: tuple[str, str]) -> None:
    run = run_of(tenant, RunBenchmark(seeds=(1,), models=agents[:1]))
    with tenant_session(tenant) as session:
        assert progress(session, [run]).total >= 16


def test_what_is_named_twice_is_run_once(tenant: TenantId, agents: tuple[str, str]) -> None:
    job = RunBenchmark(tasks=("click-test",) * 2, seeds=(1,), models=("first", "first@1.0.0"))
    run = run_of(tenant, job)
    with tenant_session(tenant) as session:
        assert progress(session, [run]).total == 1


def test_an_ab_test_gives_each_unit_one_model_and_it_is_kept(
    tenant: TenantId, agents: tuple[str, str]
) -> None:
    def chooser(session: Session, split: AbSplit) -> Chooser:
        assert split.test == "which"
        return lambda unit: Assigned(
            *(("b", agents[1]) if unit.endswith("2") else ("a", agents[0]))
        )

    job = RunBenchmark(tasks=("click-test",), seeds=(1, 2), ab=AbSplit(test="which"))
    run_of(tenant, job, chooser)
    with tenant_session(tenant) as session:
        rows = session.execute(
            sa.select(Episode.unit_id, Episode.variant).order_by(Episode.seed)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("miniwob/click-test:1", "a"),
        ("miniwob/click-test:2", "b"),
    ]


@pytest.mark.parametrize(
    ("job", "error", "said"),
    [
        (RunBenchmark(seeds=(1,), models=("first",), benchmark="x"), EvaluationError, "'x'"),
        (RunBenchmark(seeds=(1,), models=("first",), tasks=("fly",)), EvaluationError, "'fly'"),
        (RunBenchmark(seeds=(1,), models=("thirst",)), RegistryError, "near it: first@1.0.0"),
        (
            RunBenchmark(seeds=tuple(range(5_000)), models=("first", "second")),
            EvaluationError,
            "at most 100000",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused_whole(
    tenant: TenantId,
    agents: tuple[str, str],
    job: RunBenchmark,
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        run_of(tenant, job)
    with tenant_session(tenant) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Episode)) == 0
        assert session.scalar(sa.select(sa.func.count()).select_from(JobRow)) == 0


def test_a_budget_is_refused_for_an_agent_whose_price_is_not_known(
    tenant: TenantId, agents: tuple[str, str]
) -> None:
    job = RunBenchmark(tasks=("click-test",), seeds=(1,), models=agents, budget_dollars="1.5")

    def unpriced(version: ModelVersion) -> str | None:
        return "no price is known for x/y" if models.key(version) == agents[1] else None

    with (
        tenant_session(tenant) as session,
        pytest.raises(EvaluationError, match=r"with second@1\.0\.0: no price is known for x/y"),
    ):
        create_run(session, job, no_test, unpriced)
    with tenant_session(tenant) as session:
        create_run(session, job, no_test, lambda version: None)
        assert session.scalars(sa.select(BenchmarkRun.budget_nanos)).one() == 1_500_000_000


def test_a_runs_priority_is_that_of_its_episodes(tenant: TenantId, agents: tuple[str, str]) -> None:
    run_of(tenant, RunBenchmark(tasks=("click-test",), seeds=(1,), models=agents, priority=8))
    with tenant_session(tenant) as session:
        assert set(session.scalars(sa.select(JobRow.priority))) == {8}


CALL = LlmCall(
    provider="p", llm_model="m", latency_ms=100, input_tokens=10, cached_input_tokens=0,
    output_tokens=5, query_length=40,
)  # fmt: skip


def result(outcome: Outcome, calls: tuple[LlmCall, ...] = (CALL,)) -> EpisodeResult:
    step = Step(
        index=0, action=Click(element=1), error=None, reasoning="", observe_ms=5, think_ms=100,
        act_ms=10, dom_nodes=50, calls=calls,
    )  # fmt: skip
    return EpisodeResult(
        outcome=outcome, reason="why", raw_reward=None, goal="g", page_load_ms=20,
        url="http://127.0.0.1/x", steps=(step,), duration_ms=200,
    )  # fmt: skip


def held(tenant: TenantId) -> Claim:
    """The only episode's job, claimed."""
    with tenant_session(tenant) as session:
        session.execute(
            sa.update(JobRow).where(JobRow.status == "queued").values(not_before=sa.func.now())
        )
        job_id = session.scalars(
            sa.select(JobRow.id).where(JobRow.kind == "evaluate_episode")
        ).one()
    found = claims.claim(tenant, job_id, worker="w", lease_seconds=60)
    assert found is not None
    return found


def record(tenant: TenantId, claim: Claim, outcome: EpisodeResult) -> Ending:
    """Record as the worker does: the episode and the end of its job in one transaction."""
    with tenant_session(tenant) as session:
        plan = episodes.load(session, UUID(claim.payload["episode_id"]))
        ending = episodes.record(
            session, plan, outcome, claim, started_at=STARTED, price=lambda call, at: 7
        )
        match ending:
            case TryAgain(error):
                claims.give_back(session, claim, error)
            case Failed(error, summary):
                claims.fail(session, claim, error, summary)
            case Cancelled(summary):
                claims.end_cancelled(session, claim, summary)
            case Succeeded(summary):
                claims.succeed(session, claim, summary)
    return ending


@pytest.fixture
def one_episode(tenant: TenantId, agents: tuple[str, str]) -> UUID:
    return run_of(tenant, RunBenchmark(tasks=("click-test",), seeds=(1,), models=agents[:1]))


@pytest.mark.parametrize(
    ("outcome", "ending", "status"),
    [
        (Outcome.SUCCESS, Succeeded, "succeeded"),
        (Outcome.FAILURE, Succeeded, "succeeded"),
        (Outcome.TIMEOUT, Succeeded, "succeeded"),
        (Outcome.AGENT_ERROR, Failed, "failed"),
        (Outcome.ENVIRONMENT_ERROR, TryAgain, "queued"),
        (Outcome.BUDGET_EXCEEDED, Failed, "failed"),
        (Outcome.CANCELLED, Cancelled, "cancelled"),
    ],
)
def test_each_outcome_is_an_ending_of_the_job(
    tenant: TenantId, one_episode: UUID, outcome: Outcome, ending: type[Ending], status: str
) -> None:
    assert isinstance(record(tenant, held(tenant), result(outcome)), ending)
    with tenant_session(tenant) as session:
        row = session.execute(
            sa.text("SELECT outcome, scored, job_status FROM mlops.episode_results")
        ).one()
        assert row.job_status == status
        unscored = (Outcome.ENVIRONMENT_ERROR, Outcome.BUDGET_EXCEEDED, Outcome.CANCELLED)
        assert row.scored is (outcome not in unscored)
        assert row.outcome == (None if status == "queued" else outcome)


def test_an_episode_that_is_tried_again_has_cost_what_all_its_attempts_cost(
    tenant: TenantId, one_episode: UUID
) -> None:
    for _ in range(2):
        assert isinstance(record(tenant, held(tenant), result(Outcome.ENVIRONMENT_ERROR)), TryAgain)
    record(tenant, held(tenant), result(Outcome.SUCCESS, calls=(CALL, CALL)))
    with tenant_session(tenant) as session:
        (summary,) = summarize(session, [one_episode])
        batches = session.scalars(
            sa.select(JobRow.payload).where(JobRow.kind == "ingest_events")
        ).all()
    assert (summary.llm_calls, summary.cost_nanos, summary.input_tokens) == (4, 28, 40)
    assert (summary.scored, summary.successes, summary.environment_errors) == (1, 1, 0)
    events = [event for batch in batches for event in batch["events"]]
    assert sum(event["kind"] == "llm_call" for event in events) == 4
    assert len({event["event_id"] for event in events}) == len(events)


def test_an_environment_error_to_the_end_is_not_scored(tenant: TenantId, one_episode: UUID) -> None:
    endings = [record(tenant, held(tenant), result(Outcome.ENVIRONMENT_ERROR)) for _ in range(3)]
    assert [type(ending) for ending in endings] == [TryAgain, TryAgain, Failed]
    with tenant_session(tenant) as session:
        (summary,) = summarize(session, [one_episode])
    assert (summary.scored, summary.environment_errors) == (0, 1)
    assert summary.success_rate is None
    assert summary.interval is None
    assert summary.mean_steps is None


def test_an_episode_whose_worker_died_every_time_has_a_result_too(
    tenant: TenantId, one_episode: UUID
) -> None:
    for _ in range(3):
        claim = held(tenant)
        with tenant_session(tenant) as session:
            claims.give_back(session, claim, "worker w went away")
    with tenant_session(tenant) as session:
        row = session.execute(sa.text("SELECT outcome, reason FROM mlops.episode_results")).one()
        assert tuple(row) == ("environment_error", "worker w went away")
        assert progress(session, [one_episode]).done


def test_a_call_without_a_price_is_counted_and_not_taken_for_free(
    tenant: TenantId, one_episode: UUID
) -> None:
    claim = held(tenant)
    with tenant_session(tenant) as session:
        plan = episodes.load(session, UUID(claim.payload["episode_id"]))
        episodes.record(
            session, plan, result(Outcome.SUCCESS), claim, started_at=STARTED,
            price=lambda call, at: None,
        )  # fmt: skip
        stored = session.scalars(sa.select(Episode)).one()
        assert (stored.cost_nanos, stored.unpriced_calls) == (0, 1)


def test_what_foreign_code_says_is_stored_whatever_it_is(
    tenant: TenantId, one_episode: UUID
) -> None:
    """NUL, half a surrogate pair, endless names and absurd counts: none undoes a paid episode."""
    foul = "a\x00b\ud800c"
    call = LlmCall(
        provider="\n" * 3, llm_model="m\x07" + "x" * 500, latency_ms=10**12,
        input_tokens=10**12, cached_input_tokens=-1, output_tokens=5, query_length=10**12,
        error_type=foul,
    )  # fmt: skip
    step = Step(
        index=0, action=Fill(element=1, text=foul), error=foul, reasoning=foul, observe_ms=5,
        think_ms=100, act_ms=10, dom_nodes=50, calls=(call,),
    )  # fmt: skip
    foreign = EpisodeResult(
        outcome=Outcome.AGENT_ERROR, reason=foul, raw_reward=None, goal=foul, page_load_ms=20,
        url="http://127.0.0.1/" + foul, steps=(step,), duration_ms=200, unfinished_calls=(CALL,),
    )  # fmt: skip
    assert isinstance(record(tenant, held(tenant), foreign), Failed)
    with tenant_session(tenant) as session:
        stored = session.scalars(sa.select(Episode)).one()
        batches = session.scalars(
            sa.select(JobRow.payload).where(JobRow.kind == "ingest_events")
        ).all()
    assert (stored.reason, stored.goal) == ("abc", "abc")
    assert stored.trace is not None
    assert stored.trace[0]["action"]["text"] == stored.trace[0]["reasoning"] == "abc"
    assert (stored.llm_calls, stored.input_tokens, stored.output_tokens) == (2, 10, 10)
    events, rejected = parse_events(
        [json.dumps(e).encode() for b in batches for e in b["events"]],
        STARTED,
        STARTED - timedelta(days=90),
    )
    assert not rejected
    first = next(event for event in events if event.kind == "llm_call")
    assert (first.provider, len(first.llm_model), first.input_tokens) == ("unknown", 199, None)


def test_a_failed_job_says_whether_its_episode_counts(tenant: TenantId, one_episode: UUID) -> None:
    record(tenant, held(tenant), result(Outcome.AGENT_ERROR))
    with tenant_session(tenant) as session:
        job = session.scalars(sa.select(JobRow).where(JobRow.kind == "evaluate_episode")).one()
        assert (job.status, job.result) == (
            "failed",
            {"outcome": "agent_error", "reason": "why", "final": True},
        )


def test_calls_without_reported_tokens_are_counted_apart(
    tenant: TenantId, one_episode: UUID
) -> None:
    half = CALL.model_copy(update={"output_tokens": None})
    none = half.model_copy(update={"input_tokens": None})
    record(tenant, held(tenant), result(Outcome.SUCCESS, calls=(CALL, half, none)))
    with tenant_session(tenant) as session:
        (summary,) = summarize(session, [one_episode])
    assert (summary.llm_calls, summary.uncounted_calls, summary.input_tokens) == (3, 2, 20)


def test_what_each_step_spent_is_kept_and_unknown_is_not_zero(
    tenant: TenantId, one_episode: UUID
) -> None:
    silent = CALL.model_copy(update={"output_tokens": None, "error_type": "timeout"})
    record(tenant, held(tenant), result(Outcome.SUCCESS, calls=(CALL, CALL, silent)))
    with tenant_session(tenant) as session:
        (episode,) = recorded_episodes(session, one_episode)
    (step,) = episode.steps
    assert (step.calls, step.failed_calls, step.models) == (3, 1, ("m",))
    assert (step.input_tokens, step.output_tokens, step.cost_nanos) == (30, None, 21)
    assert (episode.violations, episode.cost_nanos) == (None, 21)
    assert step.action_line == "click element=1"
