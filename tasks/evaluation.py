"""Queue `evaluation`: one benchmark episode per message."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from celery import Task
from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.costs.prices import Price, shipped_prices
from shared.database import tenant_session
from shared.evaluation import episodes
from shared.evaluation.agents.registry import make_agent
from shared.evaluation.artifacts import ArtifactStore
from shared.evaluation.benchmark import Benchmark
from shared.evaluation.browser import BrowserPool
from shared.evaluation.budgets import Ledger, Spending
from shared.evaluation.episodes import EpisodePlan
from shared.evaluation.protocol import EpisodeResult, LlmCall
from shared.evaluation.recording import EpisodeRecorder, is_sampled
from shared.evaluation.standing import spent_nanos
from shared.jobs.contracts import EvaluateEpisode
from shared.jobs.execution import Ending, Record
from shared.jobs.leases import Lease
from tasks.declaring import job_task

SLACK_SECONDS = 5.0
"Of a busy worker, beyond what an episode may take by its own limits: it has been paid for."

_LEDGER = Ledger()


def evaluate(browsers: BrowserPool, job: EvaluateEpisode, lease: Lease) -> Record:
    """Run the episode in a fresh browser context; the result is written by what this returns."""
    with tenant_session(lease.claim.tenant_id) as session:
        plan = episodes.load(session, job.episode_id)
    recorder = EpisodeRecorder(
        ArtifactStore(lease.claim.tenant_id), plan.recording, sampled=is_sampled(plan.id)
    )
    spending = _begin_spending(plan, lease)
    try:
        result = _played(browsers, plan, lease, recorder, spending)
        if spending is not None:
            # Its last step and its judges too: others go on spending before this is recorded.
            judged = (call for judgement in result.judgements for call in judgement.calls)
            _over(spending)((*episodes.calls_of(result), *judged))
    except BaseException:
        _end(spending)
        raise
    started_at = datetime.now(UTC) - timedelta(milliseconds=result.duration_ms)

    def record(session: Session) -> Ending:
        event.listen(session, "after_commit", lambda _: _end(spending), once=True)
        return episodes.record(
            session,
            plan,
            result,
            lease.claim,
            started_at=started_at,
            price=_nanos,
            stored=recorder.stored,
        )

    return record


def _played(
    browsers: BrowserPool,
    plan: EpisodePlan,
    lease: Lease,
    recorder: EpisodeRecorder,
    spending: Spending | None,
) -> EpisodeResult:
    # Every worker imports this module; only those that get here need Playwright.
    from shared.evaluation.episode import ENDING_SECONDS, run_episode

    if spending is not None and plan.budget_nanos is not None and spending.over(0):
        return episodes.not_begun(plan.budget_nanos)
    agent = make_agent(plan.agent, plan.parameters)
    custom, judging = _defined(plan)
    return browsers.run(
        lambda context: run_episode(
            context,
            agent,
            plan.task,
            plan.seed,
            deadline_seconds=plan.task.timeout_seconds,
            cancelled=lease.over,
            benchmark=custom,
            recorder=recorder,
            over_budget=None if spending is None else _over(spending),
        ),
        timeout=plan.task.timeout_seconds + judging + ENDING_SECONDS + SLACK_SECONDS,
    )


def _defined(plan: EpisodePlan) -> tuple[Benchmark | None, float]:
    """The benchmark of a custom task, and how long its judges and scorers may take."""
    if plan.definition is None:
        return None, 0.0
    from shared.evaluation.custom.environment import judging_seconds, of_definition

    return of_definition(plan.task.benchmark, plan.definition), judging_seconds(plan.definition)


def _begin_spending(plan: EpisodePlan, lease: Lease) -> Spending | None:
    """Count the episode in where its run has a budget."""
    if plan.budget_nanos is None:
        return None

    def recorded(besides: Collection[UUID]) -> int:
        with tenant_session(lease.claim.tenant_id) as session:
            return spent_nanos(session, plan.run_id, list(besides))

    return _LEDGER.begin(
        plan.run_id,
        plan.id,
        budget=plan.budget_nanos,
        before=plan.cost_nanos,
        recorded=recorded,
        lost=lease.lost,
    )


def _over(spending: Spending):  # type: ignore[no-untyped-def]
    def over(calls: tuple[LlmCall, ...]) -> bool:
        now = datetime.now(UTC)
        # What has no price cannot be counted; the run is told so where it is shown.
        return spending.over(sum(_nanos(call, now) or 0 for call in calls))

    return over


def _end(spending: Spending | None) -> None:
    if spending is not None:
        spending.end()


def _nanos(call: LlmCall, at: datetime) -> int | None:
    price = shipped_prices().price(call, at)
    return price.nanos if isinstance(price, Price) else None


def _with_the_workers_browser(task: Task):  # type: ignore[no-untyped-def]
    return lambda job, lease: evaluate(task.app.browsers, job, lease)


evaluate_episode = job_task(EvaluateEpisode, _with_the_workers_browser)
