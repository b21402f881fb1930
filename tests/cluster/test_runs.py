"""Changing a run while a real worker is at it, and looking at what was recorded of it."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import mlops
from shared.costs.agents import why_unpriced
from shared.costs.aggregation import Period
from shared.costs.budgeting import set_budget
from shared.costs.budgets import Budget
from shared.costs.pricing import tenant_prices
from shared.database import TenantId, tenant_session
from shared.evaluation import changing
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.standing import Standing, standing
from shared.jobs.contracts import ExtendRun, RunBenchmark
from shared.registry import models
from shared.tenancy.tenants import create_tenant

log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(300)

Until = Callable[[Callable[[], bool], str], None]


class Watched:
    """A run of a tenant of its own."""

    def __init__(self, cluster: Any, hard_stop: Budget | None = None, **fields: Any) -> None:
        self.cluster = cluster
        self.name = f"runs-{uuid.uuid4()}"
        self.tenant: TenantId = create_tenant(self.name)
        stand_in = {"model": "stand-in", "base_url": "stand-in", "api_key_env": None}
        with tenant_session(self.tenant) as session:
            models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
            models.register(session, "paid", "1.0.0", "llm", stand_in, check=describe_agent)
            if hard_stop is not None:
                set_budget(session, hard_stop)
        self.id = uuid.UUID(self.done(RunBenchmark.model_validate(fields))["run_id"])

    def done(self, job: Any) -> dict[str, Any]:
        row = mlops.submit(job, tenant_id=self.tenant).wait(120)
        assert row.status == "succeeded", row.error
        return dict(row.result)

    def now(self) -> Standing:
        with tenant_session(self.tenant) as session:
            return standing(session, self.id)

    def resume(self, budget: str | None = None) -> changing.Resumed:
        with tenant_session(self.tenant) as session:
            return changing.resume(
                session,
                self.id,
                budget_dollars=None if budget is None else Decimal(budget),
                unpriced=partial(why_unpriced, tenant_prices(session)),
            )

    def command(self, *arguments: str) -> str:
        ran = self.cluster.command(self.name, "evaluate", *arguments)
        assert ran.exit_code == 0, ran.stderr
        return str(ran.stdout)


def test_a_cancelled_run_ends_and_resumed_and_extended_it_has_every_result_once(
    cluster: Any,
) -> None:
    tasks = ("click-test", "enter-text")
    run = Watched(cluster, tasks=tasks, seeds=tuple(range(7)), models=("rules",))
    cluster.until(lambda: run.now().scored >= 2, "two episodes")
    began = time.monotonic()
    with tenant_session(run.tenant) as session:
        cancelled = changing.cancel(session, run.id)
    assert cancelled.ended > 0
    cluster.until(lambda: run.now().done, "the end of all episodes")
    log.warning("cancelled %s in %.2f s", cancelled, time.monotonic() - began)
    stopped = run.now()
    assert stopped.cancelled >= cancelled.ended
    assert stopped.scored + stopped.cancelled == 14

    assert run.resume().queued == stopped.cancelled
    added = run.done(ExtendRun(run_id=run.id, more_seeds=2))
    assert (added["episodes"], added["seeds"]) == (4, [7, 8])
    cluster.until(lambda: run.now().done, "all episodes")
    assert run.now().scored == 18
    with tenant_session(run.tenant) as session:
        once = session.execute(
            sa.text(
                "SELECT count(*), count(DISTINCT (task_id, seed)) FROM mlops.episode_results"
                " WHERE outcome = 'success'"
            )
        ).one()
    assert tuple(once) == (18, 18)


def test_a_run_stops_at_its_budget_and_goes_on_with_a_higher_one(
    cluster: Any,
) -> None:
    budget = "0.002"
    run = Watched(
        cluster,
        tasks=("click-test", "enter-text"),
        seeds=tuple(range(8)),
        models=("paid",),
        budget_dollars=budget,
    )
    cluster.until(lambda: run.now().done, "the end of all episodes")
    spent = run.now()
    log.warning("cost %d of %s, %d over", spent.cost_nanos, budget, spent.over_budget)
    assert spent.over_budget > 0
    assert spent.cost_nanos >= 2_000_000
    # Beyond it at most what the two that run at once spend on a step each.
    with tenant_session(run.tenant) as session:
        dearest = session.scalar(
            sa.text(
                "SELECT max((s->'spent'->>'cost_nanos')::bigint) FROM mlops.episodes"
                " CROSS JOIN LATERAL jsonb_array_elements(trace) AS s"
            )
        )
    assert spent.cost_nanos <= 2_000_000 + 2 * dearest

    assert run.resume(budget="10").queued == spent.missing
    cluster.until(lambda: run.now().done, "all episodes")
    assert (run.now().scored, run.now().over_budget) == (16, 0)


def test_a_hard_stop_holds_for_workers_in_parallel(cluster: Any) -> None:
    limit = 2_000_000
    run = Watched(
        cluster,
        tasks=("click-test", "enter-text"),
        seeds=tuple(range(8)),
        models=("paid",),
        hard_stop=Budget(Period.DAY, limit, hard_stop=True),
    )
    cluster.until(lambda: run.now().done, "the end of all episodes")
    spent = run.now()
    log.warning("cost %d of %s, %d over", spent.cost_nanos, limit, spent.over_budget)
    assert spent.over_budget > 0
    with tenant_session(run.tenant) as session:
        dearest, reasons = session.execute(
            sa.text(
                "SELECT (SELECT max((s->'spent'->>'cost_nanos')::bigint) FROM mlops.episodes"
                "        CROSS JOIN LATERAL jsonb_array_elements(trace) AS s),"
                " (SELECT array_agg(reason) FROM mlops.episode_results"
                "  WHERE outcome = 'budget_exceeded')"
            )
        ).one()
    # A little before it, because the next step is expected to cost as much as the dearest, or
    # beyond it by a step of each of the two that run at once.
    assert limit - 2 * dearest <= spent.cost_nanos <= limit + 2 * dearest
    assert all("the budget of $0.002 a day for all models" in why for why in reasons)


def test_what_was_recorded_is_shown_and_reported(cluster: Any, tmp_path: Path) -> None:
    run = Watched(
        cluster,
        tasks=("click-test", "enter-text"),
        seeds=(0,),
        models=("rules", "paid"),
        recording="all",
    )
    cluster.until(lambda: run.now().done, "all episodes")
    with tenant_session(run.tenant) as session:
        episode = session.scalar(
            sa.text(
                "SELECT e.id FROM mlops.episodes e JOIN mlops.model_versions v"
                " ON v.id = e.model_version_id WHERE v.agent = 'llm' LIMIT 1"
            )
        )
    shown = json.loads(run.command("show", str(episode), "--json"))
    assert shown["outcome"] == "success"
    assert Path(shown["recording_file"]).stat().st_size > 1_000
    assert all(Path(step["screenshot_file"]).is_file() for step in shown["steps"])
    assert all(step["cost_nanos"] > 0 and step["calls"] > 0 for step in shown["steps"])
    replayed = run.command("show", str(episode)[:20])
    assert "outcome  success" in replayed
    assert "step 1" in replayed

    target = tmp_path / "report.html"
    assert run.command("report", str(run.id), "-o", str(target)) == f"{target}\n"
    assert "raw reward above 0" in target.read_text()
    assert "dollars per success (simulated)" in target.read_text()
    steps = target.read_text().count('class="step"')
    assert steps == target.read_text().count('<img src="data:image/jpeg') > 0
