"""A tenant's hard stop, as an evaluation worker obeys it; and the tenant's own prices there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from shared.costs import reserving
from shared.costs.aggregation import Period
from shared.costs.allowances import Allowance
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget, Scope
from shared.costs.overrides import PriceOverride
from shared.costs.prices import shipped_prices
from shared.costs.pricing import replace_own_prices
from shared.costs.reserving import Refused, count_spent, reserve
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.protocol import LlmCall
from shared.evaluation.runs import create_run
from shared.evaluation.tables import Episode
from shared.jobs import claims
from shared.jobs.contracts import EvaluateEpisode, RunBenchmark
from shared.jobs.execution import Ending, Failed, Succeeded
from shared.jobs.leases import Lease
from shared.jobs.tables import JobRow
from shared.registry import models
from tasks.evaluation import _Purse, evaluate
from workers.browser import BrowserRuntime

MODEL, FUNCTION = "paid@1.0.0", "benchmark"
ONE_CENT = 10_000_000


@pytest.fixture(autouse=True)
def _paid(tenant: TenantId, clean_redis: redis.Redis) -> None:
    stand_in = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}
    with tenant_session(tenant) as session:
        models.register(session, "paid", "1.0.0", "llm", stand_in, check=describe_agent)


def hard_stop(tenant: TenantId, nanos: int, **fields: Any) -> None:
    with tenant_session(tenant) as session:
        set_budget(session, Budget(Period.DAY, nanos, hard_stop=True, **fields))
    reserving._limits.forget()


def played(
    tenant: TenantId, browser: Any, model: str = "paid", **job_fields: Any
) -> tuple[Ending, Episode]:
    """An episode of two steps, as a worker does it."""
    what: dict[str, Any] = {"tasks": ("enter-text",), "function": FUNCTION} | job_fields
    job = RunBenchmark(seeds=(1,), models=(model,), **what)
    with tenant_session(tenant) as session:
        create_run(session, job, lambda session, split: None, lambda version: None)  # type: ignore
        waiting = sa.select(JobRow.id).where(JobRow.status == "queued")
        job_id = session.scalars(waiting.where(JobRow.kind == "evaluate_episode")).one()
    claim = claims.claim(tenant, job_id, worker="w", lease_seconds=60)
    assert claim is not None
    record = evaluate(browser, EvaluateEpisode.model_validate(claim.payload), Lease(claim))
    with tenant_session(tenant) as session:
        ending = record(session)
        if isinstance(ending, Failed):
            claims.fail(session, claim, ending.error, ending.result)
        else:
            assert isinstance(ending, Succeeded)
            claims.succeed(session, claim, ending.result)
        return ending, session.scalars(sa.select(Episode).where(Episode.job_id == job_id)).one()


def counted(tenant: TenantId) -> int:
    """What the hard stop counts as spent, by what a call that would need all of it is told."""
    answer = reserve(tenant, MODEL, FUNCTION, 9_000_000 * 10**9)
    assert isinstance(answer, Refused)
    assert answer.reserved_nanos == 0
    return answer.spent_nanos


@pytest.mark.parametrize(
    "of", [{}, {"scope": Scope.MODEL, "name": MODEL}, {"scope": Scope.FUNCTION, "name": FUNCTION}]
)
def test_no_episode_begins_when_a_hard_stop_is_used_up(
    tenant: TenantId, of: dict[str, Any]
) -> None:
    hard_stop(tenant, ONE_CENT, **of)
    count_spent(tenant, MODEL, FUNCTION, ONE_CENT)
    # No browser is asked for.
    ending, episode = played(tenant, None)
    whose = f"{of['scope']} {of['name']}" if of else "all models"
    assert isinstance(ending, Failed)
    assert ending.result == {"outcome": "budget_exceeded", "reason": episode.reason}
    assert episode.reason is not None
    assert episode.reason.startswith(
        f"not begun: the budget of $0.01 a day for {whose} is used up: $0.01 spent since 20"
    )


def test_what_has_no_price_does_not_begin_under_a_hard_stop(tenant: TenantId) -> None:
    nobody = {"model": "nobody-sells-this", "base_url": "http://127.0.0.1:9/v1"}
    with tenant_session(tenant) as session:
        models.register(
            session, "dark", "1.0.0", "llm", nobody | {"api_key_env": None}, check=describe_agent
        )
    hard_stop(tenant, 100 * ONE_CENT)
    _, episode = played(tenant, None, "dark")
    assert episode.outcome == "budget_exceeded"
    assert episode.reason is not None
    assert episode.reason.startswith(
        "not begun: a hard stop cannot be kept with dark@1.0.0: no price is known for"
    )


def judged_by(model: str) -> dict[str, Any]:
    """A benchmark of one task whose judge is this model."""
    judge = {"question": "Is it?", "model": {"model": model, "api_key_env": None}}
    task = {
        "name": "asked",
        "task_prompt": "Say 9.",
        "start": {"html": "<p>9</p>"},
        "success_criteria": {"judge": judge},
    }
    return {"benchmark": "asking", "tasks": (), "definition": {"name": "asking", "tasks": [task]}}


def test_a_judge_without_a_price_keeps_the_episode_from_beginning(tenant: TenantId) -> None:
    hard_stop(tenant, 100 * ONE_CENT)
    _, episode = played(tenant, None, **judged_by("nobody-sells-this"))
    assert episode.outcome == "budget_exceeded"
    assert episode.reason is not None
    assert episode.reason.startswith(
        "not begun: a hard stop cannot be kept with the judge nobody-sells-this: no price is known"
    )


def test_a_hard_stop_of_the_judge_alone_is_kept_too(tenant: TenantId) -> None:
    name = "judge:gpt-4.1-mini"
    hard_stop(tenant, ONE_CENT, scope=Scope.MODEL, name=name)
    count_spent(tenant, name, FUNCTION, ONE_CENT)
    _, episode = played(tenant, None, **judged_by("gpt-4.1-mini"))
    assert episode.reason is not None
    assert episode.reason.startswith(
        f"not begun: the budget of $0.01 a day for model {name} is used up"
    )


def reported(llm_model: str, **tokens: int | None) -> LlmCall:
    known = {"input_tokens": 1_000, "cached_input_tokens": 0, "output_tokens": 10} | tokens
    return LlmCall(
        provider="stand-in", llm_model=llm_model, latency_ms=1, query_length=2_000, **known
    )


def test_an_agent_that_reports_calls_without_a_price_takes_no_further_step(
    tenant: TenantId,
) -> None:
    hard_stop(tenant, 100 * ONE_CENT)
    allowance = Allowance(tenant, MODEL, FUNCTION, lease_seconds=60)
    purse = _Purse(shipped_prices(), None, allowance)
    assert allowance.begin() is None
    known, silent, dark = (
        reported("stand-in"),
        reported("stand-in", input_tokens=None),
        reported("nobody-sells-this"),
    )
    assert asyncio.run(purse.over((known,))) is None
    # A call that is silent on its tokens counts as the most that it may have cost.
    assert asyncio.run(purse.over((known, silent))) is None
    said = asyncio.run(purse.over((known, silent, dark)))
    assert said is not None
    assert said.startswith("a hard stop cannot be kept with this agent: no price is known for")
    purse.end(purse.at_most((known, silent, dark)))
    least = 2 * (1_000 * 400 + 10 * 1_600) + 1_000 * 400
    assert counted(tenant) >= least


def test_an_episode_ends_with_the_step_that_uses_it_up(
    tenant: TenantId, browser: BrowserRuntime
) -> None:
    hard_stop(tenant, 1)
    ending, episode = played(tenant, browser)
    assert isinstance(ending, Failed)
    assert (episode.outcome, episode.steps) == ("budget_exceeded", 1)
    assert ending.error.startswith(
        "over budget after 1 steps: the budget of $0.000000001 a day for all models is used up"
    )
    assert counted(tenant) == episode.cost_nanos > 0


def test_an_episode_settles_exactly_what_it_has_cost(
    tenant: TenantId, browser: BrowserRuntime
) -> None:
    hard_stop(tenant, 100 * ONE_CENT)
    ending, episode = played(tenant, browser)
    assert isinstance(ending, Succeeded)
    assert episode.steps is not None
    assert episode.steps >= 2
    assert counted(tenant) == episode.cost_nanos > 0


def test_redis_is_asked_once_a_step_and_not_at_all_without_a_hard_stop(
    tenant: TenantId, browser: BrowserRuntime, clean_redis: redis.Redis
) -> None:
    def asked() -> int:
        found: dict[str, Any] = clean_redis.info("commandstats")  # type: ignore[assignment]
        return sum(
            found.get(name, {}).get("calls", 0) for name in ("cmdstat_evalsha", "cmdstat_eval")
        )

    before = asked()
    played(tenant, browser)
    assert asked() == before
    hard_stop(tenant, 100 * ONE_CENT)
    counted(tenant)
    before = asked()
    _, episode = played(tenant, browser)
    assert episode.steps is not None
    # One to begin, one after each step that does not end it, one to end.
    assert asked() - before <= episode.steps + 1


def test_an_episode_that_breaks_holds_nothing(tenant: TenantId) -> None:
    class Broken:
        def run(self, work: Callable[..., Any], timeout: float) -> Any:
            raise TimeoutError("no context within its time")

    hard_stop(tenant, ONE_CENT)
    with pytest.raises(TimeoutError):
        played(tenant, Broken())
    assert counted(tenant) == 0


def test_episodes_are_priced_by_the_tenants_own_prices(
    tenant: TenantId, browser: BrowserRuntime
) -> None:
    _, before = played(tenant, browser)
    own = PriceOverride.model_validate(
        {
            "provider": "stand-in",
            "model": "stand-in",
            "starts": "2020-01-01",
            "source": "ten times the price",
            "input": 4,
            "cached_input": 1,
            "output": 16,
        }
    )
    with tenant_session(tenant) as session:
        replace_own_prices(session, [own])
    _, after = played(tenant, browser)
    assert after.cost_nanos == 10 * before.cost_nanos > 0
