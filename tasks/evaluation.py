"""Queue `evaluation`: one benchmark episode, or one request of an LLM function, per message."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from celery import Task
from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.costs.agents import most_nanos, why_unpriced
from shared.costs.allowances import Allowance, Cost
from shared.costs.prices import Price, PriceTable, Unpriced
from shared.costs.pricing import tenant_prices
from shared.costs.reserving import Refused, count_spent, hard_stops, reserve, settle
from shared.database import TenantId, tenant_session
from shared.evaluation import episodes
from shared.evaluation.agents.parameters import LlmParameters
from shared.evaluation.agents.registry import make_agent
from shared.evaluation.artifacts import ArtifactStore
from shared.evaluation.benchmark import Benchmark
from shared.evaluation.browser import BrowserPool
from shared.evaluation.budgets import Ledger, Spending
from shared.evaluation.emission import judge_name, judge_of
from shared.evaluation.episodes import EpisodePlan
from shared.evaluation.protocol import EpisodeResult, LlmCall
from shared.evaluation.recording import EpisodeRecorder, is_sampled
from shared.evaluation.standing import spent_nanos
from shared.jobs.contracts import EvaluateEpisode, InvokeFunction
from shared.jobs.execution import Cancelled, Ending, Failed, Record, Succeeded, TryAgain
from shared.jobs.leases import Lease
from shared.money import dollars
from tasks.declaring import job_task

SLACK_SECONDS = 5.0
"Of a busy worker, beyond what an episode may take by its own limits: it has been paid for."

T = TypeVar("T")

LOOK_SECONDS = 0.5
"Between looks at whether a request's job is still wanted."

_LEDGER = Ledger()


def evaluate(browsers: BrowserPool, job: EvaluateEpisode, lease: Lease) -> Record:
    """Run the episode in a fresh browser context; the result is written by what this returns."""
    with tenant_session(lease.claim.tenant_id) as session:
        plan = episodes.load(session, job.episode_id)
        prices = tenant_prices(session)
    recorder = EpisodeRecorder(
        ArtifactStore(lease.claim.tenant_id), plan.recording, sampled=is_sampled(plan.id)
    )
    allowance = _allowance(plan, lease)
    purse = _Purse(prices, _begin_spending(plan, lease), allowance)
    try:
        result = _played(browsers, plan, lease, recorder, purse)
        _count(purse, plan, lease, result)
    except BaseException:
        purse.end(None)
        raise
    started_at = datetime.now(UTC) - timedelta(milliseconds=result.duration_ms)

    def record(session: Session) -> Ending:
        event.listen(session, "after_commit", lambda _: purse.recorded(), once=True)
        return episodes.record(
            session,
            plan,
            result,
            lease.claim,
            started_at=started_at,
            price=purse.nanos,
            stored=recorder.stored,
        )

    return record


@dataclass(frozen=True)
class _Purse:
    """What an episode's calls cost, and what they may: by its run's budget, by hard stops."""

    prices: PriceTable
    run: Spending | None
    allowance: Allowance | None

    def nanos(self, call: LlmCall, at: datetime) -> int | None:
        price = self.prices.price(call, at)
        return price.nanos if isinstance(price, Price) else None

    def known(self, calls: Iterable[LlmCall]) -> int:
        """What is known of their cost; how much is not is told where the run is shown."""
        now = datetime.now(UTC)
        return sum(self.nanos(call, now) or 0 for call in calls)

    def at_most(self, calls: Iterable[LlmCall]) -> Cost:
        """What a hard stop counts: of what is not known, the most that it may be."""
        now = datetime.now(UTC)
        nanos = [most_nanos(self.prices, call, now) for call in calls]
        known = [one for one in nanos if isinstance(one, int)]
        return Cost(sum(known), len(nanos) - len(known))

    def begin(self, plan: EpisodePlan) -> str | None:
        """Why not even the first step may be taken, or None."""
        if self.run is not None and self.run.over(0):
            return self._spent_by_run()
        if self.allowance is None:
            return None
        if plan.agent == "llm":
            # Without a price nothing would ever be counted, and nothing stopped.
            unpriced = why_unpriced(self.prices, LlmParameters.model_validate(plan.parameters))
            if unpriced is not None:
                return _cannot_be_kept(plan.model, unpriced)
        refused = self.allowance.begin()
        return None if refused is None else refused.reason

    async def over(self, calls: tuple[LlmCall, ...]) -> str | None:
        """Why no further step may be taken, now that these calls were made, or None."""
        if self.run is not None and self.run.over(self.known(calls)):
            return self._spent_by_run()
        if self.allowance is None:
            return None
        cost = self.at_most(calls)
        if cost.unpriced:
            return self._unpriced(calls)
        # Redis is asked, and the other episodes of the process share this loop.
        refused = await asyncio.to_thread(self.allowance.step, cost)
        return None if refused is None else refused.reason

    def end(self, in_all: Cost | None) -> None:
        """All of it is spent; None: nobody knows how much."""
        if self.allowance is not None:
            self.allowance.end(in_all)
        if in_all is None:
            self.recorded()

    def recorded(self) -> None:
        """It is in the database from now on."""
        if self.run is not None:
            self.run.end()

    def _unpriced(self, calls: Iterable[LlmCall]) -> str:
        now = datetime.now(UTC)
        found = (most_nanos(self.prices, call, now) for call in calls)
        reason = next(one.reason for one in found if isinstance(one, Unpriced))
        return _cannot_be_kept("this agent", reason)

    def _spent_by_run(self) -> str:
        limit = 0 if self.run is None else self.run.run.budget
        return f"the run's budget of {dollars(limit)} is spent"


def _cannot_be_kept(whose: str, reason: str) -> str:
    return (
        f"a hard stop cannot be kept with {whose}: {reason};"
        " `mlops cost prices import` gives it a price"
    )


def _judges_refused(tenant_id: TenantId, plan: EpisodePlan, prices: PriceTable) -> str | None:
    """Why the episode's judges may not be asked under the tenant's hard stops, or None."""
    if plan.definition is None:
        return None
    from shared.evaluation.custom.definition import CustomTask

    of_agent = hard_stops(tenant_id, plan.model, plan.function)
    for judge in CustomTask.model_validate(plan.definition).judges():
        name = judge_of(judge.model.model)
        stops = hard_stops(tenant_id, name, plan.function)
        unpriced = why_unpriced(prices, judge.model.parameters()) if stops else None
        if unpriced is not None:
            return _cannot_be_kept(f"the judge {judge.model.model}", unpriced)
        if set(stops) <= set(of_agent):
            # The agent asks for leave of the same.
            continue
        answer = reserve(tenant_id, name, plan.function, 0)
        if isinstance(answer, Refused):
            return answer.reason
        settle(answer, 0)
    return None


def _count(purse: _Purse, plan: EpisodePlan, lease: Lease, result: EpisodeResult) -> None:
    """What its last step and its judges cost too: others go on spending before it is recorded."""
    calls = episodes.calls_of(result)
    judged = [call for judgement in result.judgements for call in judgement.calls]
    if purse.run is not None:
        purse.run.over(purse.known((*calls, *judged)))
    purse.end(purse.at_most(calls))
    for name in sorted({judge_name(call) for call in judged}):
        cost = purse.at_most(call for call in judged if judge_name(call) == name)
        count_spent(lease.claim.tenant_id, name, plan.function, cost.nanos)


def _played(
    browsers: BrowserPool,
    plan: EpisodePlan,
    lease: Lease,
    recorder: EpisodeRecorder,
    purse: _Purse,
) -> EpisodeResult:
    # Every worker imports this module; only those that get here need Playwright.
    from shared.evaluation.episode import ENDING_SECONDS, run_episode

    refused = _judges_refused(lease.claim.tenant_id, plan, purse.prices) or purse.begin(plan)
    if refused is not None:
        return episodes.not_begun(refused)
    agent = make_agent(plan.agent, plan.parameters)
    custom, judging = _defined(plan)
    limited = purse.run is not None or purse.allowance is not None
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
            over_budget=purse.over if limited else None,
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


def _allowance(plan: EpisodePlan, lease: Lease) -> Allowance | None:
    """What the tenant's hard stops leave for the episode; None where there are none."""
    tenant_id = lease.claim.tenant_id
    if not hard_stops(tenant_id, plan.model, plan.function):
        return None
    # A step that takes all of the episode's time still holds what it reserved.
    seconds = plan.task.timeout_seconds + SLACK_SECONDS
    return Allowance(tenant_id, plan.model, plan.function, lease_seconds=seconds)


