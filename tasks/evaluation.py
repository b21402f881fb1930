"""Queue `evaluation`: one benchmark episode per message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery import Task
from sqlalchemy.orm import Session

from shared.costs.prices import Price, shipped_prices
from shared.database import tenant_session
from shared.evaluation import episodes
from shared.evaluation.agents.registry import make_agent
from shared.evaluation.browser import BrowserPool
from shared.evaluation.protocol import LlmCall
from shared.jobs.contracts import EvaluateEpisode
from shared.jobs.execution import Ending, Record
from shared.jobs.leases import Lease
from tasks.declaring import job_task

MARGIN_SECONDS = 30.0
"For opening and closing the browser, beyond the episode's own deadline."


def evaluate(browsers: BrowserPool, job: EvaluateEpisode, lease: Lease) -> Record:
    """Run the episode in a fresh browser context; the result is written by what this returns."""
    # Every worker imports this module; only those that get here need Playwright.
    from shared.evaluation.episode import run_episode

    with tenant_session(lease.claim.tenant_id) as session:
        plan = episodes.load(session, job.episode_id)
    agent = make_agent(plan.agent, plan.parameters)
    result = browsers.run(
        lambda context: run_episode(
            context,
            agent,
            plan.task,
            plan.seed,
            deadline_seconds=plan.task.timeout_seconds,
            cancelled=lease.over,
        ),
        timeout=plan.task.timeout_seconds + MARGIN_SECONDS,
    )
    started_at = datetime.now(UTC) - timedelta(milliseconds=result.duration_ms)

    def record(session: Session) -> Ending:
        return episodes.record(
            session, plan, result, lease.claim, started_at=started_at, price=_nanos
        )

    return record


def _nanos(call: LlmCall, at: datetime) -> int | None:
    price = shipped_prices().price(call, at)
    return price.nanos if isinstance(price, Price) else None


def _with_the_workers_browser(task: Task):  # type: ignore[no-untyped-def]
    return lambda job, lease: evaluate(task.app.browsers, job, lease)


evaluate_episode = job_task(EvaluateEpisode, _with_the_workers_browser)
