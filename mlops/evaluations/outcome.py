"""What a run came to, as far as its episodes have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops.agent_table import agent_row, print_agents
from mlops.console import note, print_json
from mlops.evaluations.figures import is_simulated
from shared.money import call_count, dollars

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.database import TenantId
    from shared.evaluation.reading import AgentSummary
    from shared.evaluation.standing import Standing


def show_run(tenant_id: TenantId, run_id: UUID, *, as_json: bool) -> None:
    """The table of its agents, and what is to be known beside it."""
    from shared.database import tenant_session
    from shared.evaluation.standing import standing

    with tenant_session(tenant_id) as session:
        now = standing(session, run_id)
        agents = agent_rows(session, run_id)
    if as_json:
        print_json({"run": run_id, **standing_fields(now), "agents": agents})
        return
    print_agents(agents)
    for line in remarks(now, run_id):
        note(line)
    note(f"run {run_id}: `mlops evaluate episodes {str(run_id)[:8]}` lists its episodes")


def agent_rows(session: Session, run_id: UUID) -> list[dict[str, Any]]:
    from shared.evaluation.reading import summarize

    return [agent_row_of(session, row) for row in summarize(session, [run_id])]


def agent_row_of(session: Session, row: AgentSummary) -> dict[str, Any]:
    return agent_row(row, simulated=is_simulated(session, row.model, row.llm_calls))


def standing_fields(now: Standing) -> dict[str, Any]:
    """As JSON has them; money in nano-dollars."""
    return {
        "episodes": now.total,
        "ended": now.ended,
        "running": now.running,
        "scored": now.scored,
        "environment_errors": now.environment_errors,
        "environment_error_rate": now.environment_error_rate,
        "over_budget": now.over_budget,
        "cancelled": now.cancelled,
        "cost_nanos": now.cost_nanos,
        "unpriced_calls": now.unpriced_calls,
        "unpriced_judge_calls": now.unpriced_judge_calls,
        "budget_nanos": now.budget_nanos,
    }


def remarks(now: Standing, run_id: UUID) -> list[str]:
    """What the table does not say, a line each."""
    said = []
    if now.environment_errors:
        said.append(
            f"{now.environment_errors} of {now.total} episodes ended in an environment error"
            f" ({now.environment_error_rate:.1%} of those played):"
            f" `mlops evaluate episodes {str(run_id)[:8]} --outcome environment_error` says why"
        )
    if now.budget_nanos is not None:
        of_judges = now.unpriced_judge_calls
        calls = now.unpriced_calls + of_judges
        judging = f" ({of_judges} of them by judges)" if of_judges else ""
        verb = "is" if calls == 1 else "are"
        unpriced = f", and {call_count(calls)} without a known price{judging} {verb} not in it"
        said.append(
            f"cost {dollars(now.cost_nanos)} of a budget of"
            f" {dollars(now.budget_nanos)}{unpriced if calls else ''}"
        )
    if now.over_budget:
        said.append(
            f"{now.over_budget} episodes were not done because a budget was spent:"
            f" `mlops evaluate episodes {str(run_id)[:8]} --outcome budget_exceeded` says which,"
            f" `mlops evaluate resume {str(run_id)[:8]} --budget DOLLARS` does them"
        )
    if now.cancelled:
        said.append(
            f"{now.cancelled} episodes were cancelled:"
            f" `mlops evaluate resume {str(run_id)[:8]}` does them"
        )
    if not now.done:
        said.append(f"{now.ended} of {now.total} episodes have ended, {now.running} are running")
    return said