def _with_the_workers_browser(task: Task):  # type: ignore[no-untyped-def]
    return lambda job, lease: evaluate(task.app.browsers, job, lease)


evaluate_episode = job_task(EvaluateEpisode, _with_the_workers_browser)


def answer_request(job: InvokeFunction, lease: Lease) -> Record:
    """Ask the function; answer and telemetry are written by what this returns."""
    # Every worker imports this module; only those that get here need the HTTP client.
    from shared.functions.asking import Asking, Request, prepare
    from shared.functions.recording import NoAnswerError, answer_of
    from shared.functions.recording import record as record_request

    claim = lease.claim
    request = Request(job.function, job.query, job.context, job.unit_id)
    with tenant_session(claim.tenant_id) as session:
        # The job is the call: its next attempt has the same unit.
        prepared = prepare(session, request, claim.job_id)
    asking = Asking(prepared)
    ended = asyncio.run(_unless_over(asking.answer(), lease))
    answered = asking.so_far() if ended is None else ended

    def record(session: Session) -> Ending:
        invocation = record_request(session, prepared, answered, attempt=claim.attempt)
        if ended is None:
            return Cancelled()
        try:
            return Succeeded(answer_of(invocation, answered).to_json())
        except NoAnswerError as error:
            if error.permanent:
                return Failed(str(error), invocation.to_json())
            return TryAgain(str(error))

    return record


async def _unless_over(asking: Coroutine[Any, Any, T], lease: Lease) -> T | None:
    """What is asked, or raised; None if the job is cancelled or lost before it came to its end."""
    answering = asyncio.create_task(asking)
    while not answering.done():
        await asyncio.wait({answering}, timeout=LOOK_SECONDS)
        if not answering.done() and lease.over():
            answering.cancel()
            await asyncio.wait({answering})
    return None if answering.cancelled() else answering.result()


invoke_function = job_task(InvokeFunction, lambda _: answer_request)
